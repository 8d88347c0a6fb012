"""The spool's file: its format, and what is saved of a broken one. `rows` has the statements over the events."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.outbox.rows import Stats, stats
from aurora_bridge.state.database import Format, open_and_read, open_database

FILE = "spool.db"
_VERSION = 1
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
CREATE TABLE clock (ran_us INTEGER NOT NULL);
INSERT INTO clock VALUES (0)
"""


class Start(NamedTuple):
    """What is known of a file when it is opened."""

    last_seq: int
    ran_us: int
    """How long daemons have run on this file."""
    waiting: Counter[str]
    """Events in the queue, by name."""
    stats: Stats


def open_spool(directory: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the file where no daemon lives, with the directory's lock held. Raises `StateError`."""
    return open_database(directory / FILE, FORMAT, max_bytes)


def start_spool(directory: Path, max_bytes: int) -> tuple[sqlite3.Connection, Start]:
    """Open the file for a daemon; return also what is known of it. Raises `StateError`."""
    return open_and_read(directory / FILE, FORMAT, max_bytes, _start)


def _start(db: sqlite3.Connection) -> Start:
    (last_seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    (ran_us,) = db.execute("SELECT ran_us FROM clock").fetchone()
    waiting = db.execute("SELECT event, count(*) FROM events WHERE set_aside IS NULL GROUP BY event")
    return Start(last_seq, ran_us, Counter(dict(waiting)), stats(db))


def _salvage(broken: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy what can be read, row by row; from what cannot be read, go on behind it."""
    insert = f"INSERT INTO events VALUES ({','.join('?' * 11)})"  # noqa: S608 - constants
    seq, (last,) = 0, broken.execute("SELECT max(seq) FROM events").fetchone()
    while seq < (last or 0):
        try:
            for row in broken.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq", (seq,)):
                db.execute(insert, row)
                seq = row[0]
        except sqlite3.DatabaseError:
            seq += 1
        else:
            break


FORMAT = Format(_SCHEMA, _VERSION, page_bytes=4096, synchronous="FULL", salvage=_salvage)
