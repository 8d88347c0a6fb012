"""The words for what is wrong with the settings: which one, its value, what is expected, what to do.

pydantic finds a problem, the words are ours: its own speak of inputs, types and web pages. `load` collects them.
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
from aurora_bridge.settings.expected import expected
from aurora_bridge.settings.field_types import is_path
from aurora_bridge.settings.names import CONFIG_VARIABLE, FILE_ONLY, GROUPS, REPLACED, SETTINGS, similar, variable
from aurora_bridge.settings.settings import Settings

_LONGEST_SHOWN = 120
_SECRETS = SecretNames((*Settings().ingress.secret_parameters, Settings().auth.header))
_CREDENTIALS = "/run/credentials/"
"""Where systemd hands a service its secrets, which are gone when it ends."""


class SettingsError(Exception):
    """The settings are wrong and the daemon must not start; `problems` has one readable line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def both_names(key: str) -> str:
    """Return the setting as people know it, whether they use the environment or the file."""
    return f"{variable(key)} ({key} in the file)"


def shown(value: object) -> str:
    """Return a value for a message: on one line, short, without secrets and the `user:password@` of an address.

    Of a table or a list only which of the two it is, since there may be a secret in it.
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
    """Return the value of a setting for a message, that of a path only if it cannot be a secret.

    What came from a file was joined to its `folder`, if it was relative.
    """
    if value and isinstance(value, str | Path) and is_path(field) and not _begins_in_a_folder(Path(value), folder):
        return f"{HIDDEN} (hidden, since it may be a secret)"
    return shown(value)


def _begins_in_a_folder(path: Path, start: Path) -> bool:
    """Whether a path has folders in it, behind `start` if it begins there, and the first of them exists."""
    inner = path.relative_to(start) if path.is_relative_to(start) else path
    first = 1 + inner.is_absolute()
    return len(inner.parts) > first and os.path.isdir(start.joinpath(*inner.parts[:first]))  # noqa: PTH112 - no OSError


def wrong_value(error: ErrorDetails, from_environment: Iterable[str], file: Path | None) -> str:
    """Return the words for one of pydantic's errors; `from_environment` has the keys of the variables that are set."""
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
    """Return what a table of which there can be many is called: the second `[[routes]]`, `[events.lead_created]`."""
    return f"[{section}.{which}]" if section == "events" else f"[[{section}]] number {int(which) + 1}"


def _wrong_in_table(section: str, rest: Sequence[str], error: ErrorDetails, file: Path | None) -> str:
    """Return the words for an error in one of the tables of which there can be any number."""
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
    """Return the words for an environment variable that is no setting. Its value may be a secret and is left out."""
    if key.partition(".")[0] in FILE_ONLY:
        return f"{name}: this is set in the file only. Write it into the file that {CONFIG_VARIABLE} or --config names."
    if key in REPLACED:
        return f"{name}: this setting is gone; {REPLACED[key]}. Unset it."
    meant = [variable(known) for known in similar(key) if known in SETTINGS]
    return (
        f"{name}: no setting has this name{_did_you_mean(meant)} "
        "Correct the name or unset it; `aurora-bridge config` lists every setting."
    )


def unknown_key(key: str, file: Path | None) -> str:
    """Return the words for a key of the file that is no setting."""
    if key in REPLACED:
        return f"{key} in {file}: this setting is gone; {REPLACED[key]}. Remove it."
    meant = [f"[{known}]" if known in GROUPS else known for known in similar(key)]
    return (
        f"{key} in {file}: no setting has this name{_did_you_mean(meant)} "
        "Correct the key or remove it; `aurora-bridge config` lists every setting."
    )


def unreadable_file(file: Path, why: str) -> str:
    """Return the words for a settings file that cannot be had; `why` is the system's or the parser's reason."""
    return (
        f"--config or {CONFIG_VARIABLE}: cannot read {shown(file)} ({why}); expected the path of a TOML file. "
        "Fix the path or the file, or leave it out and set everything in the environment."
    )


def _about_file(field: FieldInfo, value: object) -> str:
    """Return for whom a file cannot be read, and why that may be though the setting is right for the service."""
    if Path not in get_args(field.annotation):
        return ""
    who = f"This user is {user()}. "
    if not str(value).startswith(_CREDENTIALS):
        return who
    return who + (
        "It is there only while the service runs, for its user: otherwise name the file that systemd copies it from. "
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
