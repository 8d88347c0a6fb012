"""The tables that the file can repeat: `[[routes]]`, `[[subscriptions]]` and `[events.NAME]`.

They cannot be set in the environment.
"""

from typing import Annotated, Literal

from pydantic import Field

from aurora_bridge.settings.field_types import (
    EMPTY_IS_NONE,
    AttributeNames,
    AuroraId,
    Description,
    EventName,
    EventNames,
    FilterValues,
    HeaderName,
    ParameterName,
    RouteName,
    SecretFile,
    SnakeCase,
    Template,
    Tenant,
    UserName,
    WholeSeconds,
)
from aurora_bridge.settings.sections import DAY, AuthSettings, Section


class RouteSettings(Section):
    """One route, written as `[[routes]]` in the file. If it names any credentials, it accepts no others."""

    template: Template
    """URL template exactly as in Aurora, with or without scheme and host."""

    event: EventName
    """Event that the route receives."""

    tenant: Tenant | None = None
    """Aurora tenant that sends its webhooks. Default: `tenant` at the top of the file."""

    filtered: bool = False
    """Whether the subscription has a filter: the same state again is then a duplicate only within 60 s.

    A filter can hide the state in between, so that two equal states in a row can be two events.
    """

    tokens_file: SecretFile = None
    """As in `[auth]`; so are the next four."""

    header: HeaderName | None = None
    """Header in which Aurora sends the token."""

    query_parameter: ParameterName | None = None
    """Parameter that may carry the token instead."""

    basic_file: SecretFile = None
    """File with the valid pairs for HTTP Basic."""

    allow_anonymous: bool | None = None
    """Whether deliveries without a valid credential are accepted."""

    def auth(self, default: AuthSettings) -> AuthSettings:
        """Return the route's effective credentials: those it names, or those of `default` if it names none."""
        names_some = self.tokens_file is not None or self.basic_file is not None or self.allow_anonymous
        credentials: RouteSettings | AuthSettings = self if names_some else default
        anonymous = credentials.allow_anonymous if self.allow_anonymous is None else self.allow_anonymous
        return default.model_copy(
            update={
                "tokens_file": credentials.tokens_file,
                "basic_file": credentials.basic_file,
                "allow_anonymous": bool(anonymous),
                "header": self.header or default.header,
                "query_parameter": self.query_parameter
                or (default.query_parameter if credentials.tokens_file else None),
            }
        )


class EventSettings(Section):
    """Overrides of what the catalogue says of one event, written as `[events.NAME]` in the file."""

    recurrence: Literal["once", "state", "signal"] | None = None
    """Whether the same content again is the same event, a state that may have come back, or always a new event."""

    identifier: SnakeCase | None = None
    """Attribute that identifies the object; without it, `once` and `state` have no effect."""

    state_attribute: SnakeCase | None = None
    """Attribute that holds the state."""

    volatile_attributes: AttributeNames = ()
    """Attributes of this event that are left out of its fingerprint: a change of them alone makes no new event."""

    repeat_window_seconds: Annotated[WholeSeconds | None, Field(ge=0, le=30 * DAY)] = None
    """Seconds within which the same state is a duplicate, on every route."""


class SubscriptionSettings(Section):
    """Subscriptions that Aurora should have, one for each event, written as `[[subscriptions]]` in the file.

    `aurora-bridge subscriptions` compares them with those that Aurora has; the daemon itself changes none.
    """

    events: EventNames
    """Events to subscribe to, each with a subscription of its own."""

    left_out: bool = False
    """Whether these events intentionally have no subscription; then nothing else is set."""

    route: RouteName | None = None
    """Route whose template and credentials are used: its name as in the header `aurora-bridge-route`, or `default`.
    Left out: the only route that receives the event.
    """

    url_template: Template | None = None
    """URL template exactly as in Aurora, for one event, instead of the route's. `***` keeps a secret unchanged."""

    filters: FilterValues | None = None
    """Values that Aurora sends, by placeholder: `{ "<STATUS>" = ["signed"] }`. Left out: all."""

    description: Description | None = None
    """Text in Aurora's dashboard. Left out: unchanged, `aurora-bridge` for a new subscription."""

    enabled: bool = True
    """Whether it sends. Only `subscriptions reenable` switches one on again that Aurora switched off."""

    authentication: Annotated[Literal["header", "basic", "none"] | None, EMPTY_IS_NONE] = None
    """Credential that Aurora sends. Left out: what the route accepts, a token in the header rather than Basic."""

    header: HeaderName | None = None
    """Header that carries the token. Left out: the route's."""

    token_file: SecretFile = None
    """File with the token, which is its last line: append a new one there. Left out: the route's file."""

    basic_username: UserName | None = None
    """User name for HTTP Basic. Left out: the one in the file's last line."""

    basic_file: SecretFile = None
    """File with `user:password` lines. Left out: the route's file."""

    id: AuroraId = ""
    """Aurora's id of the subscription, for one event; distinguishes similar ones. Ignored if unknown to Aurora."""
