"""The index file: a cache of what Kafka and the spool hold, for look-ups. This module has its SQL.

Events and the log positions up to which they are known are in the same file. If a crash loses its last commits, they
are read from the log again: so commits need no fsync (`synchronous=NORMAL`), and an unusable file is rebuilt.
"""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from aurora_bridge.dedup import outstanding, segments
from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord, reconcile
from aurora_bridge.state.database import Format, is_broken, open_as_is, used_bytes
from aurora_bridge.state.directory import StateError

log = logging.getLogger(__name__)
FILE = "index.db"
_SCHEMA = """
CREATE TABLE positions (
    log TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (log, topic, partition)
) WITHOUT ROWID;
CREATE TABLE instances (name TEXT PRIMARY KEY, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE forgotten (time_ms INTEGER NOT NULL);
INSERT INTO forgotten VALUES (0)
"""
_FORMAT = Format(
    f"{segments.SCHEMA};{_SCHEMA};{outstanding.SCHEMA}",
    6,
    4096,
    "NORMAL",
    cache_kib=16_000,
    checkpoint_pages=8_000,
    migrations={5: outstanding.SCHEMA},
)
_CHUNK = 128
"""Rows per statement: each step of SQLite releases the GIL, and a busy event loop is slow to give it back."""
_REPLACE = """ON CONFLICT DO UPDATE SET state=excluded.state, time_ms=excluded.time_ms, id_ms=excluded.id_ms,
attempt_ms=excluded.attempt_ms, attempt=excluded.attempt, repeat=excluded.repeat"""
_REPLACE_LATEST = """ON CONFLICT DO UPDATE SET
fingerprint=excluded.fingerprint, time_ms=excluded.time_ms, id_ms=excluded.id_ms"""
_CHANGE = "UPDATE seen_{number} SET state=? WHERE fingerprint=? AND time_ms=? AND id_ms=? AND state=?"
_POSITIONS = "INSERT OR REPLACE INTO positions SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?)"
_INSTANCE = "INSERT INTO instances VALUES (?, ?) ON CONFLICT DO UPDATE SET time_ms = max(time_ms, excluded.time_ms)"
_NEXT = "SELECT fingerprint FROM seen_{number} WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?"
_FINGERPRINT = 32

Place = tuple[str, str, int]
"""Id of the log (a Kafka cluster or a spool file), topic, and partition; for a spool, these are empty and 0."""
Positions = Mapping[Place, int]
Cursor = tuple[int, str]
"""Number of a segment, and the last fingerprint that was read from it."""
Event = tuple[str, int, int]  # fingerprint, time and millisecond of the id
SeenRow = tuple[str, int, int, int, int, int, int]


class Row(NamedTuple):
    """The last event of a fingerprint (a `recurrence.Known`)."""

    fingerprint: str
    state: State
    time_ms: int
    id_ms: int
    attempt_ms: int
    attempt: int
    repeat: bool = False

    @property
    def listed(self) -> bool:
        """Whether the file lists it as refused."""
        return self.state is State.RETRY_PENDING


class Answer(NamedTuple):
    """Result of a look-up."""

    rows: dict[str, Row]
    """By fingerprint."""
    latest: dict[str, Latest]
    """By family key."""


class Found(NamedTuple):
    """What the file holds besides events when it is opened."""

    positions: dict[Place, int]
    instances: dict[str, int]
    """Time of the latest record (ms) by replica, for other replicas."""
    forgotten_ms: int
    """Time of the youngest event that may be missing, in ms."""
    bytes: int


