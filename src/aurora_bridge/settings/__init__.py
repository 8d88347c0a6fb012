"""Every setting of the daemon.

`settings` combines `sections` and `file_tables`, whose fields have `field_types`; `load` reads them. `names`, `checks`,
`security`, `expected_values` and `error_messages` find and report mistakes; `files` reads the files that settings name.
"""

from aurora_bridge.settings.error_messages import SettingsError
from aurora_bridge.settings.file_tables import EventSettings, RouteSettings, SubscriptionSettings
from aurora_bridge.settings.load import load, redacted
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
from aurora_bridge.settings.settings import Settings

__all__ = [
    "AdminSettings",
    "AuroraSettings",
    "AuthSettings",
    "DeadlinesSettings",
    "EventSettings",
    "IndexSettings",
    "IngressSettings",
    "KafkaSettings",
    "LogSettings",
    "RouteSettings",
    "Settings",
    "SettingsError",
    "SpoolSettings",
    "SubscriptionSettings",
    "load",
    "redacted",
]
