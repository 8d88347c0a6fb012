"""What did not get in: deliveries that were refused and have not come again, and the time in which no daemon ran.

A delivery refused behind its credentials is remembered, and Aurora tries it five times more. The index file lists those
that wait, so the list leaves with the file; what becomes of one is written in the same transaction as its state. Counts
by minute are kept beside it by triggers, since an outage can leave a million of them.

What cannot be known: two refused deliveries of equal content count as one; `time` is the first attempt that a daemon
saw, which may have been a retry; and Aurora's intervals are approximate, so that between the time at which the last
retry is due and a fifth later it may still come.
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
"""`minute` is that of the first attempt, since the epoch."""
_STRIKE = "DELETE FROM refused WHERE fingerprint IN (SELECT value FROM json_each(?))"
_LIST = "INSERT INTO refused SELECT value->>0, value->>1, value->>2 FROM json_each(?)"
_RUN = "INSERT INTO runs VALUES (?, ?) ON CONFLICT DO UPDATE SET alive_ms = max(alive_ms, excluded.alive_ms)"
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
LAST_RETRY_MS = sum(seconds for _, seconds in SCHEDULE) * 1000
"""After the first attempt the last of Aurora's retries is due: 23 h 35 min 30 s."""
LATEST_MS = int(LAST_RETRY_MS * (1 + LATE_SHARE))
"""After which it is not expected any more."""
_EARLIEST_MS = int(LAST_RETRY_MS * (1 - EARLY_SHARE))


class Refused(NamedTuple):
    """Deliveries of one event that were refused, and whose first attempt came in one minute."""

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
    """A time in which no daemon ran, to five seconds."""

    from_ms: int
    to_ms: int


class Found(NamedTuple):
    """What the file tells."""

    refused: Sequence[Refused] = ()
    gaps: Sequence[Gap] = ()
    """In order of time."""


class Outstanding(NamedTuple):
    """Where refused deliveries stand, by event."""

    pending: Mapping[str, int]
    """Aurora's retries are not over."""
    missed: Mapping[str, int]
    """They are: such a delivery comes only if Aurora is asked to send it again."""
    due_ms: int
    """When the last retry of those pending is due; 0 without one."""
    latest_ms: int
    """Until when it may come, if Aurora is late."""


class Window(NamedTuple):
    """What to ask Aurora to send again."""

    event: str
    """Empty: every event."""
    from_ms: int
    to_ms: int
    deliveries: int = 0
    """That were refused; 0 for a time in which no daemon ran."""


# In the file, on its thread.


def settle(db: sqlite3.Connection, fingerprints: Iterable[str]) -> None:
    """Strike deliveries off that came again."""
    db.execute(_STRIKE, (orjson.dumps(list(fingerprints)).decode(),))


def note(db: sqlite3.Connection, refused: Sequence[tuple[str, str, int]]) -> None:
    """List deliveries that were refused: fingerprint, event, and the time of the first attempt in milliseconds."""
    settle(db, (fingerprint for fingerprint, _, _ in refused))
    rows = [(fingerprint, event, time_ms // _MINUTE_MS) for fingerprint, event, time_ms in refused]
    db.execute(_LIST, (orjson.dumps(rows).decode(),))


def forget(db: sqlite3.Connection, before_ms: int) -> None:
    """Forget what is older."""
    db.execute("DELETE FROM refused WHERE minute < ?", (before_ms // _MINUTE_MS,))
    db.execute("DELETE FROM runs WHERE alive_ms < ?", (before_ms,))


def note_alive(db: sqlite3.Connection, began_ms: int, now_ms: int) -> None:
    """Note that the daemon which began then is alive."""
    db.execute(_RUN, (began_ms, now_ms))


def look(db: sqlite3.Connection) -> Found:
    """Return what the file tells."""
    refused = map(Refused._make, db.execute("SELECT * FROM refused_by_minute ORDER BY event, minute"))
    runs = db.execute("SELECT * FROM runs ORDER BY began_ms").fetchall()
    gaps = (Gap(alive_ms, began_ms) for (_, alive_ms), (began_ms, _) in pairwise(runs) if began_ms > alive_ms)
    return Found(list(refused), list(gaps))


# What that means.


def outstanding(found: Found, now_ms: int) -> Outstanding:
    """Return where refused deliveries stand."""
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
    """Return what can no longer come by itself; with `pending`, also what Aurora's retries may still bring.

    A window of refused deliveries begins where a daemon was away within a day before: what was refused then may have
    been a retry. Of a time in which no daemon ran, that part counts whose retries were all over by its end.
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
