"""Turns `[[subscriptions]]` in the settings into the subscriptions that Aurora should have, or reports all mistakes.

By default, a template is its route's, with the host at which Aurora reaches the bridge. Secrets are only named by their
files: `Authentication.secret` reads one when it is sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from aurora_bridge.aurora.receiver import Header, Receiver, basic, secrets_of
from aurora_bridge.aurora.subscription import Filters
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.routing import DEFAULT
from aurora_bridge.settings import AuthSettings, RouteSettings, Settings, SettingsError, SubscriptionSettings
from aurora_bridge.settings.error_messages import both_names
from aurora_bridge.suggested_templates import NO_HOST, default_template, with_host
from aurora_bridge.webhook.catalogue import todays_name
from aurora_bridge.webhook.credentials import parse_basic, parse_tokens
from aurora_bridge.webhook.segment_pattern import placeholder_attribute

_NOBODY: Final = AuthSettings(allow_anonymous=True)
"""Stands for the unknown credentials of a receiver other than the bridge."""


class Authentication(NamedTuple):
    """The credential that Aurora should send."""

    kind: Literal["header", "basic", "none"] = "none"
    name: str = ""
    """Name of the header, or the user name; empty if unknown."""
    file: Path | None = None

    @property
    def words(self) -> str:
        """Description for people, such as `header X-Aurora-Webhook-Token`."""
        return {"header": f"header {self.name}", "basic": f"Basic as {self.name}"}.get(self.kind, "none")

    def secret(self) -> str:
        """Return the token or the password: the last one in the file, which is the newest.

        Raises `ValueError` if there is none, and `OSError`.
        """
        if self.kind == "header":
            tokens = secrets_of(self.file, parse_tokens)
            found = [token.decode() for token in tokens]
        else:
            pairs = [pair.decode().partition(":") for pair in secrets_of(self.file, parse_basic)]
            found = [password for user, _, password in pairs if user == self.name]
        if not found or not found[-1]:
            of_user = f" of {self.name}" if self.kind == "basic" else ""
            msg = f"{self.file} has no secret{of_user}" if self.file else f"no file has the secret for {self.words}"
            raise ValueError(msg)
        return found[-1]

    def headers(self) -> list[Header]:
        """Return what Aurora sends with a webhook. Raises `ValueError`, `OSError`."""
        match self.kind:
            case "header":
                return [(self.name, self.secret())]
            case "basic":
                return [basic(f"{self.name}:{self.secret()}")]
            case _:
                return []


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription that Aurora should have."""

    where: str
    """Its table in the file, for messages."""
    event: str
    url_template: str = field(repr=False)
    """With any secret in it."""
    authentication: Authentication
    filters: Filters
    description: str | None
    """None: leave unchanged."""
    enabled: bool
    id: str


class WantedSubscriptions(NamedTuple):
    """What the file declares."""

    subscriptions: Sequence[Wanted]
    left_out: Mapping[str, str]
    """Events that intentionally have no subscription, by today's names, with the table that says so."""


def wanted_of(tables: Sequence[SubscriptionSettings], settings: Settings, receiver: Receiver) -> WantedSubscriptions:
    """Return the subscriptions that `tables` declare, for the routes of `settings`. Raises `SettingsError`."""
    problems: list[str] = []
    found: list[Wanted] = []
    left_out: dict[str, str] = {}
    for number, table in enumerate(tables, 1):
        where = f"[[subscriptions]] number {number}"
        wrong = list(_contradictions(table))
        problems += (f"{where}: {words}" for words in wrong)
        if table.left_out:
            left_out |= {todays_name(event): where for event in table.events}
        elif not wrong:
            for event in table.events:
                try:
                    found.append(_wanted(where, event, table, settings, receiver))
                except (ValueError, OSError) as error:
                    problems.append(f"{where}: {event}: {error}")
    ids = [one.id for one in found if one.id]
    problems += (f"[[subscriptions]]: the id {one} occurs twice. Remove one of the two." for one in _twice(ids))
    if problems:
        raise SettingsError(problems)
    return WantedSubscriptions(found, MappingProxyType(left_out))


def _contradictions(table: SubscriptionSettings) -> Iterator[str]:
    one_event = len(table.events) == 1
    for name in ("id", "url_template"):
        if getattr(table, name) and not one_event:
            yield f"{name} with {len(table.events)} events; expected one. Write a table for each event."
    if table.route and table.url_template:
        yield "both route and url_template; expected one of the two. Remove the other."
    if others := sorted(table.model_fields_set - {"events", "left_out"}) if table.left_out else []:
        yield f"left_out with {', '.join(others)}; expected nothing but events. Remove one or the other."
    own_header, own_basic = table.header or table.token_file, table.basic_username or table.basic_file
    if own_header and own_basic:
        yield "header or token_file with basic_username or basic_file; expected one credential. Remove the other."
    if table.authentication in {"basic", "none"} and own_header:
        yield f"authentication = {table.authentication!r} with header or token_file. Remove one or the other."
    if table.authentication in {"header", "none"} and own_basic:
        yield f"authentication = {table.authentication!r} with basic_username or basic_file. Remove one or the other."


