"""From settings to routes: compiles templates, reads credentials, and reports everything that is wrong at once.

`daemon` serves the routes; `cli.config` only checks them. `suggested_templates` has what to paste into Aurora for them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.event_overrides import overridden, unknown
from aurora_bridge.metrics import Metrics
from aurora_bridge.redaction import SecretNames
from aurora_bridge.secret_files import SecretFileError, SecretFiles
from aurora_bridge.settings import AuthSettings, RouteSettings, Settings, SettingsError
from aurora_bridge.settings.checks import takes_from_anyone
from aurora_bridge.webhook.catalogue import CATALOGUE, Recurrence, todays_name
from aurora_bridge.webhook.credentials import (
    BASIC,
    HEADER,
    QUERY,
    Anonymous,
    Authenticator,
    Credentials,
    Secrets,
    parse_basic,
    parse_tokens,
)
from aurora_bridge.webhook.decoding import meant_name
from aurora_bridge.webhook.route_rules import HIDDEN_STATE_WINDOW_US, Rules
from aurora_bridge.webhook.routes import Route, Routes, conflicts
from aurora_bridge.webhook.segment_pattern import TemplateError, placeholder
from aurora_bridge.webhook.url_template import Template, could_match_one

DEFAULT = "default"
_AURORAS_OWN = "session_token"
"""Always a secret, whatever the settings name: it gives access to a tenant's data."""
_SECOND_US = 1_000_000


class Routing(NamedTuple):
    """The routes, and warnings for the operator."""

    routes: Routes
    warnings: Sequence[str]


def make_routing(settings: Settings, files: SecretFiles, metrics: Metrics) -> Routing:
    """Return the routes of the settings; `files` reloads their secret files. Raises `SettingsError`."""
    maker = _Maker(settings, files, metrics)
    default = maker.default() if settings.default_route else None
    written = list(filter(None, (maker.written(number, route) for number, route in enumerate(settings.routes, 1))))
    maker.problems += (
        f"{one.where} and {other.where} could both match one request: {one.shown!r} and {other.shown!r}. "
        f"{_look_alike(one.route, other.route)}"
        "Change a path, or give both the same static parameter with different values."
        for one, other in maker.conflicts(written)
    )
    if default is None and not written and not maker.problems:
        maker.problems.append(
            "default_route: false leaves no route. Write one below a line [[routes]], or leave default_route out."
        )
    if maker.problems:
        raise SettingsError(maker.problems)
    kafka = settings.kafka
    if settings.embedded_log and kafka.model_fields_set - {"bootstrap_servers"}:
        maker.warnings.append(
            "kafka.bootstrap_servers is not set, while other settings of kafka are: the events stay in the embedded "
            "log. Name the brokers, or leave the others out."
        )
    if takes_from_anyone(settings):
        maker.warnings.append(
            "Anyone who reaches the proxy in front can forge events: no credentials are set. Write a token into a file "
            "and set AURORA_BRIDGE_AUTH__TOKENS_FILE to its path; or, if that is meant, set "
            "AURORA_BRIDGE_AUTH__ALLOW_ANONYMOUS=true."
        )
    for path in (
        kafka.sasl_password_file,
        kafka.sasl_token_file,
        kafka.oauth_client_secret_file,
        kafka.tls_key_file,
        settings.ingress.tls_key_file,
    ):
        files.note(path)
    maker.warnings += (
        f"{path} may be read by every user of this machine. Where that is not meant: chmod o-r {path}"
        for path in dict.fromkeys(files.exposed)
    )
    return Routing(Routes(settings.ingress.base_path, default, [one.route for one in written]), maker.warnings)


def shown_template(route: RouteSettings, settings: Settings) -> str:
    """Return the template of a route with its secrets as asterisks."""
    return _shown(route, secret_names(settings))


def _shown(route: RouteSettings, secrets: SecretNames) -> str:
    return secrets.redact_target(route.template.encode())


def secret_names(settings: Settings) -> SecretNames:
    """Return the names of what is never shown or stored: on every route, also those of all other routes' tokens."""
    auths = [settings.auth, *(route.auth(settings.auth) for route in settings.routes)]
    carrying = [name for auth in auths for name in (auth.header, auth.query_parameter) if name]
    return SecretNames((_AURORAS_OWN, *settings.ingress.secret_parameters, *carrying))


