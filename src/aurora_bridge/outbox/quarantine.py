"""What was set aside: events in the spool that Kafka refuses for themselves, kept with the reason, in no queue.

An operator looks at them and mends the cause; then `restore` puts them back into the queue, or `discard` deletes them.
The functions work on a connection: that of the daemon (`spool`), or of a command where no daemon lives.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from aurora_bridge.webhook.event import structured

_PAGE = 500
"""Rows of one transaction: short enough not to hold up the daemon's checkpoints."""
_CHOSEN = "set_aside IS NOT NULL AND seq IN (SELECT value FROM json_each(?))"

Place = tuple[int, str]
"""Row and event."""


class SetAside(NamedTuple):
    """An event that was set aside, without its value."""

    seq: int
    event: str
    id: str
    reason: str
    """Kafka's error."""
    timestamp_ms: int
    """Receipt of its first attempt."""
    bytes: int
    """Size of its value."""


def listed(db: sqlite3.Connection) -> Iterator[SetAside]:
    """Yield what was set aside, in order of receipt."""
    sql = (
        "SELECT seq, event, key, set_aside, timestamp_ms, length(CAST(value AS BLOB)) FROM events "
        "WHERE set_aside IS NOT NULL AND seq > ? ORDER BY seq LIMIT ?"
    )
    seq = 0
    while rows := db.execute(sql, (seq, _PAGE)).fetchall():
        for row in rows:
            yield SetAside(*row)
        seq = rows[-1][0]


def events_of(db: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, str]:
    """Return the CloudEvents of rows that were set aside, as JSON."""
    sql = f"SELECT seq, value, headers FROM events WHERE {_CHOSEN} ORDER BY seq"  # noqa: S608 - constants
    return {
        seq: structured(value.encode(), [(name, text.encode()) for name, text in orjson.loads(headers)]).decode()
        for seq, value, headers in db.execute(sql, (_json(seqs),)).fetchall()
    }


def restore(db: sqlite3.Connection, seqs: Sequence[int]) -> list[Place]:
    """Put rows that were set aside back into the queue, at their place; return those that were found."""
    return db.execute(
        f"UPDATE events SET set_aside=NULL WHERE {_CHOSEN} RETURNING seq, event",  # noqa: S608 - constants
        (_json(seqs),),
    ).fetchall()


def discard(db: sqlite3.Connection, seqs: Sequence[int]) -> list[Place]:
    """Delete rows that were set aside; return those that were found."""
    return db.execute(f"DELETE FROM events WHERE {_CHOSEN} RETURNING seq, event", (_json(seqs),)).fetchall()  # noqa: S608 - constants


def _json(seqs: Sequence[int]) -> str:
    return orjson.dumps(seqs).decode()
