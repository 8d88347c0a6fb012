"""Durations and sizes with a unit, such as `24h` and `1GiB`, in the environment and as strings in the file."""

import re
from dataclasses import dataclass

from pydantic import ByteSize, TypeAdapter

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|[smhdw])", re.ASCII | re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"[0-9._]+\s*[A-Za-z]*")
_BYTES = TypeAdapter(ByteSize)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, and the units it may be written in."""

    noun: str
    units: str


def duration(text: str) -> float | None:
    """Return a duration in seconds, None if the text is not a number with a unit."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _SECONDS[match[2].lower()] if match else None


def in_seconds(value: object) -> object:
    """Return a duration as a number of seconds, and anything else unchanged."""
    seconds = duration(value) if isinstance(value, str) else None
    return value if seconds is None else seconds


def in_days(value: object) -> object:
    """Return a duration as a number of days, and anything else unchanged."""
    seconds = duration(value) if isinstance(value, str) else None
    return value if seconds is None else seconds / _SECONDS["d"]


def in_bytes(value: object) -> object:
    """Return a size as a number of bytes (1 GiB is 2**30, 1 GB 10**9). Raises `ValueError` for other text."""
    if not isinstance(value, str):
        return value
    if not _SIZE.fullmatch(value.strip()):  # pydantic ignores what follows the unit
        raise ValueError
    return _BYTES.validate_python(value)
