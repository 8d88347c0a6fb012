"""Which event a request target means: the default route, and the place of those that a user writes.

The default route takes Aurora's own suggested templates with the host replaced, `/{event}?{attribute}=...` below the
base path, and the discriminator form `?aurora_event={event}`. The path and the static parameters choose the route;
extra parameters never unchoose it. What a match carries is read by `event`, after the credentials were checked.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.text import canonical_name

DISCRIMINATOR = "aurora_event"
_DISCRIMINATOR_KEY = DISCRIMINATOR.encode() + b"="
_EVENT_NAME = re.compile(rb"[A-Za-z0-9_-]+")
_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")

_KNOWN_SEGMENTS = {name.encode(): name for name in CATALOGUE} | {
    legacy.encode(): name for legacy, name in LEGACY_NAMES.items()
}


class Authenticator(Protocol):
    """Checks the credentials of a delivery; see `credentials`."""

    def admit(self, delivery: Delivery) -> None:
        """Raise `Refusal` unless the delivery may come in."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where deliveries come in: its name in records and logs, its tenant, who may use it, and how states repeat."""

    name: str
    tenant: str
    credentials: Authenticator
    secret_parameters: frozenset[str]
    repeat_window_us: int


class Match(NamedTuple):
    """A request target understood as far as it chooses the route."""

    route: Route
    event: str
    """Today's name of the event; outside the catalogue, the name as it came, in canonical form."""
    query: bytes
    contradicted: bool = False
    """Whether path and discriminator name different events."""


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target in origin-form or absolute-form (RFC 9112, section 3.2)."""
    if not target.startswith(b"/"):
        target = _ORIGIN.sub(b"", target, count=1)
    path, _, query = target.partition(b"?")
    return path, query


class Routes:
    """All routes, compiled: chooses the route of a delivery."""

    def __init__(self, base_path: str, default: Route) -> None:
        """Serve the default route below `base_path` (`/` for none)."""
        self._base = base_path.rstrip("/").encode()
        self._default = default
        self._known_paths = {
            self._base + b"/" + segment + slash: name
            for segment, name in _KNOWN_SEGMENTS.items()
            for slash in (b"", b"/")
        }

    def match(self, delivery: Delivery) -> Match:
        """Return the match of a delivery. Raises `Refusal`: outside every route, or another method than GET."""
        target = delivery.target
        path, _, query = target.partition(b"?")
        event = self._known_paths.get(path)
        if event is not None and _DISCRIMINATOR_KEY not in query:
            match: Match | None = Match(self._default, event, query)
        else:
            match = self._match_default(*split_target(target))
        if match is None:
            raise Refusal(Reason.NO_ROUTE)
        if delivery.method != "GET":
            raise Refusal(Reason.METHOD_NOT_ALLOWED)
        return match

    def _match_default(self, path: bytes, query: bytes) -> Match | None:
        event = self._known_paths.get(path)
        if event is None:
            segment = self._segment(path)
            event = _event_name(segment) if segment else None
            if segment is None or (segment and event is None):
                return None
        discriminator = _discriminator(query) if _DISCRIMINATOR_KEY in query else None
        if event is None:
            event = discriminator
        if event is None:
            return None
        return Match(self._default, event, query, contradicted=discriminator is not None and discriminator != event)

    def _segment(self, path: bytes) -> bytes | None:
        """Return what stands below the base path, None outside of it."""
        rest = path.removeprefix(self._base)
        if not path.startswith(self._base) or (rest and not rest.startswith(b"/")):
            return None
        return rest[1:].removesuffix(b"/")


def _event_name(segment: bytes) -> str | None:
    """Return today's event name for a path segment or discriminator, or None for what cannot be one."""
    known = _KNOWN_SEGMENTS.get(segment)
    if known is not None:
        return known
    decoded = unquote_to_bytes(segment)
    if not _EVENT_NAME.fullmatch(decoded):
        return None
    name = canonical_name(decoded.decode())
    return LEGACY_NAMES.get(name, name)


def _discriminator(query: bytes) -> str | None:
    for piece in query.split(b"&"):
        if piece.startswith(_DISCRIMINATOR_KEY):
            return _event_name(piece[len(_DISCRIMINATOR_KEY) :])
    return None
