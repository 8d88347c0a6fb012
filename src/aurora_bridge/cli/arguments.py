"""Kinds of argument that several commands take. Each raises `ArgumentTypeError` with what would be right."""

import argparse
import difflib
import re
from datetime import UTC, datetime
from math import inf
from time import time
from typing import Any, NamedTuple

from aurora_bridge.bridge import EVENTS
from aurora_bridge.webhook.catalogue import LEGACY_NAMES
from aurora_bridge.webhook.text import canonical_name

_MOST_SHOWN = 3
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TOP_LEVEL = ("id", "subject", "type")


def event_name(text: str) -> str:
    """Return today's name of an event."""
    name = canonical_name(text)
    name = LEGACY_NAMES.get(name, name)
    if name in EVENTS:
        return name
    similar = [known for known in EVENTS if name in known] or difflib.get_close_matches(name, EVENTS)
    meant = f" Did you mean {' or '.join(similar[:_MOST_SHOWN])}?" if similar else ""
    msg = f"no event is called {text!r}.{meant} What Aurora sends and the bridge does not know is in unrecognized."
    raise argparse.ArgumentTypeError(msg)


def moment(text: str) -> int:
    """Return a time, or a duration before now, in milliseconds since 1970."""
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        return max(0, int((time() - int(duration[1]) * _SECONDS[duration[2]]) * 1000))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        msg = (
            f"{text!r} is no time and no duration. A time is RFC 3339, as in 2026-11-23T17:24:05Z (UTC where no offset "
            "is given, midnight where no time is); a duration before now is 90s, 15m, 2h or 1d."
        )
        raise argparse.ArgumentTypeError(msg) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return max(0, int(parsed.timestamp() * 1000))


class Condition(NamedTuple):
    """What an event must carry."""

    name: str
    value: str

    def holds(self, event: dict[str, Any]) -> bool:
        """Whether a CloudEvent meets it. What came empty is null there, and meets an empty value."""
        attributes = event if self.name in _TOP_LEVEL else event.get("data")
        if not isinstance(attributes, dict) or self.name not in attributes:
            return False
        return (attributes[self.name] or "") == self.value


def condition(text: str) -> Condition:
    """Return a condition of the form `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = (
            f"{text!r} is no condition. It is NAME=VALUE: an attribute, as in status=signed, or one of "
            f"{', '.join(_TOP_LEVEL)}, as in subject=agreement/a-1."
        )
        raise argparse.ArgumentTypeError(msg)
    return Condition(canonical_name(name), value)


def patience(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < inf:
        msg = f"{text!r} is no number of seconds above 0, as in 60 or 0.5."
        raise argparse.ArgumentTypeError(msg)
    return seconds
