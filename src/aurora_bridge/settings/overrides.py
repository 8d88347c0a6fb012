"""The tables of which the file can have any number: `[[routes]]`, `[[subscriptions]]` and `[events.NAME]`.

The environment has none.
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
    """One route, written as `[[routes]]` in the file. Which credentials it names are all it takes."""

    template: Template
    """URL template as it stands in Aurora, with or without scheme and host."""

    event: EventName
    """Event that comes here."""

    tenant: Tenant | None = None
    """Aurora tenant whose webhooks these are. Left out: `tenant` at the top of the file."""

    filtered: bool = False
    """Whether the subscription has a filter: the same state twice is then a duplicate within 60 s only.

    A filter can hide the state in between, so that two equal states in a row can be two events.
    """

    tokens_file: SecretFile = None
    """As in `[auth]`, as are the next four."""

    header: HeaderName | None = None
    """Header in which Aurora sends the token."""

    query_parameter: ParameterName | None = None
    """Parameter that may carry the token instead."""

    basic_file: SecretFile = None
    """File with the valid pairs for HTTP Basic."""

    allow_anonymous: bool | None = None
    """Whether deliveries without a valid credential are taken."""

    def auth(self, default: AuthSettings) -> AuthSettings:
        """Return what the route takes: the credentials it names, or those of `default` if it names none."""
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
    """What is known better of one event than the catalogue does, written as `[events.NAME]` in the file."""

    recurrence: Literal["once", "state", "signal"] | None = None
    """Whether the same content again is the same event, a state that may have come back, or always a new event."""

    identifier: SnakeCase | None = None
    """Attribute that tells one thing from another of its kind; without it, `once` and `state` cannot be told."""

    state_attribute: SnakeCase | None = None
    """Attribute that holds the state."""

    volatile_attributes: AttributeNames = ()
    """Attributes of this event that make it no new one."""

    repeat_window_seconds: Annotated[WholeSeconds | None, Field(ge=0, le=30 * DAY)] = None
    """Seconds within which the same state is a duplicate, on every route."""


class SubscriptionSettings(Section):
    """Subscriptions that Aurora is to have, one for each event, written as `[[subscriptions]]` in the file.

    `aurora-bridge subscriptions` compares them with those that it has; the daemon itself changes none.
    """

    events: EventNames
    """Events that are subscribed to, each by a subscription of its own."""

    left_out: bool = False
    """Whether there is to be none for these events, on purpose; then nothing else is set."""

    route: RouteName | None = None
    """Route whose template and credentials these are: its name, as the header `aurora-bridge-route` has it, or
    `default`. Left out: the one route that takes the event.
    """

    url_template: Template | None = None
    """URL template as it stands in Aurora, for one event, in the place of the route's. `***` leaves a secret in it as
    it is.
    """

    filters: FilterValues | None = None
    """By placeholder, the values that Aurora sends: `{ "<STATUS>" = ["signed"] }`. Left out: all."""

    description: Description | None = None
    """What Aurora's dashboard shows. Left out: what stands there, `aurora-bridge` for a new one."""

    enabled: bool = True
    """Whether it sends. One that Aurora switched off is switched on again by `subscriptions reenable` alone."""

    authentication: Annotated[Literal["header", "basic", "none"] | None, EMPTY_IS_NONE] = None
    """What Aurora sends as its credential. Left out: what the route takes, a header's token before Basic."""

    header: HeaderName | None = None
    """Header that carries the token. Left out: the route's."""

    token_file: SecretFile = None
    """File with the token: the last line, so that a new one is the route's newest. Left out: the route's file."""

    basic_username: UserName | None = None
    """User of HTTP Basic. Left out: that of the file's last line."""

    basic_file: SecretFile = None
    """File with `user:password` lines. Left out: the route's file."""

    id: AuroraId = ""
    """Id that Aurora has for it, for one event; tells apart what is alike. One that Aurora does not know is ignored."""
