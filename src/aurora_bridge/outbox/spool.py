"""The spool: events that are durable here and not yet in Kafka, in order. The embedded event log, without Kafka.

Appends of one turn of the loop form one job, and jobs form one commit with fsync (`worker`): only then are their
deliveries answered. The file is capped with `max_page_count`, so that it is full before its volume is: a full volume
could not even be emptied. An I/O error ends acceptance for good: after a failed fsync nobody knows what the disk
holds, so the daemon stops, and starts again from what was committed.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, time
from typing import NamedTuple

import orjson

from aurora_bridge.kafka.record import Record
from aurora_bridge.outbox import quarantine
from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.state.database import (
    Format,
    error_code,
    keep_room,
    open_and_read,
    open_database,
    reserve_bytes,
    suspect,
)
from aurora_bridge.state.worker import Worker

log = logging.getLogger(__name__)

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
    timestamp_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    stored_us INTEGER NOT NULL,
    ran_us INTEGER NOT NULL,
    set_aside TEXT
);
CREATE INDEX waiting ON events (event, seq) WHERE set_aside IS NULL;
CREATE TABLE clock (ran_us INTEGER NOT NULL);
INSERT INTO clock VALUES (0)
"""
COLUMNS = "seq, event, key, value, headers, partition_key, timestamp_ms, fingerprint, stored_us, ran_us, set_aside"
_VALUES = ",".join(f"value->>{n}" for n in range(COLUMNS.count(",") + 1))
_INSERT = f"INSERT INTO events ({COLUMNS}) SELECT {_VALUES} FROM json_each(?)"  # noqa: S608 - constants
_PAGE_BYTES = 4096
_WINDOW_BYTES = 4 * 2**20
_STATS_SECONDS = 1.0

Stored = Callable[[Sequence[Record], Reason | None, str | None], None]
Restored = Callable[[list[quarantine.Place], Reason | None], None]


class Stats(NamedTuple):
    """What the spool holds, as of the last look."""

    bytes: int = 0
    set_aside: int = 0
    oldest_us: int = 0
    """Wall clock when the oldest waiting event was stored, 0 without one."""


class _Start(NamedTuple):
    last_seq: int
    ran_us: int
    waiting: Counter[str]
    stats: Stats


class _Appended(NamedTuple):
    records: Sequence[Record]
    stored: Stored
    set_aside: str | None


