"""All settings together: the top level of the file, the sections and the tables. `load` creates them."""

from pathlib import Path
from typing import Annotated

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aurora_bridge.settings.expected_values import Expected
from aurora_bridge.settings.field_types import (
    EMPTY_IS_NONE,
    EventName,
    Folder,
    Tenant,
)
from aurora_bridge.settings.file_tables import EventSettings, RouteSettings, SubscriptionSettings
from aurora_bridge.settings.sections import (
    AdminSettings,
    AuroraSettings,
    AuthSettings,
    DeadlinesSettings,
    IndexSettings,
    IngressSettings,
    KafkaSettings,
    LogSettings,
    SpoolSettings,
)


class Settings(BaseSettings):
    """Every setting of the daemon. `load` creates it; `Settings()` has the defaults and ignores the environment."""

    model_config = SettingsConfigDict(
        env_prefix="AURORA_BRIDGE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    tenant: Tenant = "default"
    """Aurora tenant that sends the webhooks: `/aurora/<tenant>` is the source of each event."""

    state_dir: Folder = Path("aurora-bridge-state")
    """Folder of the spool, the index and other state; on a local disk, created if missing."""

    embedded: Annotated[bool | None, EMPTY_IS_NONE] = None
    """Whether the spool is the event log, without Kafka. Empty: it is if no Kafka is configured, on loopback only.

    Elsewhere it must be set, so that a forgotten setting never swallows a production stream.
    """

    default_route: bool = True
    """Whether `/{event}?{attribute}=...` is accepted in addition to the routes in the file."""

    routes: Annotated[tuple[RouteSettings, ...], Expected("a list of tables, each below a line [[routes]]")] = ()
    """Routes with a URL template of their own; in the file only."""

    subscriptions: Annotated[
        tuple[SubscriptionSettings, ...], Expected("a list of tables, each below a line [[subscriptions]]")
    ] = ()
    """Subscriptions that Aurora should have; in the file only."""

    events: Annotated[dict[EventName, EventSettings], Expected("tables, each below a line [events.NAME]")] = {}
    """Overrides of what the catalogue says of an event; in the file only."""

    ingress: IngressSettings = IngressSettings()
    admin: AdminSettings = AdminSettings()
    kafka: KafkaSettings = KafkaSettings()
    auth: AuthSettings = AuthSettings()
    aurora: AuroraSettings = AuroraSettings()
    deadlines: DeadlinesSettings = DeadlinesSettings()
    spool: SpoolSettings = SpoolSettings()
    index: IndexSettings = IndexSettings()
    log: LogSettings = LogSettings()

    @property
    def embedded_log(self) -> bool:
        """Whether events stay in the embedded log, because no Kafka is configured."""
        return not self.kafka.bootstrap_servers

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use no source of pydantic-settings' own: `load` supplies them."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
