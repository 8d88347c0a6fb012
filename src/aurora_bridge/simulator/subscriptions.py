"""Subscriptions as the API accepts and returns them, and its documented limits.

Of a response only `id` is documented: here it also has the fields that were sent, with asterisks for secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from aurora_bridge.redaction import HIDDEN
from aurora_bridge.simulator.fill_template import problem_of
from aurora_bridge.webhook.segment_pattern import placeholder, placeholder_attribute

MOST_PER_EVENT: Final = 5
"""Limit of subscriptions for an event and tenant (documented)."""
_SECRETS: Final = ("header_auth_value", "basic_auth_password")
_PAIRS: Final = (("header_auth_key", "header_auth_value"), ("basic_auth_username", "basic_auth_password"))


class RefusedError(Exception):
    """The API refuses what was sent. The message says why."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where an event is sent, and how."""

    id: str
    owner: str
    """`tenants/ID` or `partner_applications/ID`, as in the API's paths."""
    event: str
    url_template: str
    description: str = ""
    enabled: bool = True
    header_auth_key: str = ""
    header_auth_value: str = field(default="", repr=False)
    basic_auth_username: str = ""
    basic_auth_password: str = field(default="", repr=False)
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The values that pass, by attribute; the API writes attributes as placeholders, with brackets."""

    @property
    def of_partner(self) -> bool:
        """Whether it belongs to a partner application: its template can have TENANT_ID and SESSION_TOKEN."""
        return self.owner.startswith("partner_applications/")

    def allows(self, attributes: Mapping[str, str]) -> bool:
        """Whether an event passes the filters."""
        return all(attributes.get(name) in allowed for name, allowed in self.filters.items())

    def shown(self) -> dict[str, Any]:
        """Return it as a JSON document, as the API does."""
        document = {name: getattr(self, name) for name in _FIELDS}
        document |= {name: HIDDEN for name in _SECRETS if document[name]}
        filters = {placeholder(name): list(allowed) for name, allowed in self.filters.items()}
        return {"id": self.id, **document, "filters": filters}


_FIELDS: Final = tuple(field.name for field in fields(Subscription) if field.name not in {"id", "owner", "filters"})


class Subscriptions:
    """All subscriptions, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Subscription] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_id.values())

    def __getitem__(self, subscription_id: str) -> Subscription:
        return self._by_id[subscription_id]

    def get(self, subscription_id: str, owner: str | None = None) -> Subscription | None:
        """Return the subscription with this id, None if there is none or it has another owner."""
        found = self._by_id.get(subscription_id)
        return found if found and owner in {None, found.owner} else None

    def add(self, subscription: Subscription) -> None:
        """Add or replace a subscription. Raises `RefusedError` if its event has reached the limit."""
        same = [one for one in self if (one.owner, one.event) == (subscription.owner, subscription.event)]
        if len([one for one in same if one.id != subscription.id]) >= MOST_PER_EVENT:
            msg = f"{subscription.event} already has {MOST_PER_EVENT} webhooks, which is the limit"
            raise RefusedError(msg)
        self._by_id[subscription.id] = subscription

    def remove(self, subscription_id: str) -> None:
        """Delete an existing subscription."""
        del self._by_id[subscription_id]

    def of(self, event: str) -> list[Subscription]:
        """Return the subscriptions to an event."""
        return [one for one in self if one.event == event]


def created(subscription_id: str, owner: str, body: object) -> Subscription:
    """Return the subscription that a request describes. Raises `RefusedError`."""
    values = _read(body)
    for name in ("event", "url_template"):
        if not values.get(name):
            msg = f"{name} is missing"
            raise RefusedError(msg)
    return _checked(Subscription(subscription_id, owner, **values))


def updated(subscription: Subscription, body: object) -> Subscription:
    """Return a subscription changed by a partial body. Raises `RefusedError`."""
    return _checked(replace(subscription, **_read(body)))


def _read(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        msg = "the webhook is not an object"
        raise RefusedError(msg)
    values: dict[str, Any] = {}
    for name, value in body.items():
        if name == "filters":
            values[name] = _filters(value)
        elif name in _FIELDS:  # Aurora, too, ignores unknown fields
            if not isinstance(value, bool if name == "enabled" else str):
                msg = f"{name} is not a {'boolean' if name == 'enabled' else 'string'}"
                raise RefusedError(msg)
            values[name] = value
    return values


def _filters(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not all(isinstance(allowed, list) for allowed in value.values()):
        msg = 'filters is not an object of lists, as in {"<STATUS>": ["signed"]}'
        raise RefusedError(msg)
    return MappingProxyType(
        {placeholder_attribute(name.strip("<>")): tuple(map(str, allowed)) for name, allowed in value.items()}
    )


def _checked(subscription: Subscription) -> Subscription:
    if problem := problem_of(subscription.url_template):
        msg = f"url_template cannot be used: {problem}"
        raise RefusedError(msg)
    for key, value in _PAIRS:
        if bool(getattr(subscription, key)) != bool(getattr(subscription, value)):
            msg = f"{key} and {value} belong together: send both or neither"
            raise RefusedError(msg)
    if subscription.header_auth_key and subscription.basic_auth_username:
        msg = "header and Basic credentials are both set: send only one of them"
        raise RefusedError(msg)
    if "\n" in (header := f"{subscription.header_auth_key}{subscription.header_auth_value}") or "\r" in header:
        msg = "the header credentials contain a line break"
        raise RefusedError(msg)
    return subscription