class Spool:
    """The durable queue. All methods belong to the event loop."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Open the spool of a state directory. Raises `StateError`."""
        self._path = directory / FILE
        connection, start = open_and_read(self._path, _format(), max_bytes, _start)
        self._last_seq = start.last_seq
        self._started = monotonic() - start.ran_us / 1e6
        self.found = start.waiting
        """Events waiting at start, by event."""
        self.waiting = self.found.total()
        """Events in the queue now."""
        self.stats = start.stats
        self.limit_bytes = max_bytes
        self.failed = asyncio.Event()
        """Set once the disk cannot be trusted any more."""
        self.full = False
        """Whether the last append found no room, and there is not more since."""
        self._may_grow_to = max_bytes
        self._appended: list[_Appended] = []
        self._removed: list[int] = []
        self._unremoved: list[int] = []
        """Rows that are to be gone, but for which the volume has no room even to remove them."""
        self._reserve = reserve_bytes(directory)
        self._gone: dict[int, set[int]] = {}
        self._worker = Worker("spool", lambda: connection)

    def start(self) -> None:
        """Start the thread, on the running loop."""
        self._worker.start()

    async def stop(self, patience: float) -> bool:
        """Commit what is queued and close; False if that took longer than `patience` seconds."""
        self._flush()
        return await self._worker.stop(patience)

    def append(self, records: Sequence[Record], stored: Stored, *, set_aside: str | None = None) -> None:
        """Commit records behind all others, then call `stored` with them and the reason of a failure, if any.

        With `set_aside`, the reason Kafka gave, they are kept but never drained.
        """
        if self.failed.is_set():
            stored(records, Reason.SPOOL_FAILED, set_aside)
            return
        self._schedule()
        self._appended.append(_Appended(records, stored, set_aside))

    def remove(self, seq: int) -> None:
        """Take a row out: Kafka has it."""
        self.full = False
        self._schedule()
        self._removed.append(seq)
        self._note_gone(seq)
        self.waiting -= 1

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a row, but out of the queue: Kafka refuses it for itself."""
        self._flush()
        self._note_gone(seq)
        self.waiting -= 1
        self._worker.post(lambda db: db.execute("UPDATE events SET set_aside=? WHERE seq=?", (reason, seq)), self._done)

    def restore(self, seqs: Sequence[int], restored: Restored) -> None:
        """Put rows that were set aside back into the queue, at their place; call `restored` with those found."""

        def done(found: list[quarantine.Place] | None, error: Exception | None) -> None:
            failure = None if error is None else self._failure(error)
            self.waiting += len(found or ())
            restored(found or [], failure)

        self._worker.post(lambda db: quarantine.restore(db, seqs), done)

    async def discard(self, seqs: Sequence[int]) -> list[quarantine.Place]:
        """Delete rows that were set aside; return those it found. Raises `Refusal`."""
        try:
            found: list[quarantine.Place] = await self._worker.call(lambda db: quarantine.discard(db, seqs))
        except sqlite3.Error as error:
            raise Refusal(self._failure(error)) from error
        self.full = False
        return found

    async def head(self, event: str, limit: int) -> list[Record]:
        """Return the first records of an event's queue, at most `limit` of them and about 4 MiB."""
        while True:
            self._flush()
            gone: set[int] = set()
            self._gone[id(gone)] = gone
            try:
                rows = await self._worker.call(lambda db: _head(db, event, limit))
            finally:
                del self._gone[id(gone)]
            if not self._unremoved:
                return [record_of(row) for row in rows if row[0] not in gone]
            await asyncio.sleep(_STATS_SECONDS)  # they would be published again, and again

    def _note_gone(self, seq: int) -> None:
        """Tell those who are reading the head that a row of it is gone."""
        for gone in self._gone.values():
            gone.add(seq)

    def oldest_seconds(self, now: float) -> float:
        """Return the age of the oldest event in the queue at wall-clock time `now`, 0 without one."""
        return max(0.0, now - self.stats.oldest_us / 1e6) if self.waiting and self.stats.oldest_us else 0.0

    async def care(self, keep_seconds: float | None) -> None:
        """Take new `stats` every second and, with `keep_seconds`, let old events expire, until cancelled."""
        while not self.failed.is_set():
            try:
                self.stats, may_grow_to = await self._worker.call(self._look)
                # Nothing else would tell: to a daemon that is not ready comes no webhook that could find it out.
                self.full &= may_grow_to <= self._may_grow_to
                self._may_grow_to = may_grow_to
                self._remove_again()
                if keep_seconds is not None:
                    expired = await self.expire(keep_seconds)
                    self.waiting -= expired
                    self.full &= not expired
            except sqlite3.Error as error:
                self._failure(error)
            await asyncio.sleep(_STATS_SECONDS)

    def _look(self, db: sqlite3.Connection) -> tuple[Stats, int]:
        may_grow_to = keep_room(db, self._path.parent, self.limit_bytes, self._reserve)
        return _stats(db), may_grow_to

    async def newest_keys(self, limit: int) -> list[str]:
        """Return the ids of the last events that came here, at most `limit`."""
        sql = "SELECT key FROM events ORDER BY seq DESC LIMIT ?"
        rows = await self._worker.call(lambda db: db.execute(sql, (limit,)).fetchall())
        return [key for (key,) in rows]

    async def read(self, seq: int, limit: int) -> list[Record]:
        """Return up to `limit` records with a row after `seq`, those set aside among them."""
        records: list[Record] = await self._worker.call(lambda db: read_from(db, seq, (), limit))
        return records

    async def expire(self, keep_seconds: float) -> int:
        """Delete what has been here for longer than `keep_seconds`; return how many. For the embedded log only.

        Age counts the time that a daemon ran here, by the monotonic clock: a jump of the wall clock deletes nothing.
        """
        deleted: int = await self._worker.call(lambda db: _expire(db, self._ran_us(), int(keep_seconds * 1e6)))
        return deleted

    def _ran_us(self) -> int:
        """Return how long daemons have run on this file, in microseconds."""
        return int((monotonic() - self._started) * 1e6)

    # One job for all appends and removals of a turn of the loop.

    def _schedule(self) -> None:
        if not self._appended and not self._removed:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        removed, self._removed = self._removed, []
        if removed:
            seqs = orjson.dumps(removed).decode()
            self._worker.post(
                lambda db: db.execute("DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))", (seqs,)),
                lambda _, error: self._left(removed, error),
            )
        appended, self._appended = self._appended, []
        if appended:
            rows, seqs_of = self._rows(appended)
            self._worker.post(
                lambda db: db.execute(_INSERT, (rows,)), lambda _, error: self._stored(appended, seqs_of, error)
            )

    def _rows(self, appended: list[_Appended]) -> tuple[str, list[int]]:
        now, ran = int(time() * 1e6), self._ran_us()
        rows = []
        for records, _, set_aside in appended:
            for record in records:
                self._last_seq += 1
                rows.append(_row(self._last_seq, record, now, ran, set_aside))
        return orjson.dumps(rows).decode(), [row[0] for row in rows]

    def _stored(self, appended: list[_Appended], seqs: list[int], error: Exception | None) -> None:
        failure = None if error is None else self._failure(error)
        self.full = failure is Reason.SPOOL_FULL
        at = iter(seqs)
        for records, stored, set_aside in appended:
            if failure is None:
                self.waiting += len(records) if set_aside is None else 0
                for record in records:
                    record.seq = next(at)
            stored(records, failure, set_aside)

    def _left(self, removed: list[int], error: Exception | None) -> None:
        if error is not None and self._failure(error) is Reason.SPOOL_FULL:
            self._unremoved += removed

    def _remove_again(self) -> None:
        seqs, self._unremoved = self._unremoved, []
        for seq in seqs:
            self._note_gone(seq)
        if seqs:
            self._schedule()
            self._removed += seqs

    def _done(self, _result: object, error: Exception | None) -> None:
        if error is not None:
            self._failure(error)

    def _failure(self, error: Exception) -> Reason:
        if error_code(error) == sqlite3.SQLITE_FULL:
            return Reason.SPOOL_FULL
        suspect(self._path, error)
        if not self.failed.is_set():
            log.critical("the spool failed: %s; nothing is accepted any more, the daemon stops", error)
        self.failed.set()
        return Reason.SPOOL_FAILED


