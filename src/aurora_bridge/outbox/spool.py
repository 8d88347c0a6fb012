"""The spool: events that are durable here and not yet in Kafka, in order. Without Kafka, it is the event log.

All appends in one turn of the event loop are one job, and waiting jobs share one commit with fsync (`worker`).
Deliveries are answered after the commit. `removals` takes events out. The file (`spool_file`, `rows`) is capped with
`max_page_count`, so that it is full before its volume is: on a full volume, not even deleting works. An I/O error is
final: after a failed fsync nobody knows what the disk holds. So the daemon stops, and its next start continues from
what was committed.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import NamedTuple

import orjson

from aurora_bridge.outbox import quarantine, rows
from aurora_bridge.outbox.quarantine import Place
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.removals import Removals
from aurora_bridge.outbox.rows import Stats, row_of
from aurora_bridge.outbox.spool_file import FILE, start_spool
from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.state.database import error_code, keep_room, reserve_bytes, suspect
from aurora_bridge.state.worker import Worker

log = logging.getLogger(__name__)

_STATS_SECONDS = 1.0

Stored = Callable[[Sequence[OutboxRecord], Reason | None, str | None], None]
Restored = Callable[[list[Place], Reason | None], None]


class _Appended(NamedTuple):
    records: Sequence[OutboxRecord]
    stored: Stored
    quarantined: str | None


class Spool:
    """The durable queue. Not thread-safe: call it from the event loop only."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Open the spool of a state directory. Raises `StateError`."""
        self._path = directory / FILE
        connection, start = start_spool(directory, max_bytes)
        self.id = start.id
        """Id of the file. A recreated file has another id."""
        self.committed_seq = self._last_seq = start.last_seq
        """Number of the last durable row. It only grows: a file never reuses a number."""
        self._started = monotonic() - start.ran_us / 1e6
        self.found = start.waiting
        """Events waiting at start, by event; 0 if all of an event are in quarantine."""
        self.waiting = self.found.total()
        """Events in the queue now."""
        self.stats = start.stats
        """Statistics as of the last poll."""
        self.limit_bytes = max_bytes
        self.failed = asyncio.Event()
        """Set once the disk can no longer be trusted."""
        self.full = False
        """Whether the last append found no room, and no room was made since."""
        self._may_grow_to = max_bytes
        self._reserve = reserve_bytes(directory)
        self._appended: list[_Appended] = []
        self._worker = Worker("spool", lambda: connection)
        self._removals = Removals(self._worker, self._failure, self._removed)

    def start(self) -> None:
        """Start the thread, on the running loop."""
        self._worker.start()

    async def stop(self, patience: float) -> bool:
        """Commit what is queued, and close. Returns False if that took longer than `patience` seconds."""
        self._flush()
        self._removals.flush()
        self._removals.retry()
        return await self._worker.stop(patience)

    # Adding and removing.

    def append(self, records: Sequence[OutboxRecord], stored: Stored, *, quarantined: str | None = None) -> None:
        """Commit records after all others, then call `stored` with them and the reason of a failure, if any.

        With `quarantined`, Kafka's error, they go into quarantine.
        """
        if self.failed.is_set():
            stored(records, Reason.SPOOL_FAILED, quarantined)
            return
        if not self._appended:
            asyncio.get_running_loop().call_soon(self._flush)
        self._appended.append(_Appended(records, stored, quarantined))

    def remove(self, seq: int) -> None:
        """Remove a row that Kafka has."""
        self._removals.remove(seq)
        self.waiting -= 1

    def quarantine(self, seq: int, reason: str) -> None:
        """Move a row that Kafka rejected into quarantine."""
        self._flush()
        self._removals.quarantine(seq, reason)
        self.waiting -= 1

    def restore(self, seqs: Sequence[int], restored: Restored) -> None:
        """Put quarantined rows back at their place in the queue; call `restored` with those that were found."""

        def done(found: list[Place] | None, error: Exception | None) -> None:
            failure = None if error is None else self._failure(error)
            self.waiting += len(found or ())
            restored(found or [], failure)

        self._worker.post(lambda db: quarantine.restore(db, seqs), done)

    async def discard(self, seqs: Sequence[int]) -> list[Place]:
        """Delete quarantined rows; return those that were found. Raises `Refusal`."""
        try:
            found: list[Place] = await self._worker.call(lambda db: quarantine.discard(db, seqs))
        except sqlite3.Error as error:
            raise Refusal(self._failure(error)) from error
        self.full = False
        return found

    # Reading.

    async def head(self, event: str, limit: int, *, after: int = 0) -> list[OutboxRecord]:
        """Return the first records of an event's queue, after row `after`, at most `limit` of them and about 4 MiB."""
        self._flush()
        return await self._read(self._removals.head(event, after, limit))

    async def read(self, after_seq: int, limit: int) -> list[OutboxRecord]:
        """Return up to `limit` records after row `after_seq`, in order, including quarantined ones."""
        return await self._read(self._worker.call(lambda db: rows.read(db, after_seq, (), limit)))

    async def _read(self, reading: Awaitable[list[OutboxRecord]]) -> list[OutboxRecord]:
        try:
            return await reading
        except sqlite3.Error as error:
            self._failure(error)
            raise

    def oldest_seconds(self, now: float) -> float:
        """Return the age of the oldest event in the queue at wall-clock time `now`; 0 if it is empty."""
        return max(0.0, now - self.stats.oldest_us / 1e6) if self.waiting and self.stats.oldest_us else 0.0

    def room_bytes(self, free: float) -> float:
        """Return how much it can hold if its volume has `free` bytes free; NaN: unknown, so up to `limit_bytes`."""
        return min(self.limit_bytes, self.stats.file_bytes + max(free - self._reserve, 0.0))

    # Maintenance.

    async def maintain(self, keep_seconds: float | None) -> None:
        """Update `stats` every second and, with `keep_seconds`, expire old events, until cancelled."""
        while not self.failed.is_set():
            try:
                self.stats, may_grow_to = await self._worker.call(self._poll)
                # Only this notices room that others made: a daemon that is not ready gets no webhooks to append.
                self.full &= may_grow_to <= self._may_grow_to
                self._may_grow_to = may_grow_to
                self._removals.retry()
                if keep_seconds is not None:
                    expired = await self.expire(keep_seconds)
                    self.waiting -= expired
                    self.full &= not expired
            except sqlite3.Error as error:
                self._failure(error)
            await asyncio.sleep(_STATS_SECONDS)

    def _poll(self, db: sqlite3.Connection) -> tuple[Stats, int]:
        may_grow_to = keep_room(db, self._path.parent, self.limit_bytes, self._reserve)
        return rows.stats(db), may_grow_to

    async def expire(self, keep_seconds: float) -> int:
        """Delete events stored longer than `keep_seconds` ago; return how many. For the embedded log only.

        Only time in which a daemon ran counts, by the monotonic clock: a jump of the wall clock deletes nothing.
        """
        deleted: int = await self._worker.call(lambda db: rows.expire(db, self._ran_us(), int(keep_seconds * 1e6)))
        return deleted

    def _ran_us(self) -> int:
        """Return how long daemons have run on this file, in microseconds."""
        return int((monotonic() - self._started) * 1e6)

    def _removed(self) -> None:
        self.full = False

    # One job for all appends in a turn of the event loop.

    def _flush(self) -> None:
        if self.full:
            self._removals.flush()
        appended, self._appended = self._appended, []
        if appended:
            new, seqs = self._rows(appended)
            last_seq = self._last_seq
            self._worker.post(
                lambda db: rows.insert(db, new, last_seq), lambda _, error: self._stored(appended, seqs, error)
            )

    def _rows(self, appended: list[_Appended]) -> tuple[str, list[int]]:
        now, ran = int(time() * 1e6), self._ran_us()
        new = []
        for records, _, quarantined in appended:
            for record in records:
                self._last_seq += 1
                new.append(row_of(self._last_seq, record, now, ran, quarantined))
        return orjson.dumps(new).decode(), [row[0] for row in new]

    def _stored(self, appended: list[_Appended], seqs: list[int], error: Exception | None) -> None:
        failure = None if error is None else self._failure(error)
        self.full = failure is Reason.SPOOL_FULL
        if failure is None:
            self.committed_seq = seqs[-1]
        at = iter(seqs)
        for records, stored, quarantined in appended:
            if failure is None:
                self.waiting += len(records) if quarantined is None else 0
                for record in records:
                    record.seq = next(at)
            stored(records, failure, quarantined)

    def _failure(self, error: Exception) -> Reason:
        if error_code(error) == sqlite3.SQLITE_FULL:
            return Reason.SPOOL_FULL
        if not self.failed.is_set():
            log.critical("the spool failed: %s; accepting no more events, stopping the daemon", error)
        self.failed.set()
        with suppress(OSError):  # the disk may refuse this, too
            suspect(self._path, error)
        return Reason.SPOOL_FAILED
