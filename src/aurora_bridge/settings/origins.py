"""Where the value of each setting came from, for `cli.config`."""

from collections.abc import Iterator, Mapping
from typing import Any

from aurora_bridge.settings.field_types import Secret
from aurora_bridge.settings.load import Sources
from aurora_bridge.settings.names import FILE_ONLY, SETTINGS


def origins(sources: Sources) -> dict[str, Any]:
    """Return a document shaped like the settings, with `default`, `file` or `environment` for each value.

    A setting that names a file with a secret has, for example, `secret file (environment)`: that is where the path is.
    """
    document: dict[str, Any] = {}
    for key, field in SETTINGS.items():
        origin = (
            "environment"
            if key in sources.environment.values()
            else "file"
            if _in_file(key, sources.table)
            else "default"
        )
        if origin != "default" and any(isinstance(mark, Secret) for mark in field.metadata):
            origin = f"secret file ({origin})"
        section, _, name = key.rpartition(".")
        (document.setdefault(section, {}) if section else document)[name] = origin
    return document | {key: "file" if key in sources.table else "default" for key in FILE_ONLY}


def overridden(sources: Sources) -> Iterator[str]:
    """Yield a line for each setting in the file that the environment overrides."""
    for name, key in sources.environment.items():
        if _in_file(key, sources.table):
            yield (
                f"{name} in the environment overrides {key} in {sources.file}: a change there has no effect. "
                "Unset the variable, or remove the key."
            )


def _in_file(key: str, table: Mapping[str, Any]) -> bool:
    section, _, name = key.rpartition(".")
    return name in (table.get(section, {}) if section else table)
