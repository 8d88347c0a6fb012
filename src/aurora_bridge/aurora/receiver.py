"""Tries out what the daemon would do with a subscription's webhooks, by its own routes, credentials and events.

A template is filled with plausible values, as Aurora would do, and takes the stateless steps of a delivery: route,
credentials, canonical event. `trials` tries all subscriptions, and `checks` turns the results into findings.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from aurora_bridge.outcomes import DeadLetterReason, Malformed, Refusal
from aurora_bridge.routing import DEFAULT, secret_names
from aurora_bridge.settings import AuthSettings, RouteSettings, Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, EventType, todays_name
from aurora_bridge.webhook.credentials import parse_basic, parse_tokens
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from aurora_bridge.webhook.routes import Match, Routes
from aurora_bridge.webhook.segment_pattern import PLACEHOLDER, placeholder_attribute
from aurora_bridge.webhook.url_template import Template

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<host>[^/?#]*)")
_ID: Final = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
_TEXT: Final = "In Progress"
_OF_PARTNERS: Final = frozenset({"tenant_id", "session_token"})
"""What Aurora fills in for partner applications only, in any template."""

Header = tuple[str, str]


class Fate(StrEnum):
    """What happens to a subscription's webhooks."""

    TAKEN = "taken"
    ELSEWHERE = "elsewhere"
    NO_ROUTE = "no_route"
    WRONG_EVENT = "wrong_event"
    UNAUTHORIZED = "unauthorized"
    DEAD_LETTER = "dead_letter"


class Trial(NamedTuple):
    """The result of trying a webhook."""

    fate: Fate
    match: Match | None = None
    event: Event | None = None
    reason: DeadLetterReason | None = None
    unknown: Sequence[str] = ()
    """Placeholders that Aurora is not known to fill in."""


class Receiver:
    """Does what the daemon with these settings would do, without a daemon."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._routes = routes
        self._public_url = settings.ingress.public_url
        self._of_partner = bool(settings.aurora.partner_application_id)
        self._default_auth = settings.auth
        secrets = secret_names(settings)
        self.written: Mapping[str, RouteSettings] = {
            Template(route.template, secrets).name: route for route in settings.routes
        }
        """The routes in the file, by name."""
        urls = (self._public_url, *(route.template for route in settings.routes))
        self._hosts = frozenset(match["host"].lower() for match in map(_ABSOLUTE.match, urls) if match)

    def auth(self, route: str) -> AuthSettings:
        """Return the credentials that the route of this name accepts."""
        return self._default_auth if route == DEFAULT else self.written[route].auth(self._default_auth)

    def route_of(self, event: str, url_template: str) -> str | None:
        """Return the name of the route that receives a template's webhooks, None if there is none."""
        target = self._target(url_template)
        match = None if target is None else self._match(_fill(target, _type_of(event)))
        return None if match is None else match.route.name

    def comes_here(self, url_template: str) -> bool:
        """Whether a template's webhooks reach the bridge, as far as its hosts are known."""
        return self._target(url_template) is not None

    def credentials(self, route: str, header: str, username: str) -> list[list[Header]]:
        """Return the headers that Aurora may send, one list for each secret of the route that fits.

        `header` names the header with the token, `username` the user for Basic; both are empty for no credential.
        """
        auth = self.auth(route)
        if header:
            tokens = [token.decode() for token in secrets_of(auth.tokens_file, parse_tokens)]
            return [[(header, token)] for token in tokens] or [[(header, "")]]
        if username:
            pairs = [
                pair
                for pair in secrets_of(auth.basic_file, parse_basic)
                if pair.partition(b":")[0].decode() == username
            ]
            return [[basic(pair.decode())] for pair in pairs] or [[basic(f"{username}:")]]
        return [[]]

    def try_out(self, event: str, url_template: str, credentials: Sequence[Sequence[Header]] | None) -> Trial:
        """Return what happens to a webhook of this event and template if it has any of these lists of headers.

        `credentials` is None if they are unknown; then they are not checked.
        """
        target = self._target(url_template)
        if target is None:
            return Trial(Fate.ELSEWHERE)
        event_type, event = _type_of(event), todays_name(event)
        unknown = [name for name in _attributes(target) if not self._fills(event_type, name)]
        filled = _fill(target, event_type)
        match = self._match(filled)
        if match is None:
            return Trial(Fate.NO_ROUTE)
        if match.event != event:
            return Trial(Fate.WRONG_EVENT, match)
        if credentials is not None and not any(_admits(match, filled, headers) for headers in credentials):
            return Trial(Fate.UNAUTHORIZED, match, unknown=unknown)
        try:
            made = normalise(match)
        except Malformed as malformed:
            return Trial(Fate.DEAD_LETTER, match, reason=malformed.reason, unknown=unknown)
        return Trial(Fate.TAKEN, match, made, unknown=unknown)

    def _fills(self, event_type: EventType, attribute: str) -> bool:
        """Whether Aurora is known to fill in a placeholder; any, if the event's attributes are unknown."""
        if attribute in _OF_PARTNERS:
            return self._of_partner or attribute in event_type.attributes
        return not event_type.attributes or attribute in event_type.attributes

    def _match(self, target: str) -> Match | None:
        try:
            return self._routes.match(_delivery(target))
        except Refusal:
            return None

    def _target(self, url: str) -> str | None:
        """Return the part of a URL that reaches the daemon as the target, None if the host is another one."""
        public = self._public_url
        if public and (url.startswith((f"{public}/", f"{public}?")) or url == public):
            return url[len(public) :]
        absolute = _ABSOLUTE.match(url)
        if absolute is None:
            return url
        if self._hosts and absolute["host"].lower() not in self._hosts:
            return None
        return url[absolute.end() :]


def basic(pair: str) -> Header:
    """Return the header of HTTP Basic for `user:password`."""
    return "Authorization", f"Basic {b64encode(pair.encode()).decode()}"


def secrets_of(file: Path | None, parse: Callable[[str], Sequence[bytes]]) -> Sequence[bytes]:
    """Return the secrets in a file, none without a file. Raises `ValueError`, `OSError`."""
    return () if file is None else parse(file.read_text(encoding="utf-8-sig"))


def _type_of(event: str) -> EventType:
    name = todays_name(event)
    return CATALOGUE.get(name, EventType(name))


def _attributes(target: str) -> list[str]:
    return [placeholder_attribute(name) for name in PLACEHOLDER.findall(target)]


def _fill(target: str, event_type: EventType) -> str:
    """Return a target with each placeholder replaced by a plausible value."""

    def value(attribute: str) -> str:
        known = event_type.values.get(attribute)
        return quote(min(known) if known else _ID if attribute.endswith("_id") else _TEXT, safe="")

    return PLACEHOLDER.sub(lambda match: value(placeholder_attribute(match[1])), target)


def _delivery(target: str, headers: Sequence[Header] = ()) -> Delivery:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return Delivery("GET", target.encode(errors="surrogateescape"), encoded, 0, 0.0)


def _admits(match: Match, target: str, headers: Sequence[Header]) -> bool:
    return match.route.credentials.would_admit(_delivery(target, headers))
