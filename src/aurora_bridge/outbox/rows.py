"""The events in the spool's file, one row each, in order of receipt, and the SQL for them.

The functions take a connection: the daemon's (`spool`), or a command's (`inspect`).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.state.database import corrupt, error_code

_COLUMNS = "seq, event, key, value, headers, partition_key, timestamp_ms, fingerprint, stored_us, ran_us, set_aside"
_VALUES = ",".join(f"value->>{n}" for n in range(_COLUMNS.count(",") + 1))
_INSERT = f"INSERT INTO events ({_COLUMNS}) SELECT {_VALUES} FROM json_each(?)"  # noqa: S608 - constants
_WHOLE = {"headers": "json(headers)", "value": "CASE WHEN json_valid(value) THEN value END"}
_ROW = f"json_array({','.join(_WHOLE.get(column, column) for column in _COLUMNS.split(', '))})"
"""A value is JSON in either form of an event: one that is not comes as null, and headers that are not fail."""
PAGE = 100
"""Rows that are read at once of a suspicious file."""
_WINDOW_BYTES = 4 * 2**20
_LAST = 2**63 - 1
"""The largest number of a row."""

Row = tuple[int, str, str, str, str, str, int, str, int, int, str | None]


class Stats(NamedTuple):
    """What the spool holds."""

    bytes: int = 0
    quarantined: int = 0
    oldest_us: int = 0
    """Wall-clock time at which the oldest waiting event was stored; 0 if none waits."""
    file_bytes: int = 0
    """Size of the file, including free pages."""


def row_of(seq: int, record: OutboxRecord, now_us: int, ran_us: int, quarantined: str | None) -> Row:
    """Return the row for a record that is stored at `now_us`."""
    headers = orjson.dumps([(name, (value or b"").decode()) for name, value in record.headers]).decode()
    return (
        seq,
        record.event,
        record.key.decode(),
        record.value.decode(),
        headers,
        record.partition_key.decode(),
        record.time_ms,
        record.fingerprint,
        now_us,
        ran_us,
        quarantined,
    )


def select(db: sqlite3.Connection, rows: str, values: Sequence[object]) -> list[OutboxRecord]:
    """Return the records of rows. In one step of SQLite, because each step releases the GIL (`state.worker`).

    SQLite does not notice damage inside a row's content. It makes the file as corrupt as any other. So Kafka gets no
    value that is not JSON.
    """
    try:
        (selected,) = db.execute(f"SELECT json_group_array({_ROW}) FROM ({rows})", values).fetchone()  # noqa: S608 - constants
        return [_record_of(row) for row in sorted(orjson.loads(selected))]  # by row number, the first column
    except (sqlite3.OperationalError, AttributeError, TypeError, ValueError) as error:
        if error_code(error) is not None and "JSON" not in str(error):
            raise
        msg = "the content of a row is damaged"
        raise corrupt(msg) from None  # without that content


def _select_window(db: sqlite3.Connection, rows: str, values: Sequence[object], limit: int) -> list[OutboxRecord]:
    """Return the first records of a SELECT whose last parameter is its limit: at most `limit`, and about 4 MiB."""
    largest = f"SELECT max(1, coalesce(max(length(value)), 1)) FROM ({rows})"  # noqa: S608 - constants
    (size,) = db.execute(largest, (*values, limit)).fetchone()
    return select(db, rows, (*values, min(limit, _WINDOW_BYTES // size + 1)))


def _record_of(row: list[Any]) -> OutboxRecord:
    seq, event, key, value, headers, partition_key, time_ms, fingerprint, stored_us, _, quarantined = row
    record = OutboxRecord(
        event,
        key.encode(),
        value.encode(),
        [(name, text.encode()) for name, text in headers],
        partition_key.encode(),
        time_ms,
        fingerprint,
    )
    record.seq, record.stored_us, record.quarantined = seq, stored_us, quarantined
    return record


def insert(db: sqlite3.Connection, rows: str, last_seq: int) -> None:
    """Store rows, given as a JSON array; `last_seq` is the number of the last."""
    db.execute(_INSERT, (rows,))
    db.execute("UPDATE state SET last_seq=?", (last_seq,))


def delete(db: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Delete rows."""
    db.execute("DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))", (orjson.dumps(seqs).decode(),))


def head(db: sqlite3.Connection, event: str, after: int, limit: int) -> list[OutboxRecord]:
    """Return the first records of an event's queue after row `after`, at most `limit` of them and about 4 MiB."""
    queue = "SELECT * FROM events WHERE event=? AND seq > ? AND set_aside IS NULL ORDER BY seq LIMIT ?"
    return _select_window(db, queue, (event, after), limit)


def read(
    db: sqlite3.Connection, after_seq: int, events: Sequence[str], limit: int, *, quarantined: bool = False
) -> list[OutboxRecord]:
    """Return the first records after row `after_seq`, at most `limit` and about 4 MiB, in order; none: there are none.

    Only those of `events`, if any are named; with `quarantined`, only those in quarantine.
    """
    chosen = " AND event IN (SELECT value FROM json_each(?))" if events else ""
    chosen += " AND set_aside IS NOT NULL" if quarantined else ""
    values = (after_seq + 1, *([orjson.dumps(events).decode()] if events else []))
    return _select_window(db, f"SELECT * FROM events WHERE seq >= ?{chosen} ORDER BY seq LIMIT ?", values, limit)  # noqa: S608


def check(db: sqlite3.Connection) -> None:
    """Read all records. Raises `sqlite3.DatabaseError` if one is damaged."""
    seq = 0
    while records := read(db, seq, (), PAGE):
        seq = records[-1].seq or 0


def of_fingerprint(db: sqlite3.Connection, fingerprint: str, rows: int) -> Iterator[OutboxRecord]:
    """Yield the records of a fingerprint, in order. Searches `rows` rows per transaction."""
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    found = "SELECT * FROM events WHERE seq > ? AND seq <= ? AND fingerprint=?"
    for seq in range(0, last, rows):
        yield from select(db, found, (seq, seq + rows, fingerprint))


def expire(db: sqlite3.Connection, ran_us: int, keep_us: int) -> int:
    """Note how long daemons have run, and delete events stored longer than `keep_us` ago; return how many."""
    db.execute("UPDATE state SET ran_us=?", (ran_us,))
    # Rows are in order of age: only the first one that is kept needs to be found.
    kept = "SELECT coalesce(min(seq), ?) FROM (SELECT seq FROM events WHERE ran_us >= ? ORDER BY seq LIMIT 1)"
    return db.execute(f"DELETE FROM events WHERE seq < ({kept})", (_LAST, ran_us - keep_us)).rowcount  # noqa: S608


def waiting(db: sqlite3.Connection) -> int:
    """Return how many events are in the queue."""
    (count,) = db.execute("SELECT count(*) FROM events WHERE set_aside IS NULL").fetchone()
    return int(count)


def stats(db: sqlite3.Connection) -> Stats:
    """Return what the file holds."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    (quarantined,) = db.execute("SELECT count(*) FROM events WHERE set_aside IS NOT NULL").fetchone()
    oldest = db.execute("SELECT stored_us FROM events WHERE set_aside IS NULL ORDER BY seq LIMIT 1").fetchone()
    return Stats((pages - free) * page_bytes, quarantined, oldest[0] if oldest else 0, pages * page_bytes)
