"""The tables of which the file can have any number: `[[routes]]` and `[events.NAME]`; the environment has none."""

from typing import Annotated, Literal

from pydantic import Field

from aurora_bridge.settings.groups import DAY, AuthSettings, Group
from aurora_bridge.settings.kinds import (
    AttributeNames,
    EventName,
    HeaderName,
    ParameterName,
    SecretFile,
    SnakeCase,
    Template,
    Tenant,
    WholeSeconds,
)


class RouteSettings(Group):
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
        return AuthSettings(
            tokens_file=credentials.tokens_file,
            basic_file=credentials.basic_file,
            allow_anonymous=bool(anonymous),
            header=self.header or default.header,
            query_parameter=self.query_parameter or (default.query_parameter if credentials.tokens_file else None),
        )


class EventSettings(Group):
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
