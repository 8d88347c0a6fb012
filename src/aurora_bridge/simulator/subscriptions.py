"""Subscriptions as the API takes and gives them, and the bounds that it documents.

What a response holds is not documented but for an `id`: here it is the fields that were sent, secrets as asterisks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from aurora_bridge.redaction import HIDDEN
from aurora_bridge.simulator.template import problem_of
from aurora_bridge.webhook.pattern import placeholder, placeholder_attribute

MOST_PER_EVENT: Final = 5
"""Subscriptions of an event and tenant (documented)."""
_SECRETS: Final = ("header_auth_value", "basic_auth_password")
_PAIRS: Final = (("header_auth_key", "header_auth_value"), ("basic_auth_username", "basic_auth_password"))


class RefusedError(Exception):
    """The API does not take what was sent. The message says why."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told of an event, and how."""

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
    """By attribute, the values that are told; the API writes the names as placeholders, brackets included."""

    @property
    def of_partner(self) -> bool:
        """Whether a partner application's: its templates can have TENANT_ID and SESSION_TOKEN."""
        return self.owner.startswith("partner_applications/")

    def allows(self, attributes: Mapping[str, str]) -> bool:
        """Whether the filters let an event through."""
        return all(attributes.get(name) in allowed for name, allowed in self.filters.items())

    def shown(self) -> dict[str, Any]:
        """Return what the API shows of it."""
        document = {name: getattr(self, name) for name in _FIELDS}
        document |= {name: HIDDEN for name in _SECRETS if document[name]}
        filters = {placeholder(name): list(allowed) for name, allowed in self.filters.items()}
        return {"id": self.id, **document, "filters": filters}


_FIELDS: Final = tuple(field.name for field in fields(Subscription) if field.name not in {"id", "owner", "filters"})


class Subscriptions:
    """All that there are."""

    def __init__(self) -> None:
        self._by_id: dict[str, Subscription] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_id.values())

    def __getitem__(self, subscription_id: str) -> Subscription:
        return self._by_id[subscription_id]

    def get(self, subscription_id: str, owner: str | None = None) -> Subscription | None:
        """Return the one of this id, None if there is none or it is another owner's."""
        found = self._by_id.get(subscription_id)
        return found if found and owner in {None, found.owner} else None

    def add(self, subscription: Subscription) -> None:
        """Add or replace one. Raises `RefusedError` where its event has as many as there may be."""
        same = [one for one in self if (one.owner, one.event) == (subscription.owner, subscription.event)]
        if len([one for one in same if one.id != subscription.id]) >= MOST_PER_EVENT:
            msg = f"{subscription.event} has {MOST_PER_EVENT} webhooks, which is as many as there may be"
            raise RefusedError(msg)
        self._by_id[subscription.id] = subscription

    def remove(self, subscription_id: str) -> None:
        """Delete one that is there."""
        del self._by_id[subscription_id]

    def of(self, event: str) -> list[Subscription]:
        """Return those of an event."""
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
    """Return a subscription with what a partial body changes. Raises `RefusedError`."""
    return _checked(replace(subscription, **_read(body)))


def _read(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        msg = "the body holds no object of a webhook"
        raise RefusedError(msg)
    values: dict[str, Any] = {}
    for name, value in body.items():
        if name == "filters":
            values[name] = _filters(value)
        elif name in _FIELDS:  # others are ignored, as they are by Aurora's own reading of backward compatibility
            if not isinstance(value, bool if name == "enabled" else str):
                msg = f"{name} is no {'boolean' if name == 'enabled' else 'string'}"
                raise RefusedError(msg)
            values[name] = value
    return values


def _filters(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict) or not all(isinstance(allowed, list) for allowed in value.values()):
        msg = 'filters is no object of lists, as in {"<STATUS>": ["signed"]}'
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
        msg = "a webhook has header or Basic credentials, not both"
        raise RefusedError(msg)
    if "\n" in (header := f"{subscription.header_auth_key}{subscription.header_auth_value}") or "\r" in header:
        msg = "header credentials have a line break"
        raise RefusedError(msg)
    return subscription