def _wanted(where: str, event: str, table: SubscriptionSettings, settings: Settings, receiver: Receiver) -> Wanted:
    """Return the subscription that a table declares for an event. Raises `ValueError`, `OSError`."""
    url = table.url_template or _template(event, table.route, settings, receiver.written)
    if url.startswith(f"{NO_HOST}/"):
        msg = (
            "the host at which Aurora reaches the bridge is unknown. Set "
            f"{both_names('ingress.public_url')}, or write url_template."
        )
        raise ValueError(msg)
    route = receiver.route_of(event, url)
    auth = _NOBODY if route is None else receiver.auth(route)
    url, in_query = _with_token(url, auth)
    return Wanted(
        where,
        event,
        url,
        Authentication() if in_query and table.authentication is None else _authentication(table, auth),
        MappingProxyType(
            {
                placeholder_attribute(name.strip("<>")): frozenset(allowed)
                for name, allowed in (table.filters or {}).items()
            }
        ),
        table.description,
        table.enabled,
        table.id,
    )


def _template(event: str, route: str | None, settings: Settings, written: Mapping[str, RouteSettings]) -> str:
    """Return the template of the event's route, with the host. Raises `ValueError` unless there is exactly one."""
    today = todays_name(event)
    taking = {name: one for name, one in written.items() if todays_name(one.event) == today}
    if route is None:
        taking = {name: one for name, one in taking.items() if one.tenant in {None, settings.tenant}}
        if len(taking) > 1:
            msg = f"several routes receive it. Choose one with route = {' or '.join(map(repr, sorted(taking)))}."
            raise ValueError(msg)
        route = next(iter(taking), DEFAULT)
    if route in taking:
        return with_host(taking[route].template, settings)
    if route != DEFAULT:
        why = f"receives {written[route].event}" if route in written else "does not exist"
        msg = f"the route {route!r} {why}. Name one of {', '.join(map(repr, (*sorted(taking), DEFAULT)))}."
        raise ValueError(msg)
    if not settings.default_route:
        msg = "no route receives it. Add one below [[routes]], or name the event in a table with left_out = true."
        raise ValueError(msg)
    template = default_template(today, settings)
    if template is None:
        msg = (
            "the bridge does not know its attributes. Write url_template, with the placeholders in Aurora's dashboard."
        )
        raise ValueError(msg)
    return template


def _with_token(url: str, auth: AuthSettings) -> tuple[str, bool]:
    """Return a template with the route's token as the value of its query parameter, and whether it has that parameter.

    A value in the file is not the token: `docs/routes.md` says to leave the token out of it.
    """
    head, mark, query = url.partition("?")
    pieces = query.split("&")
    places = [place for place, piece in enumerate(pieces) if piece.partition("=")[0] == auth.query_parameter]
    if auth.tokens_file is None or not places:
        return url, False
    token = Authentication("header", file=auth.tokens_file).secret()
    for place in places:
        if pieces[place].partition("=")[2] != HIDDEN:
            pieces[place] = f"{auth.query_parameter}={quote(token, safe='')}"
    return head + mark + "&".join(pieces), True


def _authentication(table: SubscriptionSettings, auth: AuthSettings) -> Authentication:
    """Return the credential that a table declares, or else one that the route accepts."""
    own_header, own_basic = table.header or table.token_file, table.basic_username or table.basic_file
    kind = table.authentication
    if kind is None:
        if own_header or (auth.tokens_file and not own_basic):
            kind = "header"
        else:
            kind = "basic" if own_basic or auth.basic_file else "none"
    if kind == "header":
        return Authentication(kind, table.header or auth.header, table.token_file or auth.tokens_file)
    if kind == "none":
        return Authentication()
    file, name = table.basic_file or auth.basic_file, table.basic_username
    if name is None and file is None:
        msg = "the user name for Basic is missing. Add basic_username or basic_file."
        raise ValueError(msg)
    if name is None:
        name = secrets_of(file, parse_basic)[-1].decode().partition(":")[0]
    return Authentication(kind, name, file)


def _twice(values: Sequence[str]) -> list[str]:
    return sorted({one for one in values if values.count(one) > 1})
