"""The spool's file: its format, the migration from older formats, and salvage from a broken file.

A file gets an id when it is created, and stores the last row number that it gave out, so that a position in it stays
valid when its rows are gone. A file that is recreated, or salvaged from a broken one, has a new id. `rows` has the SQL
for the events.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.outbox.rows import PAGE, Stats, check, read, stats
from aurora_bridge.state.database import Format, corrupt, error_code, for_command, open_and_read, open_database

FILE = "spool.db"
_VERSION = 2
_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    headers TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL, -- the event's time
    fingerprint TEXT NOT NULL,
    stored_us INTEGER NOT NULL,
    ran_us INTEGER NOT NULL,
    set_aside TEXT
);
CREATE INDEX waiting ON events (event, seq) WHERE set_aside IS NULL;
CREATE TABLE state (ran_us INTEGER NOT NULL, id TEXT NOT NULL DEFAULT '', last_seq INTEGER NOT NULL DEFAULT 0);
INSERT INTO state VALUES (0, lower(hex(randomblob(16))), 0)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS quarantined ON events (seq) WHERE set_aside IS NOT NULL"
"""For counting them every second. If the file is full, it goes without this index."""
_FROM_1 = """
ALTER TABLE clock RENAME TO state;
ALTER TABLE state ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE state ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
UPDATE state SET id=lower(hex(randomblob(16))), last_seq=(SELECT coalesce(max(seq), 0) FROM events)
"""
"""Needs no new page, so that a full file can be migrated."""
_COUNT_SALVAGED = """
UPDATE state SET (last_seq, ran_us)=(SELECT seq, ran_us FROM events ORDER BY seq DESC LIMIT 1)
WHERE last_seq < (SELECT max(seq) FROM events)
"""
"""The age of salvaged rows counts from what daemons had run on the broken file."""
_IN_INDEXES = """(SELECT seq FROM events INDEXED BY waiting WHERE set_aside IS NULL
UNION ALL SELECT seq FROM events INDEXED BY quarantined WHERE set_aside IS NOT NULL)"""
_FIRST = f"SELECT min(seq) FROM {_IN_INDEXES}"  # noqa: S608 - constants
_LAST = (
    "SELECT max(seq) FROM events NOT INDEXED",
    f"SELECT max(seq) FROM {_IN_INDEXES}",  # noqa: S608 - constants
    "SELECT last_seq FROM state",
)
"""The last of these counts all rows there ever were: only where neither the table nor its indexes can be read."""


class Start(NamedTuple):
    """State of the file when it is opened."""

    id: str
    last_seq: int
    """The last row number that was given out."""
    ran_us: int
    """How long daemons have run on this file, in microseconds."""
    waiting: Counter[str]
    """Number of events in the queue, by name; 0 if all of a name are in quarantine."""
    stats: Stats


def open_spool(directory: Path, max_bytes: int) -> AbstractContextManager[sqlite3.Connection]:
    """Open the file for a command that holds the directory's lock. Raises `StateError`, also while it is used."""
    path = directory / FILE
    return for_command(path, open_database(path, FORMAT, max_bytes))


def start_spool(directory: Path, max_bytes: int) -> tuple[sqlite3.Connection, Start]:
    """Open the file for a daemon; return its state, too. Raises `StateError`."""
    return open_and_read(directory / FILE, FORMAT, max_bytes, _start)


def _start(db: sqlite3.Connection) -> Start:
    # Reads every row, to find a broken file now.
    total, quarantined = db.execute("SELECT count(*), count(set_aside) FROM events NOT INDEXED").fetchone()
    db.execute(_COUNT_SALVAGED)
    try:
        db.execute(_INDEX)
    except sqlite3.OperationalError as error:
        if error_code(error) != sqlite3.SQLITE_FULL:
            raise
    spool_id, last_seq, ran_us = db.execute("SELECT id, last_seq, ran_us FROM state").fetchone()
    waiting = Counter(dict(db.execute("SELECT event, count(*) FROM events WHERE set_aside IS NULL GROUP BY event")))
    waiting.update(dict(db.execute("SELECT DISTINCT event, 0 FROM events WHERE set_aside IS NOT NULL")))
    now = stats(db)
    if (waiting.total(), now.quarantined) != (total - quarantined, quarantined):
        msg = "an index does not match its table"
        raise corrupt(msg)
    return Start(spool_id, last_seq, ran_us, waiting, now)


def _salvage(broken: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """Yield what can be read, page by page, and row by row where a page cannot be read; skip what cannot.

    A page is not one SELECT whose rows are fetched one by one: `sqlite3` reads one row ahead, and drops the row before
    an unreadable one.
    """
    seq, limit = 1, PAGE
    first, last = _answer(broken, _FIRST), _answer(broken, *_LAST)
    while seq <= last:
        try:
            records = read(broken, seq - 1, (), limit)
            select = "SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?"
            rows = broken.execute(select, (seq, len(records))).fetchall()
        except sqlite3.DatabaseError:
            seq, limit = (seq, 1) if limit > 1 else (max(seq + 1, first), 1)
            continue
        if not rows:
            break
        yield from rows
        seq, limit = max(seq, rows[-1][0]) + 1, PAGE


def _answer(broken: sqlite3.Connection, *queries: str) -> int:
    """Return the number that the first query finds that can read what it needs; 0 if it finds none, or none can."""
    for sql in queries:
        with suppress(sqlite3.DatabaseError):
            return broken.execute(sql).fetchone()[0] or 0
    return 0


FORMAT = Format(
    _SCHEMA,
    _VERSION,
    page_bytes=4096,
    synchronous="FULL",
    salvage=_salvage,
    check=check,
    insert=f"INSERT OR IGNORE INTO events VALUES ({','.join('?' * 11)})",  # noqa: S608 - constants
    migrations={1: _FROM_1},
)
