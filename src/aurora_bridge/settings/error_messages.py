"""Messages about wrong settings: which one, its value, what is expected, what to do.

pydantic finds a problem, but the message is ours: pydantic's speaks of inputs, types and web pages. `load` collects
the messages.
"""

import difflib
import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aurora_bridge.os_errors import user
from aurora_bridge.redaction import HIDDEN, SecretNames
from aurora_bridge.settings.expected_values import expected
from aurora_bridge.settings.field_types import is_path
from aurora_bridge.settings.names import CONFIG_VARIABLE, FILE_ONLY, GROUPS, REPLACED, SETTINGS, similar, variable
from aurora_bridge.settings.settings import Settings

_LONGEST_SHOWN = 120
_SECRETS = SecretNames((*Settings().ingress.secret_parameters, Settings().auth.header))
_CREDENTIALS = "/run/credentials/"
"""Where systemd puts a service's secrets, which are gone when it stops."""


class SettingsError(Exception):
    """The settings are wrong, and the daemon must not start. `problems` has one readable line per mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def both_names(key: str) -> str:
    """Return both names of a setting: its environment variable, and its key in the file."""
    return f"{variable(key)} ({key} in the file)"


def shown(value: object) -> str:
    """Return a value for a message: on one line, short, without secrets and the `user:password@` of an address.

    A table or a list becomes just that word, since it may contain a secret.
    """
    if isinstance(value, dict | list):
        return "table" if isinstance(value, dict) else "list"
    text = _SECRETS.redact(str(value))
    if "@" in text:
        text = "***@" + text.rpartition("@")[2]
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "..."
    return repr(text) if isinstance(value, str | Path) else text


def _shown_for(field: FieldInfo, value: object, folder: Path) -> str:
    """Return a setting's value for a message; hide a path that may be a secret pasted where a path belongs.

    `folder` is what `load` joined relative paths of the settings file to.
    """
    if value and isinstance(value, str | Path) and is_path(field) and not _begins_in_a_folder(Path(value), folder):
        return f"{HIDDEN} (hidden, since it may be a secret)"
    return shown(value)


def _begins_in_a_folder(path: Path, start: Path) -> bool:
    """Whether a path, relative to `start` if it is below it, begins with an existing folder and goes on from there."""
    inner = path.relative_to(start) if path.is_relative_to(start) else path
    first = 1 + inner.is_absolute()
    return len(inner.parts) > first and os.path.isdir(start.joinpath(*inner.parts[:first]))  # noqa: PTH112 - no OSError


def wrong_value(error: ErrorDetails, from_environment: Iterable[str], file: Path | None) -> str:
    """Return the message for one of pydantic's errors; `from_environment` has the keys that the environment sets."""
    section, *rest = (str(part) for part in error["loc"])
    if section in FILE_ONLY:
        return _wrong_in_table(section, rest, error, file)
    key = section if section in SETTINGS or not rest else f"{section}.{rest[0]}"
    if error["type"] == "extra_forbidden":
        return unknown_key(key, file)
    if key in GROUPS:
        return f"{key} in {file}: not a table. Write its settings below a line [{key}]."
    source, folder = (file, file.parent) if file and key not in from_environment else ("the environment", Path())
    field, came = SETTINGS[key], error["input"]
    return (
        f"{both_names(key)}: invalid {_shown_for(field, came, folder)} (from {source}); expected {expected(field)}. "
        f"{_about_file(field, came)}{_remedy(field.default)}"
    )


def table_name(section: str, which: str) -> str:
    """Return how messages call one of many tables: `[[routes]] number 2`, `[events.lead_created]`."""
    return f"[{section}.{which}]" if section == "events" else f"[[{section}]] number {int(which) + 1}"


def _wrong_in_table(section: str, rest: Sequence[str], error: ErrorDetails, file: Path | None) -> str:
    """Return the message for an error in one of the tables in `FILE_ONLY`."""
    fields = FILE_ONLY[section].model_fields
    if len(rest) < 2 or rest[1] == "[key]":  # noqa: PLR2004 - the table's number or name, and a key in it
        what = Settings.model_fields[section]
        return (
            f"{section} in {file}: invalid {shown(error['input'])}; expected {expected(what)}. Correct it or remove it."
        )
    table, key = f"{table_name(section, rest[0])} in {file}", rest[1]
    if error["type"] == "extra_forbidden":
        meant = difflib.get_close_matches(key, fields, n=1)
        return f"{table}: {key} is not one of its keys{_did_you_mean(meant)} Expected one of {', '.join(fields)}."
    if error["type"] == "missing":
        return f"{table}: {key} is missing; expected {expected(fields[key])}. Add it."
    return (
        f"{table}: invalid {key} = {_shown_for(fields[key], error['input'], file.parent if file else Path())}; "
        f"expected {expected(fields[key])}. "
        f"{_about_file(fields[key], error['input'])}Correct it or leave it out."
    )


def unknown_variable(name: str, key: str) -> str:
    """Return the message for an unknown environment variable, without its value, which may be a secret."""
    if key.partition(".")[0] in FILE_ONLY:
        return f"{name}: only the file can set this. Move it to the file that {CONFIG_VARIABLE} or --config names."
    if key in REPLACED:
        return f"{name}: this setting is gone; {REPLACED[key]}. Unset it."
    meant = [variable(known) for known in similar(key) if known in SETTINGS]
    return (
        f"{name}: no setting has this name{_did_you_mean(meant)} "
        "Correct the name or unset it; `aurora-bridge config` lists every setting."
    )


def unknown_key(key: str, file: Path | None) -> str:
    """Return the message for an unknown key in the file."""
    if key in REPLACED:
        return f"{key} in {file}: this setting is gone; {REPLACED[key]}. Remove it."
    meant = [f"[{known}]" if known in GROUPS else known for known in similar(key)]
    return (
        f"{key} in {file}: no setting has this name{_did_you_mean(meant)} "
        "Correct the key or remove it; `aurora-bridge config` lists every setting."
    )


def unreadable_file(file: Path, why: str) -> str:
    """Return the message for a settings file that cannot be read; `why` is the system's or the parser's reason."""
    return (
        f"--config or {CONFIG_VARIABLE}: cannot read {shown(file)} ({why}); expected the path of a TOML file. "
        "Fix the path or the file, or omit it and set everything in the environment."
    )


def _about_file(field: FieldInfo, value: object) -> str:
    """Return who cannot read a file, and when the setting may be right for the service nevertheless."""
    if Path not in get_args(field.annotation):
        return ""
    who = f"This user is {user()}. "
    if not str(value).startswith(_CREDENTIALS):
        return who
    return who + (
        "It exists only while the service runs, for its user: otherwise name the file that systemd copies it from. "
    )


def _remedy(default: object) -> str:
    match default:
        case None | "" | ():
            return "Correct it or leave it out."
        case bool():
            words = str(default).lower()
        case tuple():
            words = ",".join(default)
        case _:
            words = str(default)
    return f"Correct it, or leave it out for the default, {words}."


def _did_you_mean(candidates: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(candidates)}?" if candidates else "."
