"""Argument types that several commands use. Each raises `ArgumentTypeError`, which says what would be valid."""

import argparse
import difflib
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from time import time
from typing import Any, NamedTuple

from aurora_bridge.settings.units import duration
from aurora_bridge.webhook.catalogue import EVENTS, todays_name
from aurora_bridge.webhook.decoding import canonical_name

_MOST_SHOWN = 3
_HIGHEST_ROW = 2**63 - 1
"""SQLite's limit."""
_MOST_EVENTS = 1_000_000
"""Limit of `tail -n`, which holds them in memory."""
_TOP_LEVEL = ("id", "subject", "type")


def event_name(text: str) -> str:
    """Return today's name of an event."""
    name = todays_name(text)
    if name in EVENTS:
        return name
    msg = f"{no_event(text, EVENTS)} Events that the bridge does not know are in unrecognized."
    raise argparse.ArgumentTypeError(msg)


def no_event(text: str, names: Sequence[str]) -> str:
    """Return the message for an event that is not among `names`, with similar names."""
    name = todays_name(text)
    similar = [known for known in names if name and name in known] or difflib.get_close_matches(name, names)
    meant = f" Did you mean {' or '.join(similar[:_MOST_SHOWN])}?" if similar else ""
    return f"no event is called {text!r}.{meant}"


def moment(text: str) -> int:
    """Return a time, or a duration before now, in milliseconds since the epoch."""
    seconds = duration(text)
    if seconds is not None:
        return max(0, int((time() - seconds) * 1000))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        msg = (
            f"{text!r} is not a time or a duration. Write a time as in 2026-11-23T17:24:05Z (RFC 3339; UTC without an "
            "offset, midnight for a mere date), or a duration before now as in 90s, 15m, 2h or 1d."
        )
        raise argparse.ArgumentTypeError(msg) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return max(0, int(parsed.timestamp() * 1000))


class Condition(NamedTuple):
    """An attribute that an event must have, with its value."""

    name: str
    value: str

    def holds(self, event: dict[str, Any]) -> bool:
        """Whether a CloudEvent meets it. Null, for what came empty, matches an empty value."""
        attributes = event if self.name in _TOP_LEVEL else event.get("data")
        if not isinstance(attributes, dict) or self.name not in attributes:
            return False
        return (attributes[self.name] or "") == self.value


def condition(text: str) -> Condition:
    """Return a condition of the form `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = (
            f"{text!r} is not a condition. Write NAME=VALUE: an attribute, as in status=signed, or one of "
            f"{', '.join(_TOP_LEVEL)}, as in subject=agreement/a-1."
        )
        raise argparse.ArgumentTypeError(msg)
    return Condition(canonical_name(name), value)


def patience(text: str) -> float:
    """Return a positive number of seconds."""
    try:
        seconds = duration(text) or float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < inf:
        msg = f"{text!r} is not a number of seconds above 0, as in 60, 0.5 or 10m."
        raise argparse.ArgumentTypeError(msg)
    return seconds


def row(text: str) -> int:
    """Return a row number of the spool."""
    if (number := _whole(text)) is None or not 0 < number <= _HIGHEST_ROW:
        msg = f"{text!r} is not a row: use a whole number above 0, as `aurora-bridge quarantine list` shows it."
        raise argparse.ArgumentTypeError(msg)
    return number


def count(text: str) -> int:
    """Return a number of events."""
    if (number := _whole(text)) is None or not 0 <= number <= _MOST_EVENTS:
        msg = f"{text!r} is not a number of events: use a whole number from 0 to {_MOST_EVENTS}."
        raise argparse.ArgumentTypeError(msg)
    return number


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
