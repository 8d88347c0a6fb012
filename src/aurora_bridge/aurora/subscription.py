"""A subscription as Aurora's API returns it, parsed leniently: no field of a response but `id` is documented.

What is missing, or not of the expected type, is unknown (None). No secret is kept, only whether there is one; a URL
template may contain one, so it is left out of the `repr`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from aurora_bridge.webhook.segment_pattern import placeholder_attribute

Filters = Mapping[str, frozenset[str]]
"""The values that pass, by attribute in lower snake_case."""

_WRAPPERS: Final = ("webhook", "partner_application_webhook")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where Aurora sends an event, and how. Every field but the id may be unknown (None)."""

    id: str
    event: str | None = None
    """Aurora's name of the event, perhaps a legacy one."""
    url_template: str | None = field(default=None, repr=False)
    """With any secret in it."""
    enabled: bool | None = None
    description: str | None = None
    filters: Filters | None = None
    """Empty: none."""
    header_auth_key: str | None = None
    """Header that carries the secret. Empty: none."""
    basic_auth_username: str | None = None
    """User name for HTTP Basic. Empty: none."""
    secret_is_set: bool | None = None
    """Whether a header's value or a password is set. Null in the response is unknown: it may hide a secret."""

    @property
    def authentication_is_known(self) -> bool:
        """Whether Aurora shows which credential it sends, or that it sends none."""
        pair = (self.header_auth_key, self.basic_auth_username)
        return any(pair) or None not in pair


def read_subscription(document: object) -> Subscription | None:
    """Return the subscription in an object of a response, None if it has no id."""
    if not isinstance(document, dict):
        return None
    inner = next((document[name] for name in _WRAPPERS if isinstance(document.get(name), dict)), document)
    return _read(inner)


def _read(document: Mapping[str, Any]) -> Subscription | None:
    identifier = document.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int) or identifier == "":
        return None
    enabled = document.get("enabled")
    secret = "basic_auth_password" if document.get("basic_auth_username") else "header_auth_value"
    return Subscription(
        str(identifier),
        event=_text(document, "event"),
        url_template=_text(document, "url_template"),
        enabled=enabled if isinstance(enabled, bool) else None,
        description=_text(document, "description"),
        filters=_filters(document),
        header_auth_key=_text(document, "header_auth_key"),
        basic_auth_username=_text(document, "basic_auth_username"),
        secret_is_set=None if document.get(secret) is None else bool(document[secret]),
    )


def _text(document: Mapping[str, Any], name: str) -> str | None:
    """Return a text, empty for null; None if it is missing or not a text."""
    value = document.get(name, ...)
    if value is None:
        return ""
    return value if isinstance(value, str) else None


def _filters(document: Mapping[str, Any]) -> Filters | None:
    value = document.get("filters", ...)
    if not value:  # null, or an empty object or list
        return MappingProxyType({})
    if not isinstance(value, dict):
        return None
    filters = {}
    for name, allowed in value.items():
        values = [allowed] if isinstance(allowed, str) else allowed
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            return None
        filters[placeholder_attribute(name.strip("<>"))] = frozenset(values)
    return MappingProxyType(filters)
