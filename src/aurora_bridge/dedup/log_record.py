"""What a record of the log tells: its event, who published it, and whether that is news.

The first record of an id counts, copies of it change nothing; another id of the same fingerprint is another event, and
the later one is the one to know. Records of every version are read: times of three digits or six, structured or binary.
"""

import re
from calendar import timegm
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson

from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State

_FINGERPRINT = 32
_DIGEST = re.compile(f"[0-9a-f]{{{_FINGERPRINT}}}")
_ONCE = 0
_DAY = len(".20261123")
_MILLISECOND = len(".20261123T172405123")
_DAY_MS = 86_400_000
_MOST_ATTEMPTS = 99


class LogRecord(NamedTuple):
    """An event as its record tells it."""

    fingerprint: str
    time_ms: int
    """The event's `time`, milliseconds since the epoch."""
    id_ms: int
    """The millisecond in its id, 0 where the id has none."""
    once: bool
    """Whether its id is the fingerprint alone."""
    repeat: bool
    attempt: int
    attempt_ms: int
    """Receipt of the attempt that was stored: its time, or when a later attempt was handed over."""
    family_key: str | None
    instance: str
    """The replica that published it."""

    @property
    def times(self) -> tuple[int, int, int, int, bool]:
        """What the index keeps of it, in the order of its columns."""
        return self.time_ms, self.id_ms, self.attempt_ms, self.attempt, self.repeat

    def is_event_of(self, time_ms: int, id_ms: int) -> bool:
        """Whether an event of the same fingerprint, with this time and millisecond, has the same id."""
        if self.id_ms or id_ms:
            return self.id_ms == id_ms
        return self.once or self.time_ms // _DAY_MS == time_ms // _DAY_MS


class Known(Protocol):
    """What is known of the last event of a fingerprint."""

    @property
    def state(self) -> State: ...  # noqa: D102
    @property
    def time_ms(self) -> int: ...  # noqa: D102
    @property
    def id_ms(self) -> int: ...  # noqa: D102


def reconcile(record: LogRecord, known: Known | None, happening: Happening) -> State | None:
    """Return the state of the fingerprint's last event now that this record is known, None where it is no news."""
    if known is None:
        return TRANSITIONS[None, happening]
    if record.is_event_of(known.time_ms, known.id_ms):
        state = TRANSITIONS[known.state, happening]
        return None if state is known.state else state
    newer = record.time_ms > known.time_ms and known.state is not State.IN_FLIGHT
    return TRANSITIONS[None, happening] if newer else None


def read(value: bytes, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int) -> LogRecord | None:
    """Return what a record tells, None for one that no replica wrote."""
    found: dict[str, Any] = dict(headers)
    try:
        if "ce_id" in found:
            event_id, time = found["ce_id"].decode(), found["ce_time"].decode()
            fingerprint, repeat = found["ce_fingerprint"].decode(), found["ce_repeat"] == b"true"
        else:
            event = orjson.loads(value)
            event_id, time, fingerprint, repeat = event["id"], event["time"], event["fingerprint"], event["repeat"]
        time_ms = _time_ms(time)
        id_ms = _id_ms(event_id, fingerprint)
        attempt = max(1, min(int(found["aurora-bridge-attempt"]), _MOST_ATTEMPTS))
        family = found.get("aurora-bridge-family")
        family_key = None if family is None else _digest(family.decode())
        return LogRecord(
            _digest(fingerprint),
            time_ms,
            id_ms,
            len(event_id) == _FINGERPRINT,
            bool(repeat),
            attempt,
            time_ms if attempt == 1 else timestamp_ms,
            family_key,
            found["aurora-bridge-instance"].decode(),
        )
    except (KeyError, ValueError, AttributeError, TypeError):  # the latter two: JSON or a header of another kind
        return None


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError
    return text


def _id_ms(event_id: str, fingerprint: str) -> int:
    """Return the millisecond in an id, 0 for none. Raises `ValueError`."""
    suffix = event_id[_FINGERPRINT:]
    if event_id[:_FINGERPRINT] != fingerprint or len(suffix) not in (_ONCE, _DAY, _MILLISECOND):
        raise ValueError
    return _seconds(suffix[1:16], _COMPACT) * 1000 + int(suffix[16:]) if len(suffix) == _MILLISECOND else 0


def _time_ms(time: str) -> int:
    """Return the milliseconds since the epoch of a time as `event.rfc3339` writes it. Raises `ValueError`."""
    return _seconds(time[:19], _RFC3339) * 1000 + int(time[20:23])


_RFC3339 = (0, 5, 8, 11, 14, 17)
"""Where the month, the day, ... begin in `2026-11-23T17:24:05`."""
_COMPACT = (0, 4, 6, 9, 11, 13)
"""Where they begin in `20261123T172405`."""


@lru_cache(maxsize=1024)
def _seconds(text: str, begins: tuple[int, ...]) -> int:
    """Return the seconds since the epoch of a time without its fraction; neighbours in the log share it."""
    year, *rest = begins
    return timegm((int(text[year : year + 4]), *(int(text[at : at + 2]) for at in rest)))
