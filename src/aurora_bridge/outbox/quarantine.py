"""The quarantine: events in the spool that Kafka rejected, kept out of the queues, with Kafka's error.

It is the column `set_aside` of the file. Once an operator has fixed the cause, `restore` puts events back into their
queues; `discard` deletes them. The functions take a connection: the daemon's (`spool`), or a command's if no daemon
runs.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from aurora_bridge.outbox.rows import read, select
from aurora_bridge.webhook.event import structured

_PAGE = 100
"""Rows per transaction: short enough not to delay the daemon's checkpoints."""
_CHOSEN = "set_aside IS NOT NULL AND seq IN (SELECT value FROM json_each(?))"

Place = tuple[int, str]
"""Number of a row, and name of its event."""


class Quarantined(NamedTuple):
    """An event in quarantine, without its value."""

    seq: int
    event: str
    id: str
    reason: str
    """Kafka's error name."""
    time_ms: int
    """The event's time: the receipt of its first attempt."""
    bytes: int
    """Size of its value."""


def listed(db: sqlite3.Connection) -> Iterator[Quarantined]:
    """Yield what is in quarantine, in order of receipt."""
    seq = 0
    while records := read(db, seq, (), _PAGE, quarantined=True):
        for record in records:
            seq = record.seq or 0
            yield Quarantined(seq, record.event, record.id, record.quarantined or "", record.time_ms, len(record.value))


def all_seqs(db: sqlite3.Connection) -> list[int]:
    """Return the numbers of all rows in quarantine, in order. Their contents may be damaged."""
    return [seq for (seq,) in db.execute("SELECT seq FROM events WHERE set_aside IS NOT NULL ORDER BY seq").fetchall()]


def events_of(db: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, str]:
    """Return the CloudEvents of quarantined rows, as JSON."""
    records = select(db, f"SELECT * FROM events WHERE {_CHOSEN}", (_json(seqs),))  # noqa: S608 - constants
    return {record.seq or 0: structured(record.value, record.headers).decode() for record in records}


def add(db: sqlite3.Connection, seq: int, reason: str) -> None:
    """Move a row into quarantine, with Kafka's error as `reason`."""
    db.execute("UPDATE events SET set_aside=? WHERE seq=?", (reason, seq))


def restore(db: sqlite3.Connection, seqs: Sequence[int]) -> list[Place]:
    """Put quarantined rows back at their place in the queue; return those that were found."""
    return db.execute(
        f"UPDATE events SET set_aside=NULL WHERE {_CHOSEN} RETURNING seq, event",  # noqa: S608 - constants
        (_json(seqs),),
    ).fetchall()


def discard(db: sqlite3.Connection, seqs: Sequence[int]) -> list[Place]:
    """Delete quarantined rows; return those that were found."""
    return db.execute(f"DELETE FROM events WHERE {_CHOSEN} RETURNING seq, event", (_json(seqs),)).fetchall()  # noqa: S608 - constants


def _json(seqs: Sequence[int]) -> str:
    return orjson.dumps(seqs).decode()
