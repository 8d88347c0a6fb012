"""Brings the log, which is Kafka and the spool, into the index, and knows how much of it is known.

The spool is read here; Kafka is read by `kafka.follower`, which passes on its records. At a start, that is what a crash
took from the file, or everything if the file is new; afterwards, what other replicas publish. Until the end of the log
is reached, or if it moves on unseen, the index is not *complete*. Then a state that equals the latest one is not taken
for a duplicate, and gets an id of its own.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from math import inf
from time import monotonic, time
from typing import Any, Protocol

from aurora_bridge.dedup import index, log_record
from aurora_bridge.dedup.bloom_filter import BloomFilter
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord
from aurora_bridge.dedup.lookups import Lookups
from aurora_bridge.dedup.memory import Memory
from aurora_bridge.dedup.reading_progress import READ_TO_ITS_END, Reading
from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

_AT_ONCE = 300
"""Rows of the spool per read: about 4 MiB of large ones. A read measures them all before it returns 4 MiB."""
_DAY_MS = 86_400_000
_AGAIN_SECONDS = 1.0


class SpoolRecord(Protocol):
    """A record in the spool."""

    @property
    def seq(self) -> int | None: ...  # noqa: D102
    @property
    def value(self) -> bytes: ...  # noqa: D102
    @property
    def headers(self) -> Iterable[tuple[str, bytes | None]]: ...  # noqa: D102
    @property
    def stored_us(self) -> int: ...  # noqa: D102


class Spool(Protocol):
    """The part of the spool that is used here."""

    @property
    def id(self) -> str:
        """Id of its file. Row numbers are only valid for one file."""

    @property
    def committed_seq(self) -> int:
        """Number of the last durable row. Numbers are never reused."""

    async def read(self, after_seq: int, limit: int) -> Sequence[SpoolRecord]:
        """Return up to `limit` records after a row."""


class LogReader:
    """Reads the spool, takes what the follower reads from Kafka, and knows whether that is all there is."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        memory: Memory,
        file: IndexFile,
        bloom_filter: BloomFilter,
        lookups: Lookups[Any],
        spool: Spool | None,
        *,
        instance: str,
        kafka: bool,
    ) -> None:
        """Read for the replica `instance`; `lookups` wait meanwhile. `kafka`: whether a follower reads Kafka."""
        self._memory = memory
        self._file = file
        self._bloom_filter = bloom_filter
        self._lookups = lookups
        self._spool = spool
        self._instance = instance
        self._kafka = kafka
        self.current = Reading({})
        """Results for any other reading are ignored."""
        self._first: Reading | None = None
        self._known_until = inf
        """Monotonic time until which the log counts as known to its end without another poll."""
        self.others: dict[str, int] = {}
        """Time of the latest event (ms) by replica, for other replicas that publish to these topics."""
        self._opened = asyncio.Event()
        self._spool_read = asyncio.Event()
        lookups.hold()

    # Completeness.

    def complete(self, now_ms: int) -> bool:
        """Return whether every event of the UTC day of `now_ms` is known here."""
        return (
            self.current.caught_up
            and self._file.usable
            and self._file.forgotten_ms < now_ms - now_ms % _DAY_MS
            and (self._known_until == inf or monotonic() <= self._known_until)
        )

    def recent_others(self, within_ms: int = _DAY_MS) -> list[str]:
        """Return the other replicas that published lately: within the span of Aurora's retries, or that given."""
        since_ms = int(time() * 1000) - within_ms
        return [name for name, time_ms in self.others.items() if time_ms > since_ms]

    def missing_until(self, time_ms: int) -> None:
        """Note that events published up to a time may be missing from the log."""
        self._file.forget(time_ms)

    def opened(self, found: index.Found) -> None:
        """Start over with a file that was just opened."""
        self.current = Reading(found.positions)
        self._first = self._first or self.current
        self._spool_read.clear()
        self.others |= {name: time_ms for name, time_ms in found.instances.items() if name != self._instance}
        self._opened.set()

    def began(self, reading: Reading, name: str) -> None:
        """Note that the log called `name` is being read to its end: decisions wait for that."""
        reading.logs.add(name)
        if reading is self.current and not reading.caught_up:
            reading.progress.resume()
            self._lookups.hold()

    def failed(self, reading: Reading) -> None:
        """Note that the log cannot be read now."""
        if reading is self.current:
            self._lookups.release()

    def succeeded(self, reading: Reading, until: float = inf) -> None:
        """Note that the log was read to its end; without another poll, that holds until monotonic time `until`."""
        if reading is not self.current:
            return
        self._known_until = until
        if not reading.caught_up:
            reading.caught_up = True
            reading.progress.end()
            self._expect_retries()
            ends = dict.fromkeys(((name, "", READ_TO_ITS_END) for name in reading.logs), 0)
            self._file.post(partial(index.note, positions=ends, forgotten_ms=self._file.forgotten_ms))
            log.info("the index is complete", extra=fields(events=reading.progress.read))
        self._lookups.release()

    def doubted(self, reading: Reading, until: float) -> None:
        """Note that part of the log cannot be read, so the log counts as known until monotonic time `until` at most."""
        if reading is self.current:
            self._known_until = min(self._known_until, until)

    # Reading.

    async def run(self) -> None:
        """Read the spool each time the file is opened, until cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            reading = self.current
            self.began(reading, self._spool.id if self._spool is not None else "")
            while reading is self.current and not await self._read_spool(reading):  # noqa: ASYNC110 - a full file gives no signal
                await asyncio.sleep(_AGAIN_SECONDS)
            if reading is self.current:
                self._expect_retries()  # they may come before Kafka does
                self._spool_read.set()
                if not self._kafka:
                    self.succeeded(reading)

    async def _read_spool(self, reading: Reading) -> bool:
        """Read the part of the spool that is not known yet; return whether the file took it."""
        spool = self._spool
        if spool is None:
            return True
        place = (spool.id, "", 0)
        seq = reading.positions.get(place, 0)
        try:
            while rows := await spool.read(seq, _AT_ONCE):
                told = (log_record.read(row.value, row.headers, row.stored_us // 1000) for row in rows)
                if not await self.learn(reading, spool.id, [record for record in told if record is not None]):
                    return False
                seq = rows[-1].seq or seq
                reading.progress.note(len(rows), max(0, spool.committed_seq - seq))
                reading.positions[place] = seq
        except sqlite3.Error:
            return False  # a spool that fails ends the daemon by itself
        return True

    async def reading(self) -> Reading:
        """Wait until the file is open and the spool was read; return the current reading."""
        await self._spool_read.wait()
        return self.current

    def positions(self) -> dict[index.Place, int]:
        """Return the positions up to which the log is known now."""
        known = dict(self.current.positions)
        if self._spool is not None and self._spool_read.is_set():
            known[self._spool.id, "", 0] = self._spool.committed_seq
        return known

    async def learn(self, reading: Reading, name: str, records: Sequence[LogRecord]) -> bool:
        """Add the events of log records to memory and file; return False if the file failed or is full."""
        memory, bloom_filter, instance = self._memory, self._bloom_filter, self._instance
        rest: list[LogRecord] = []
        latest: dict[str, Latest] = {}
        for record in records:
            ours = record.instance == instance
            if not ours:
                self._note_other(record)
            family_key = record.family_key
            if family_key is not None and (family_key not in latest or record.time_ms >= latest[family_key].time_ms):
                latest[family_key] = Latest(family_key, record.fingerprint, record.time_ms, record.id_ms)
            if not memory.learn(record, Happening.LOGGED if ours else Happening.LOGGED_ELSEWHERE):
                rest.append(record)
        known = [record.fingerprint for record in rest if record.fingerprint in bloom_filter]
        bloom_filter.update([record.fingerprint for record in rest])  # before a delivery of it is decided
        if rest or latest:
            rows = list(latest.values())
            job = partial(index.learn, records=rest, known=known, latest=rows, instance=instance)
            try:
                new_records = await self._file.call(job)
            except (sqlite3.Error, OSError):
                return False
            if reading is self._first and name in reading.existing and not reading.caught_up:
                reading.note_last(new_records)
        return reading is self.current

    def _note_other(self, record: LogRecord) -> None:
        if record.instance not in self.others:
            log.info("another replica publishes to these topics", extra=fields(instance=record.instance))
        self.others[record.instance] = max(self.others.get(record.instance, 0), record.time_ms)

    def _expect_retries(self) -> None:
        """Note that answers to the last events of an earlier process may not have been sent."""
        last = self.current.take_last()
        for record in last:
            self._memory.apply_to(record, Happening.LOGGED_LAST)
        if last:
            events = [(record.fingerprint, record.time_ms, record.id_ms) for record in last]
            self._file.post(partial(index.change, events=events, state=State.SEEN, happening=Happening.LOGGED_LAST))
