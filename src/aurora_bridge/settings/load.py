"""Reads the environment and the TOML file into `Settings`, or reports everything that is wrong with them at once.

pydantic-settings merges the two sources; the environment wins. An unknown name prevents the start: a misspelt setting
that is silently ignored is noticed only when it is needed. The models reject unknown names in the file
(`extra="forbid"`); those in the environment are rejected here, except the ones that Kubernetes sets.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, InitSettingsSource

from aurora_bridge.os_errors import reason
from aurora_bridge.settings.checks import conflicts
from aurora_bridge.settings.error_messages import SettingsError, unknown_variable, unreadable_file, wrong_value
from aurora_bridge.settings.field_types import FILES_ARE_HERE, is_path
from aurora_bridge.settings.names import CONFIG_VARIABLE, FILE_ONLY, GROUPS, PREFIX, SETTINGS, is_service_link, key_of
from aurora_bridge.settings.settings import Settings


class _Environment(EnvSettingsSource):
    """pydantic-settings' source for an environment that is passed in."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): value for name, value in variables.items()}


class FromElsewhere(NamedTuple):
    """A settings file from another machine; its environment and the files that it names exist only there."""

    name: Path
    """Its name in messages."""
    toml: str


class Sources(NamedTuple):
    """What is set, before it is checked."""

    environment: dict[str, str]
    """The key that each `AURORA_BRIDGE_` variable would set, by the variable's name; unknown ones too."""
    table: dict[str, Any]
    """The content of the file."""
    file: Path | None


Config: TypeAlias = Path | FromElsewhere | None


def read_sources(config_file: Config = None, environ: Mapping[str, str] = os.environ) -> Sources:
    """Return what the environment and the file set.

    The file is `config_file`, else the one that `AURORA_BRIDGE_CONFIG` names, else none. Relative paths in the file
    are relative to its folder, those in the environment to the working directory. Raises `SettingsError`.
    """
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    file, text = config_file if isinstance(config_file, FromElsewhere) else (config_file, None)
    if text is not None:
        environ = {}
        if not text.strip():
            raise SettingsError([f"{file}: empty. Did the command in front of the pipe fail?"])
    table = _read(file, text) if file else {}
    named = {name: key_of(name) for name, value in environ.items() if _is_ours(name, value)}
    return Sources(named, table, file)


def load(config_file: Config = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the effective settings: the environment overrides the TOML file, which overrides the defaults.

    Raises `SettingsError` with all problems.
    """
    here = FILES_ARE_HERE.set(not isinstance(config_file, FromElsewhere))
    try:
        return settings_of(read_sources(config_file, environ), environ)
    finally:
        FILES_ARE_HERE.reset(here)


def settings_of(sources: Sources, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the effective settings of sources that were read from this environment. Raises `SettingsError`."""
    named, table, file = sources
    problems = [unknown_variable(name, key) for name, key in named.items() if key not in SETTINGS]
    environment = _Environment({name: environ[name] for name, key in named.items() if key in SETTINGS})
    try:
        # mypy sees the fields as the only arguments
        settings = Settings(_build_sources=((environment, InitSettingsSource(Settings, table)), {}))  # type: ignore[call-arg]
    except ValidationError as invalid:
        problems += [wrong_value(error, named.values(), file) for error in invalid.errors(include_url=False)]
    else:
        problems = problems or list(conflicts(settings))
    if problems:
        raise SettingsError(problems) from None
    return settings


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the effective settings for people to read, in JSON types; a `SecretStr` becomes asterisks."""
    return settings.model_dump(mode="json")


def _is_ours(name: str, value: str) -> bool:
    return name.startswith(PREFIX) and name != CONFIG_VARIABLE and not is_service_link(name, value)


def _read(file: Path, text: str | None) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8-sig") if text is None else text)
    except OSError as error:
        raise SettingsError([unreadable_file(file, reason(error))]) from None
    except UnicodeDecodeError:
        raise SettingsError([unreadable_file(file, "not UTF-8")]) from None
    except RecursionError:
        raise SettingsError([unreadable_file(file, "not TOML: nested too deeply")]) from None
    except ValueError as error:  # also raised for a number with too many digits
        raise SettingsError([unreadable_file(file, f"not TOML: {error}")]) from None
    _resolve_paths(table, file.parent)
    return table


def _resolve_paths(table: dict[str, Any], folder: Path) -> None:
    """Make relative paths relative to `folder`."""
    _resolve(table, Settings, folder)
    for name, field in Settings.model_fields.items():
        inner = table.get(name)
        if isinstance(inner, dict) and name in GROUPS:
            _resolve(inner, cast("type[BaseModel]", field.annotation), folder)
    for name, model in FILE_ONLY.items():
        tables = table.get(name)
        for inner in tables if isinstance(tables, list) else ():
            if isinstance(inner, dict):
                _resolve(inner, model, folder)


def _resolve(table: dict[str, Any], model: type[BaseModel], folder: Path) -> None:
    for name, field in model.model_fields.items():
        if is_path(field) and isinstance(table.get(name), str) and table[name]:
            table[name] = folder / table[name]
