"""Finds the route, and so the event, of a request target: first among the routes with a URL template, then the default.

The path and the static parameters choose the route; extra parameters and slashes change nothing. Routes with a template
are found in a `path_tree`, and no request can match two of them (`conflicts`).

The default route takes Aurora's own suggested templates with the host replaced, `/{event}?{attribute}=...` below the
base path, and the discriminator form `?aurora_event={event}`.

`event` reads what a match carries, after the credentials were checked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from aurora_bridge.webhook.credentials import Authenticator
from aurora_bridge.webhook.decoding import canonical_name, meant_name
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.path_tree import PathTree
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.url_template import Template, could_match_one

DISCRIMINATOR = "aurora_event"
_DISCRIMINATOR_BYTES = DISCRIMINATOR.encode()
_EVENT_NAME = re.compile(rb"[A-Za-z0-9_-]+")
_NAME_END = re.compile(rb"[?;&]")
_MOST_SEGMENTS = 8
_SLASHES = re.compile(rb"//+")
_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")

_KNOWN_SEGMENTS = {name.encode(): name for name in CATALOGUE} | {
    legacy.encode(): name for legacy, name in LEGACY_NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Route:
    """A route: its name in records and logs, its tenant, who may use it, and how its deliveries are read."""

    name: str
    tenant: str
    credentials: Authenticator
    rules: Rules
    template: Template | None = None
    """None for the default route."""
    event: str = ""
    """Today's name of its event; empty for the default route."""


@dataclass(slots=True)
class Match:
    """The route and event of a request target, and what of it is still to be read."""

    route: Route
    event: str
    """Today's name of the event; outside the catalogue, the name as it came, in canonical form."""
    query: bytes
    contradicted: bool = False
    """Whether path and discriminator name different events."""
    path_values: tuple[str, ...] = ()
    """Values of the placeholders in the path, one character a byte: see `decoding.strict_text`."""


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target in origin-form or absolute-form (RFC 9112, section 3.2)."""
    if not target.startswith(b"/"):
        target = _ORIGIN.sub(b"", target, count=1)
    path, _, query = target.partition(b"?")
    return path, query


def merge_slashes(path: bytes) -> bytes:
    """Return a path with repeated slashes merged, as nginx does."""
    return _SLASHES.sub(b"/", path) if b"//" in path else path


class Routes:
    """All routes, compiled: chooses the route of a delivery."""

    def __init__(self, base_path: str, default: Route | None, written: Sequence[Route] = ()) -> None:
        """Serve the `written` routes, which have a template, and the `default` one, if any, below `base_path`."""
        self._base = base_path.rstrip("/").encode()
        self._default = default
        self._written = _Written(written)
        routes = [route for route in (default, *written) if route is not None]
        self._credentials = {route.credentials for route in routes}
        self.tenants = {route.name: route.tenant for route in routes}
        """By the route's name."""
        self._known_paths: dict[bytes, tuple[Route, str]] = {}
        if default is not None:
            for segment, name in _KNOWN_SEGMENTS.items():
                for path in (self._base + b"/" + segment, self._base + b"/" + segment + b"/"):
                    if not self._written.covers(path):
                        self._known_paths[path] = default, name

    def match(self, delivery: Delivery) -> Match:
        """Return the match of a delivery. Raises `Refusal` outside every route, and for any method but GET."""
        target = delivery.target
        path, _, query = target.partition(b"?")
        known = self._known_paths.get(path)
        if known is not None and query.find(_DISCRIMINATOR_BYTES) < 0:  # `in` would first make a TypeError
            match: Match | None = Match(known[0], known[1], query)
        else:
            path, query = split_target(target)
            match = self._match(path, query)
            if match is None and b"//" in path:  # only now: an empty placeholder also makes two slashes
                match = self._match(merge_slashes(path), query)
        if match is None:
            raise Refusal(Reason.NO_ROUTE)
        if delivery.method != "GET":
            raise Refusal(Reason.METHOD_NOT_ALLOWED)
        return match

    def recognizes(self, delivery: Delivery) -> bool:
        """Whether a delivery carries a valid credential of any route. Counts nothing."""
        return any(credentials.recognizes(delivery) for credentials in self._credentials)

    def is_known_path(self, target: bytes) -> bool:
        """Whether a target without a route looks like Aurora's: a route has its path, or it names a known event."""
        return bool(self.known_event(target)) or self._written.covers(merge_slashes(split_target(target)[0]))

    def known_event(self, target: bytes) -> str:
        """Return the catalogue event that a target without a route names, an empty string if none."""
        path, query = split_target(target)
        segments = path.split(b"/", _MOST_SEGMENTS)[:_MOST_SEGMENTS]
        named = (_event_name(_NAME_END.split(unquote_to_bytes(segment), maxsplit=1)[0]) for segment in segments)
        return next((name for name in (*named, _discriminator(query)) if name in CATALOGUE), None) or ""

    def _match(self, path: bytes, query: bytes) -> Match | None:
        return self._written.match(path or b"/", query) or self._match_default(path, query)

    def _match_default(self, path: bytes, query: bytes) -> Match | None:
        default = self._default
        if default is None:
            return None
        _, event = self._known_paths.get(path, (default, None))
        if event is None:
            segment = self._segment(path)
            event = _event_name(segment) if segment else None
            if segment is None or (segment and event is None):
                return None
        discriminator = _discriminator(query) if _DISCRIMINATOR_BYTES in query else None
        if event is None:
            event = discriminator
        if event is None:
            return None
        return Match(default, event, query, contradicted=discriminator is not None and discriminator != event)

    def _segment(self, path: bytes) -> bytes | None:
        """Return the path below the base path, None outside of it."""
        rest = path.removeprefix(self._base)
        if not path.startswith(self._base) or (rest and not rest.startswith(b"/")):
            return None
        return rest[1:].removesuffix(b"/")