def open_spool(directory: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the file where no daemon lives, with the directory's lock held. Raises `StateError`."""
    return open_database(directory / FILE, _format(), max_bytes)


def _format() -> Format:
    return Format(_SCHEMA, _VERSION, _PAGE_BYTES, "FULL", salvage=_salvage)


Row = tuple[int, str, str, str, str, str, int, str, int, int, str | None]


def _row(seq: int, record: Record, now_us: int, ran_us: int, set_aside: str | None) -> Row:
    headers = orjson.dumps([(name, (value or b"").decode()) for name, value in record.headers]).decode()
    return (
        seq,
        record.event,
        record.key.decode(),
        record.value.decode(),
        headers,
        record.partition_key.decode(),
        record.timestamp_ms,
        record.fingerprint,
        now_us,
        ran_us,
        set_aside,
    )


def record_of(row: Row) -> Record:
    """Return the record of a row."""
    seq, event, key, value, headers, partition_key, timestamp_ms, fingerprint, *_ = row
    return Record(
        event,
        key.encode(),
        value.encode(),
        [(name, text.encode()) for name, text in orjson.loads(headers)],
        partition_key.encode(),
        timestamp_ms,
        fingerprint,
        seq=seq,
    )


def read_from(db: sqlite3.Connection, seq: int, events: Sequence[str], limit: int) -> list[Record]:
    """Return up to `limit` records with a row after `seq`, of `events` if any are named."""
    chosen = " AND event IN (SELECT value FROM json_each(?))" if events else ""
    values = (seq, *([orjson.dumps(events).decode()] if events else []), limit)
    rows = db.execute(f"SELECT {COLUMNS} FROM events WHERE seq > ?{chosen} ORDER BY seq LIMIT ?", values)  # noqa: S608 - constants
    return [record_of(row) for row in rows]


def _head(db: sqlite3.Connection, event: str, limit: int) -> list[Row]:
    rows: list[Row] = []
    size = 0
    sql = f"SELECT {COLUMNS} FROM events WHERE event=? AND set_aside IS NULL ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    for row in db.execute(sql, (event, limit)):
        rows.append(row)
        size += len(row[3])
        if size > _WINDOW_BYTES:
            break
    return rows


def _start(db: sqlite3.Connection) -> _Start:
    (last_seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    (ran_us,) = db.execute("SELECT ran_us FROM clock").fetchone()
    waiting = db.execute("SELECT event, count(*) FROM events WHERE set_aside IS NULL GROUP BY event")
    return _Start(last_seq, ran_us, Counter(dict(waiting)), _stats(db))


def _stats(db: sqlite3.Connection) -> Stats:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (set_aside,) = db.execute("SELECT count(*) FROM events WHERE set_aside IS NOT NULL").fetchone()
    oldest = db.execute("SELECT stored_us FROM events WHERE set_aside IS NULL ORDER BY seq LIMIT 1").fetchone()
    return Stats((pages - free) * _PAGE_BYTES, set_aside, oldest[0] if oldest else 0)


def _expire(db: sqlite3.Connection, ran_us: int, keep_us: int) -> int:
    db.execute("UPDATE clock SET ran_us=?", (ran_us,))
    return db.execute("DELETE FROM events WHERE ran_us < ?", (ran_us - keep_us,)).rowcount


def _salvage(broken: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy what can be read, row by row; from what cannot be read, go on behind it."""
    read = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq"  # noqa: S608 - constants
    insert = f"INSERT INTO events VALUES ({','.join('?' * 11)})"  # noqa: S608 - constants
    seq, (last,) = 0, broken.execute("SELECT max(seq) FROM events").fetchone()
    while seq < (last or 0):
        try:
            for row in broken.execute(read, (seq,)):
                db.execute(insert, row)
                seq = row[0]
        except sqlite3.DatabaseError:
            seq += 1
        else:
            break