class _Maker:
    """Makes routes, and collects problems and warnings."""

    def __init__(self, settings: Settings, files: SecretFiles, metrics: Metrics) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._settings = settings
        self._files = files
        self._uses = metrics.credentials_used
        self._secrets: dict[tuple[Path, bool], Secrets] = {}
        self._secret_names = secret_names(settings)
        self._types = overridden(settings, self.problems, self.warnings)
        base = settings.ingress.base_path.rstrip("/")
        self._default_paths = {name: Template(f"{base}/{name}", self._secret_names) for name in CATALOGUE}
        self._rules_made: dict[tuple[frozenset[str], bool], Rules] = {}

    def default(self) -> Route:
        """Return the default route."""
        auth = self._settings.auth
        return Route(DEFAULT, self._settings.tenant, self._credentials("[auth]", auth), self._rules())

    def written(self, number: int, route: RouteSettings) -> "_Numbered | None":
        """Return a route of the settings file, None if it cannot be used."""
        where, shown = f"[[routes]] number {number}", _shown(route, self._secret_names)
        credentials = self._credentials(where, route.auth(self._settings.auth))
        try:
            template = Template(route.template, self._secret_names)
        except TemplateError as error:
            self.problems.append(
                f"{where}: the template {shown!r} cannot be used: {self._secret_names.redact(str(error))}."
            )
            return None
        rules = self._rules(template.secret_parameters, filtered=route.filtered)
        event = todays_name(route.event)
        self.warnings += (f"{where}: {doubt}" for doubt in _doubts(event, template, rules))
        self.warnings += (f"{where}: {doubt}" for doubt in self._taken(event, template))
        tenant = route.tenant or self._settings.tenant
        return _Numbered(where, shown, Route(template.name, tenant, credentials, rules, template, event))

    def conflicts(self, written: Sequence["_Numbered"]) -> Iterator[tuple["_Numbered", "_Numbered"]]:
        """Yield the pairs of routes that could both match one request."""
        by_route = {id(one.route): one for one in written}
        for one, other in conflicts([one.route for one in written]):
            yield by_route[id(one)], by_route[id(other)]

    def _taken(self, event: str, template: Template) -> Iterator[str]:
        """Yield a line if a placeholder takes the paths of other events away from the default route."""
        if not self._settings.default_route or template.static or isinstance(template.segments[-1], str):
            return
        others = (path for name, path in self._default_paths.items() if name != event)
        taken = [path for path in others if could_match_one(template, path)]
        if taken:
            slash = "/" * (len(template.segments) - len(taken[0].segments))  # then it takes this with an empty value
            yield (
                f"its placeholder takes {taken[0].text}{slash} too, and {len(taken) - 1} more paths of the default "
                "route. Put something in front of the placeholder, or set default_route = false."
            )

    def _rules(self, renamed: frozenset[str] = frozenset(), *, filtered: bool = False) -> Rules:
        """Return the rules, one object for all routes that are read alike, so that they share their shapes."""
        index = self._settings.index
        window_us = index.repeat_window_seconds * _SECOND_US
        if filtered:
            window_us = min(window_us, HIDDEN_STATE_WINDOW_US)
        return self._rules_made.setdefault(
            (renamed, filtered),
            Rules(
                self._secret_names | renamed,
                window_us,
                self._types,
                frozenset(index.volatile_attributes),
            ),
        )

    def _credentials(self, where: str, auth: AuthSettings) -> Authenticator:
        tokens = self._follow(where, auth.tokens_file, basic=False)
        basic = self._follow(where, auth.basic_file, basic=True)
        if tokens is None and basic is None:
            return Anonymous()
        return Credentials(
            auth.header, tokens, basic, auth.query_parameter, anonymous=auth.allow_anonymous, uses=self._uses
        )

    def _follow(self, where: str, file: Path | None, *, basic: bool) -> Secrets | None:
        """Return the secrets of a file, one object for all routes that name it."""
        if file is None:
            return None
        if (file, basic) not in self._secrets:
            secrets = Secrets(str(file), (BASIC,) if basic else (HEADER, QUERY), self._uses)
            parse = parse_basic if basic else parse_tokens
            self._secrets[file, basic] = secrets
            try:
                self._files.follow([file], partial(_replace, secrets, parse))
            except SecretFileError as error:
                self.problems.append(f"{where}: {error}.")
        return self._secrets[file, basic]


class _Numbered(NamedTuple):
    where: str
    """Which one it is in the file, for messages."""
    shown: str
    """Its template, without secrets."""
    route: Route


def _look_alike(one: Route, other: Route) -> str:
    """Return why one request can match two templates with different numbers of segments."""
    if one.template and other.template and len(one.template.segments) != len(other.template.segments):
        return "A slash too many at the end of a path and an empty placeholder there look alike. "
    return ""


def _replace(secrets: Secrets, parse: Callable[[str], Sequence[bytes]], contents: Sequence[bytes]) -> None:
    secrets.replace(parse(contents[0].decode("utf-8-sig")))


def _doubts(event: str, template: Template, rules: Rules) -> Iterator[str]:
    """Yield what may be a mistake in a route."""
    event_type = rules.type_of(event)
    for name in map(rules.secrets.redact, template.garbled):
        yield (
            f"the template has a parameter {name!r}, as HTML or a framework writes it; it is read as "
            f"{meant_name(name)!r}. Fix it here, and in Aurora."
        )
    if event not in CATALOGUE:
        yield unknown(event)
        return
    known = {*event_type.attributes, event_type.identifier, event_type.state_attribute, "tenant_id"}
    for attribute in sorted(template.attributes - known) if event_type.attributes else ():
        if attribute in rules.secrets:
            continue
        yield (
            f"{event} has no attribute {attribute} that the bridge knows. If Aurora does not know its placeholder "
            "either, it arrives as it stands, and each delivery becomes a dead letter (unfilled_placeholder)."
        )
    if event_type.recurrence is Recurrence.SIGNAL:
        return
    for needed in (event_type.identifier, event_type.state_attribute):
        if needed is not None and needed not in template.attributes:
            yield (
                f"the template has no {needed}; without it two events look alike, and every delivery is published, "
                f"Aurora's retries too. Add {needed}={placeholder(needed)}."
            )
