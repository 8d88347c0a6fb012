"""The events in the spool's file: a row for each, in order of receipt, and the statements over them.

They work on a connection: that of the daemon (`spool`), or of a command beside it (`inspect`).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from aurora_bridge.outbox.record import OutboxRecord

_COLUMNS = "seq, event, key, value, headers, partition_key, timestamp_ms, fingerprint, stored_us, ran_us, set_aside"
_VALUES = ",".join(f"value->>{n}" for n in range(_COLUMNS.count(",") + 1))
_INSERT = f"INSERT INTO events ({_COLUMNS}) SELECT {_VALUES} FROM json_each(?)"  # noqa: S608 - constants
_SELECT = f"SELECT {_COLUMNS} FROM events"  # noqa: S608 - constants
_WINDOW_BYTES = 4 * 2**20

Row = tuple[int, str, str, str, str, str, int, str, int, int, str | None]


class Stats(NamedTuple):
    """What the spool holds."""

    bytes: int = 0
    quarantined: int = 0
    oldest_us: int = 0
    """Wall clock when the oldest waiting event was stored, 0 without one."""


def row_of(seq: int, record: OutboxRecord, now_us: int, ran_us: int, quarantined: str | None) -> Row:
    """Return the row of a record that is stored now."""
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


def record_of(row: Row) -> OutboxRecord:
    """Return the record of a row."""
    seq, event, key, value, headers, partition_key, time_ms, fingerprint, stored_us, _, quarantined = row
    record = OutboxRecord(
        event,
        key.encode(),
        value.encode(),
        [(name, text.encode()) for name, text in orjson.loads(headers)],
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


def head(db: sqlite3.Connection, event: str, limit: int) -> list[Row]:
    """Return the first rows of an event's queue, at most `limit` of them and about 4 MiB."""
    rows: list[Row] = []
    size = 0
    for row in db.execute(f"{_SELECT} WHERE event=? AND set_aside IS NULL ORDER BY seq LIMIT ?", (event, limit)):
        rows.append(row)
        size += len(row[3])
        if size > _WINDOW_BYTES:
            break
    return rows


def read(
    db: sqlite3.Connection, after_seq: int, events: Sequence[str], limit: int, *, quarantined: bool = False
) -> list[OutboxRecord]:
    """Return up to `limit` records with a row after `after_seq`, of `events` if any are named, in order.

    With `quarantined`, only what is in quarantine.
    """
    chosen = " AND event IN (SELECT value FROM json_each(?))" if events else ""
    chosen += " AND set_aside IS NOT NULL" if quarantined else ""
    values = (after_seq, *([orjson.dumps(events).decode()] if events else []), limit)
    return [record_of(row) for row in db.execute(f"{_SELECT} WHERE seq > ?{chosen} ORDER BY seq LIMIT ?", values)]


def of_fingerprint(db: sqlite3.Connection, fingerprint: str, rows: int) -> Iterator[OutboxRecord]:
    """Yield the records of a fingerprint, in order; look through so many rows in one transaction."""
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    sql = f"{_SELECT} WHERE seq > ? AND seq <= ? AND fingerprint=? ORDER BY seq"
    for seq in range(0, last, rows):
        yield from map(record_of, db.execute(sql, (seq, seq + rows, fingerprint)).fetchall())


def expire(db: sqlite3.Connection, ran_us: int, keep_us: int) -> int:
    """Note how long daemons have run, delete what has been here for longer than `keep_us`; return how many."""
    db.execute("UPDATE state SET ran_us=?", (ran_us,))
    return db.execute("DELETE FROM events WHERE ran_us < ?", (ran_us - keep_us,)).rowcount


def stats(db: sqlite3.Connection) -> Stats:
    """Return what the file holds."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    (quarantined,) = db.execute("SELECT count(*) FROM events WHERE set_aside IS NOT NULL").fetchone()
    oldest = db.execute("SELECT stored_us FROM events WHERE set_aside IS NULL ORDER BY seq LIMIT 1").fetchone()
    return Stats((pages - free) * page_bytes, quarantined, oldest[0] if oldest else 0)