def open_index(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the index at `path`; one that is damaged, or of another version, is recreated. Raises `sqlite3.Error`."""
    try:
        return open_as_is(path, _FORMAT, max_bytes)
    except (sqlite3.DatabaseError, StateError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not is_broken(error):
            raise
        log.warning("%s cannot be used (%s); rebuilding it from the log", path, error)
    remove(path)
    return open_as_is(path, _FORMAT, max_bytes)


def remove(path: Path) -> None:
    """Remove the file, its write-ahead log and its shared memory."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def found(db: sqlite3.Connection) -> Found:
    """Return what the file holds besides its events."""
    positions = {place[:3]: place[3] for place in db.execute("SELECT log, topic, partition, offset FROM positions")}
    (forgotten_ms,) = db.execute("SELECT time_ms FROM forgotten").fetchone()
    return Found(positions, dict(db.execute("SELECT * FROM instances").fetchall()), forgotten_ms, used_bytes(db))


def find(db: sqlite3.Connection, fingerprints: Sequence[str], families: Sequence[str]) -> Answer:
    """Return what is known of fingerprints and families."""
    rows = segments.newest(db, "seen", "fingerprint", fingerprints)
    latest = segments.newest(db, "latest", "family_key", families)
    seen = (Row._make((key, State(state), *times, bool(repeat))) for key, state, *times, repeat in rows)
    return Answer({row.fingerprint: row for row in seen}, {row[0]: Latest(*row) for row in latest})


def write(db: sqlite3.Connection, rows: Sequence[SeenRow], latest: list[Latest]) -> None:
    """Write what changed in memory."""
    current = segments.numbers(db)[0]
    _insert(db, f"seen_{current}", 7, _REPLACE, sorted(rows))
    _insert(db, f"latest_{current}", 4, _REPLACE_LATEST, sorted(latest))


def note(db: sqlite3.Connection, positions: Positions, forgotten_ms: int) -> None:
    """Write up to which positions the log is known, and up to which time events may be missing."""
    if positions:
        db.execute(_POSITIONS, (_json([(*place, offset) for place, offset in positions.items()]),))
    db.execute("UPDATE forgotten SET time_ms = ? WHERE time_ms < ?", (forgotten_ms, forgotten_ms))


def learn(
    db: sqlite3.Connection, records: Sequence[LogRecord], known: Sequence[str], latest: list[Latest], instance: str
) -> list[LogRecord]:
    """Write the events of log records, and the `latest` states among them; records of `instance` are our own.

    Only fingerprints in `known` can be in the file. Returns those of our own records that were new to the file.
    """
    events, states = find(db, known, [state.family_key for state in latest])
    rows: dict[str, Row] = {}
    new_records, settled = [], []
    for record in records:
        fingerprint, ours = record.fingerprint, record.instance == instance
        before = events.get(fingerprint)
        happening = Happening.LOGGED if ours else Happening.LOGGED_ELSEWHERE
        state = reconcile(record, before, before and before.state, happening)
        if state is None:
            continue
        if before is not None and record.is_event_of(before):
            event = before._replace(state=state)
        else:
            event = Row(fingerprint, state, *record.times)
            if ours:
                new_records.append(record)
        if before is not None and before.state is State.RETRY_PENDING:
            settled.append(fingerprint)
        events[fingerprint] = event
        rows[fingerprint] = event
    newer = [each for each in latest if (old := states.get(each.family_key)) is None or each.time_ms >= old.time_ms]
    outstanding.settle(db, settled)
    write(db, [(row.fingerprint, int(row.state), *row[2:-1], int(row.repeat)) for row in rows.values()], newer)
    db.executemany(_INSTANCE, {record.instance: record.time_ms for record in records}.items())
    return new_records


def change(db: sqlite3.Connection, events: Sequence[Event], state: State, happening: Happening) -> None:
    """Apply a transition to those of the events that are in this state."""
    after = TRANSITIONS[state, happening]
    changed = 0
    for number in segments.numbers(db):
        sql = _CHANGE.format(number=number)
        rows = [(after, fingerprint, time_ms, id_ms, state) for fingerprint, time_ms, id_ms in events]
        changed += db.executemany(sql, rows).rowcount
    if changed and state is State.RETRY_PENDING:
        outstanding.settle(db, [fingerprint for fingerprint, _, _ in events])


def _insert(db: sqlite3.Connection, table: str, width: int, conflict: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows in chunks of a fixed size. The last chunk is padded with rows that the statement ignores.

    They consist of numbers: for each None, `sqlite3` looks for an adapter, and takes ten times as long.
    """
    for start in range(0, len(rows), _CHUNK):
        values = list(chain.from_iterable(rows[start : start + _CHUNK]))
        db.execute(_insertion(table, width, conflict), values + [0] * (width * _CHUNK - len(values)))


@cache
def _insertion(table: str, width: int, conflict: str) -> str:
    rows = ",".join([f"({','.join('?' * width)})"] * _CHUNK)
    return f"INSERT INTO {table} SELECT * FROM (VALUES {rows}) WHERE column1 <> 0 {conflict}"  # noqa: S608 - constants


def fingerprints(db: sqlite3.Connection, cursor: Cursor, limit: int) -> tuple[list[str], Cursor | None]:
    """Return up to `limit` fingerprints after a cursor, and the next cursor, if any. The first one is `(0, "")`."""
    number, after = cursor
    numbers = segments.numbers(db)
    if number in numbers:
        sql = f"SELECT group_concat(fingerprint, '') FROM ({_NEXT.format(number=number)})"  # noqa: S608 - a number
        (text,) = db.execute(sql, (after, limit)).fetchone()
        if text:
            found = [text[at : at + _FINGERPRINT] for at in range(0, len(text), _FINGERPRINT)]
            return found, (number, found[-1])
    following = min((each for each in numbers if each > number), default=None)
    return [], None if following is None else (following, "")


def _json(value: Iterable[object]) -> str:
    return orjson.dumps(value).decode()
