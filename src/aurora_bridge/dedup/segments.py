"""The segments of the index file. As in a Kafka log, only the current one is written.

The current segment is small, so that the cost of a write, which is pages, does not grow with the index. The newest row
of a key counts. A segment is dropped as a whole: when everything in it is old, or early if the file is full.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from aurora_bridge.state.database import used_bytes

_SEEN = """CREATE TABLE seen_{number} (
    fingerprint TEXT PRIMARY KEY,
    state INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    id_ms INTEGER NOT NULL,
    attempt_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    repeat INTEGER NOT NULL
) WITHOUT ROWID"""
_LATEST = """CREATE TABLE latest_{number} (
    family_key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    id_ms INTEGER NOT NULL
) WITHOUT ROWID"""
_SEGMENTS = """CREATE TABLE segments (
    number INTEGER PRIMARY KEY,
    opened_ms INTEGER NOT NULL,
    opened_bytes INTEGER NOT NULL,
    newest_ms INTEGER
);
INSERT INTO segments VALUES (1, 0, 0, NULL)"""
SCHEMA = ";".join((_SEGMENTS, _SEEN.format(number=1), _LATEST.format(number=1)))
"""`newest_ms`, for a closed segment, is the latest time or id millisecond of its events."""
_DAY_MS = 86_400_000
_MOST_BYTES = 32 * 2**20
_SHARE = 16
"""A segment takes at most this fraction (1/16) of the file."""
_FIND = "SELECT t.* FROM json_each(?) AS j CROSS JOIN {table}_{number} AS t ON t.{key} = j.value"


def numbers(db: sqlite3.Connection) -> list[int]:
    """Return the numbers of the segments, the current one first."""
    return [number for (number,) in db.execute("SELECT number FROM segments ORDER BY number DESC")]


def newest(db: sqlite3.Connection, table: str, key: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the newest row of each of these keys, for those that have one."""
    found: dict[str, tuple[Any, ...]] = {}
    for number in numbers(db):
        rest = [each for each in keys if each not in found]
        if not rest:
            break
        rows = db.execute(_FIND.format(table=table, number=number, key=key), (orjson.dumps(rest).decode(),))
        found.update((row[0], row) for row in rows.fetchall())
    return list(found.values())


def begin_when_due(db: sqlite3.Connection, now_ms: int, max_bytes: int) -> None:
    """Close the current segment and begin another, if it is a day old or large."""
    number, opened_ms, opened_bytes, _ = db.execute("SELECT * FROM segments ORDER BY number DESC LIMIT 1").fetchone()
    used = used_bytes(db)
    if 0 <= now_ms - opened_ms < _DAY_MS and used - opened_bytes < min(_MOST_BYTES, max_bytes // _SHARE):
        return
    newest_ms = _newest_ms(db, number)
    if newest_ms is None:
        db.execute("UPDATE segments SET opened_ms = ? WHERE number = ?", (now_ms, number))
        return
    db.execute("UPDATE segments SET newest_ms = ? WHERE number = ?", (newest_ms, number))
    db.execute("INSERT INTO segments VALUES (?, ?, ?, NULL)", (number + 1, now_ms, used))
    db.execute(_SEEN.format(number=number + 1))
    db.execute(_LATEST.format(number=number + 1))


def expire(db: sqlite3.Connection, before_ms: int) -> bool:
    """Drop closed segments with no event since `before_ms`; return whether there was one."""
    old = db.execute("SELECT number FROM segments WHERE newest_ms < ?", (before_ms,)).fetchall()
    for (number,) in old:
        _drop(db, number)
    return bool(old)


def forget_oldest(db: sqlite3.Connection) -> int:
    """Drop the oldest segment, or empty the only one; return the time of its newest event."""
    *closed, current = reversed(numbers(db))
    oldest = closed[0] if closed else current
    newest_ms = _newest_ms(db, oldest) or 0
    if closed:
        _drop(db, oldest)
    else:  # a full file has no room for a new segment
        db.execute(f"DELETE FROM seen_{current}")  # noqa: S608 - a number
        db.execute(f"DELETE FROM latest_{current}")  # noqa: S608
    return newest_ms


def _newest_ms(db: sqlite3.Connection, number: int) -> int | None:
    """Return the latest time or id millisecond in a segment: an id of today must not be given twice."""
    (newest_ms,) = db.execute(f"SELECT max(max(time_ms, id_ms)) FROM seen_{number}").fetchone()  # noqa: S608 - a number
    return None if newest_ms is None else int(newest_ms)


def _drop(db: sqlite3.Connection, number: int) -> None:
    before = used_bytes(db)
    db.execute(f"DROP TABLE seen_{number}")
    db.execute(f"DROP TABLE latest_{number}")
    db.execute("DELETE FROM segments WHERE number = ?", (number,))
    db.execute("UPDATE segments SET opened_bytes = opened_bytes - ?", (before - used_bytes(db),))