def conflicts(written: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Yield the pairs of routes that one request could match."""
    for one, other in combinations(written, 2):
        if one.template and other.template and could_match_one(one.template, other.template):
            yield one, other


class _Written:
    """The routes that have a template."""

    def __init__(self, routes: Sequence[Route]) -> None:
        places: dict[tuple[object, ...], list[Route]] = {}
        for route in routes:
            places.setdefault(_place(route), []).append(route)
        self._tree = PathTree[_Choice]()
        for at_one_place in places.values():
            self._tree.add(_template(at_one_place[0]).segments, _choice(at_one_place))

    def covers(self, path: bytes) -> bool:
        """Whether any route has this path, whatever its static parameters."""
        return any(True for _ in self._find(path))

    def _find(self, path: bytes) -> Iterator[tuple["_Choice", tuple[str, ...]]]:
        """Yield what is at a path, then at the same path without its trailing slash."""
        yield from self._tree.find(path)
        if path.endswith(b"/"):
            yield from self._tree.find(path[:-1])

    def match(self, path: bytes, query: bytes) -> Match | None:
        """Return the match of a target, None outside of these routes."""
        parameters: Mapping[str, str] = {}
        for choice, path_values in self._find(path):
            if not parameters and not (isinstance(choice, Route) and not _template(choice).static):
                parameters = _parameters(query)
            route = _choose(choice, parameters)
            if route is not None:
                return Match(route, route.event, query, path_values=path_values)
        return None


def _template(route: Route) -> Template:
    if route.template is None:
        msg = f"the route {route.name} has no template"
        raise ValueError(msg)
    return route.template


def _place(route: Route) -> tuple[object, ...]:
    """Return a key that is equal for routes with the same path."""
    segments = _template(route).segments
    return tuple(segment if isinstance(segment, str) else segment.literals for segment in segments)


class _Fork(NamedTuple):
    """Routes at one path, distinguished by the value of a static parameter that all of them have."""

    parameter: str
    branches: dict[str, "_Choice"]


_Choice = Route | _Fork | list[Route]


def _choice(routes: list[Route]) -> _Choice:
    """Arrange `routes` so that static parameters choose one of them quickly."""
    if len(routes) == 1:
        return routes[0]
    shared = set[str].intersection(*(set(_template(route).static) for route in routes))
    values = {name: {_template(route).static[name] for route in routes} for name in sorted(shared)}
    parameter = max(values, key=lambda name: len(values[name]), default=None)
    if parameter is None or len(values[parameter]) == 1:
        return routes
    branches: dict[str, list[Route]] = {}
    for route in routes:
        branches.setdefault(_template(route).static[parameter], []).append(route)
    return _Fork(parameter, {value: _choice(branch) for value, branch in branches.items()})


def _choose(choice: _Choice, parameters: Mapping[str, str]) -> Route | None:
    """Return the route whose static parameters are among `parameters`."""
    if isinstance(choice, Route):
        static = _template(choice).static
        return choice if all(parameters.get(name) == value for name, value in static.items()) else None
    if isinstance(choice, _Fork):
        branch = choice.branches.get(parameters.get(choice.parameter, ""))
        return None if branch is None else _choose(branch, parameters)
    return next((route for route in choice if _choose(route, parameters) is not None), None)


def _parameters(query: bytes) -> Mapping[str, str]:
    """Return a query's values by their parameters, decoded as far as static ones need.

    The first value of a repeated parameter counts: an extra one must not change the route.
    """
    found: dict[str, str] = {}
    for piece in query.split(b"&"):
        name, _, value = piece.partition(b"=")
        found.setdefault(meant_name(_text(name)), _text(value))
    return found


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


def _event_name(segment: bytes) -> str | None:
    """Return today's event name for a path segment or discriminator, None if it cannot be one."""
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
        name, _, value = piece.partition(b"=")
        if _DISCRIMINATOR_BYTES in name and meant_name(_text(name)) == DISCRIMINATOR:
            return _event_name(value)
    return None
