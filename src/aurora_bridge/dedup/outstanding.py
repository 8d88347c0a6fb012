"""What did not get in: refused deliveries that have not come again, and times in which no daemon ran.

A delivery that is refused after its credentials were accepted is remembered, and Aurora tries it five more times. The
index file lists those deliveries, so the list is lost with the file. Each is listed or deleted in the transaction that
writes its state. Triggers keep counts by minute, because an outage can leave a million of them.

Limits: two refused deliveries of equal content count as one. The time is that of the first attempt that a daemon saw,
which may have been a retry. Aurora's intervals are approximate: the last retry may come up to a fifth later than due.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import orjson

from aurora_bridge.dedup.recurrence import EARLY_SHARE, LATE_SHARE, SCHEDULE

SCHEMA = """
CREATE TABLE refused (fingerprint TEXT PRIMARY KEY, event TEXT NOT NULL, minute INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refused_by_minute (
    event TEXT NOT NULL,
    minute INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (event, minute)
) WITHOUT ROWID;
CREATE TRIGGER refused_listed AFTER INSERT ON refused BEGIN
    INSERT INTO refused_by_minute VALUES (new.event, new.minute, 1)
    ON CONFLICT DO UPDATE SET deliveries = deliveries + 1;
END;
CREATE TRIGGER refused_struck AFTER DELETE ON refused BEGIN
    UPDATE refused_by_minute SET deliveries = deliveries - 1 WHERE event = old.event AND minute = old.minute;
    DELETE FROM refused_by_minute WHERE event = old.event AND minute = old.minute AND deliveries = 0;
END;
CREATE TABLE runs (began_ms INTEGER PRIMARY KEY, alive_ms INTEGER NOT NULL)
"""
"""`minute` is the minute of the first attempt, counted from the epoch."""
_STRIKE = "DELETE FROM refused WHERE fingerprint IN (SELECT value FROM json_each(?))"
_LIST = "INSERT INTO refused SELECT value->>0, value->>1, value->>2 FROM json_each(?)"
_RUN = "INSERT INTO runs VALUES (?, ?) ON CONFLICT DO UPDATE SET alive_ms = max(alive_ms, excluded.alive_ms)"
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
LAST_RETRY_MS = sum(seconds for _, seconds in SCHEDULE) * 1000
"""From the first attempt until Aurora's last retry is due: 23 h 35 min 30 s."""
LATEST_MS = int(LAST_RETRY_MS * (1 + LATE_SHARE))
"""From the first attempt until the last retry is no longer expected."""
_EARLIEST_MS = int(LAST_RETRY_MS * (1 - EARLY_SHARE))


class Refused(NamedTuple):
    """Refused deliveries of one event, with a first attempt in one minute."""

    event: str
    minute: int
    deliveries: int

    @property
    def begins_ms(self) -> int:
        """When the minute begins."""
        return self.minute * _MINUTE_MS

    @property
    def ends_ms(self) -> int:
        """When it ends."""
        return (self.minute + 1) * _MINUTE_MS


class Gap(NamedTuple):
    """A time in which no daemon ran, accurate to five seconds."""

    from_ms: int
    to_ms: int


class Found(NamedTuple):
    """What the file lists."""

    refused: Sequence[Refused] = ()
    gaps: Sequence[Gap] = ()
    """In order of time."""


class Outstanding(NamedTuple):
    """Refused deliveries that have not come again, by event."""

    pending: Mapping[str, int]
    """Deliveries that Aurora may still retry."""
    missed: Mapping[str, int]
    """Deliveries without retries left: they only come if Aurora is asked to send them again."""
    due_ms: int
    """When the last retry of the pending ones is due; 0 if there are none."""
    latest_ms: int
    """Until when that retry may come, if Aurora is late."""


class Window(NamedTuple):
    """A time window that Aurora should be asked to send again."""

    event: str
    """Name of the event; empty: every event."""
    from_ms: int
    to_ms: int
    deliveries: int = 0
    """Number of refused deliveries in it; 0 for a time in which no daemon ran."""


# In the file, on its thread.


def settle(db: sqlite3.Connection, fingerprints: Iterable[str]) -> None:
    """Delete deliveries that came again from the list."""
    db.execute(_STRIKE, (orjson.dumps(list(fingerprints)).decode(),))


def note(db: sqlite3.Connection, refused: Sequence[tuple[str, str, int]]) -> None:
    """List deliveries that were refused: fingerprint, event, and the time of the first attempt in milliseconds."""
    settle(db, (fingerprint for fingerprint, _, _ in refused))
    rows = [(fingerprint, event, time_ms // _MINUTE_MS) for fingerprint, event, time_ms in refused]
    db.execute(_LIST, (orjson.dumps(rows).decode(),))


def forget(db: sqlite3.Connection, before_ms: int) -> None:
    """Forget deliveries and runs before a time."""
    db.execute("DELETE FROM refused WHERE minute < ?", (before_ms // _MINUTE_MS,))
    db.execute("DELETE FROM runs WHERE alive_ms < ?", (before_ms,))


def note_alive(db: sqlite3.Connection, began_ms: int, now_ms: int) -> None:
    """Note that the daemon that started at `began_ms` is alive."""
    db.execute(_RUN, (began_ms, now_ms))


def read(db: sqlite3.Connection) -> Found:
    """Return what the file lists."""
    refused = map(Refused._make, db.execute("SELECT * FROM refused_by_minute ORDER BY event, minute"))
    runs = db.execute("SELECT * FROM runs ORDER BY began_ms").fetchall()
    gaps = (Gap(alive_ms, began_ms) for (_, alive_ms), (began_ms, _) in pairwise(runs) if began_ms > alive_ms)
    return Found(list(refused), list(gaps))


# Computed from it.


def outstanding(found: Found, now_ms: int) -> Outstanding:
    """Return the refused deliveries that have not come again."""
    pending, missed, last_ms = Counter[str](), Counter[str](), 0
    for refused in found.refused:
        if _is_pending(refused, now_ms):
            pending[refused.event] += refused.deliveries
            last_ms = max(last_ms, refused.ends_ms)
        else:
            missed[refused.event] += refused.deliveries
    if not last_ms:
        return Outstanding(pending, missed, 0, 0)
    return Outstanding(pending, missed, last_ms + LAST_RETRY_MS, last_ms + LATEST_MS)


def to_request(found: Found, now_ms: int, *, pending: bool = False) -> list[Window]:
    """Return what will not come by itself; with `pending`, also what Aurora's retries may still bring.

    If no daemon ran at some time in the day before a window of refused deliveries, the window begins there: what was
    refused may have been a retry. Of a time in which no daemon ran, only the part counts that Aurora no longer retried
    when it ended.
    """
    windows: list[Window] = []
    for refused in found.refused:
        if not pending and _is_pending(refused, now_ms):
            continue
        from_ms, last = _reach_back(refused.begins_ms, found.gaps), windows[-1] if windows else None
        if last is not None and last.event == refused.event and from_ms - last.to_ms <= _HOUR_MS:
            deliveries = last.deliveries + refused.deliveries
            windows[-1] = Window(last.event, min(last.from_ms, from_ms), refused.ends_ms, deliveries)
        else:
            windows.append(Window(refused.event, from_ms, refused.ends_ms, refused.deliveries))
    return [*windows, *_unattended(found.gaps, pending=pending)]


def _is_pending(refused: Refused, now_ms: int) -> bool:
    return now_ms < refused.ends_ms + LATEST_MS


def _reach_back(time_ms: int, gaps: Sequence[Gap]) -> int:
    for gap in reversed(gaps):
        if 0 <= time_ms - gap.to_ms < _DAY_MS:
            time_ms = gap.from_ms
    return time_ms


def _unattended(gaps: Sequence[Gap], *, pending: bool) -> Iterator[Window]:
    for gap in gaps:
        to_ms = gap.to_ms if pending else gap.to_ms - _EARLIEST_MS
        if to_ms > gap.from_ms:
            yield Window("", gap.from_ms, to_ms)
