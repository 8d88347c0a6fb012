"""How far the log is known: Kafka and the spool, read into memory and file alike.

The spool is read here, Kafka by `kafka.follower`, which tells what it finds: at each start what a crash took from the
file, later what other replicas publish; everything, where the file is new. Until the end is reached, and whenever it
may not be any more, the index is not *complete*: then a state is never a duplicate for equalling the latest, and gets
an id of its own.
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
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord
from aurora_bridge.dedup.lookups import Lookups
from aurora_bridge.dedup.membership import Membership
from aurora_bridge.dedup.memory import Memory
from aurora_bridge.dedup.reading import READ_TO_ITS_END, Reading
from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

_AT_ONCE = 5000
"""Rows of the spool that are read together."""
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
    """What is asked of the spool."""

    @property
    def id(self) -> str:
        """Of its file: another one has rows of its own."""

    @property
    def committed_seq(self) -> int:
        """The last row that is durable; rows are never numbered twice."""

    async def read(self, after_seq: int, limit: int) -> Sequence[SpoolRecord]:
        """Return up to `limit` records behind a row."""


class LogReader:
    """Reads the spool, takes what the follower reads in Kafka, and knows whether that is all there is."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        memory: Memory,
        file: IndexFile,
        members: Membership,
        lookups: Lookups[Any],
        spool: Spool | None,
        *,
        instance: str,
        kafka: bool,
    ) -> None:
        """Read for the replica called `instance`; `kafka` says that a follower reads Kafka. `lookups` waits for it."""
        self._memory = memory
        self._file = file
        self._members = members
        self._lookups = lookups
        self._spool = spool
        self._instance = instance
        self._kafka = kafka
        self.current = Reading({})
        """What is told for any other is of no effect."""
        self._first: Reading | None = None
        self._known_until = inf
        """Monotonic time up to which the log is known to its end without another look."""
        self.others: dict[str, int] = {}
        """Other replicas that publish to these topics, and the time of their latest event."""
        self._opened = asyncio.Event()
        self._spool_read = asyncio.Event()
        lookups.hold()

    # Whether all is known.

    def complete(self, now_ms: int) -> bool:
        """Tell whether nothing of the day of `now_ms`, in UTC, can be unknown here."""
        return (
            self.current.caught_up
            and self._file.usable
            and self._file.forgotten_ms < now_ms - now_ms % _DAY_MS
            and (self._known_until == inf or monotonic() <= self._known_until)
        )

    @property
    def recent_others(self) -> list[str]:
        """Other replicas that published within the span of Aurora's retries."""
        since_ms = int(time() * 1000) - _DAY_MS
        return [name for name, time_ms in self.others.items() if time_ms > since_ms]

    def missing_until(self, time_ms: int) -> None:
        """Note that what was published up to a time may be missing in the log."""
        self._file.forget(time_ms)

    def opened(self, found: index.Found) -> None:
        """Start over with a file that was opened."""
        self.current = Reading(found.positions)
        self._first = self._first or self.current
        self._spool_read.clear()
        self.others |= {name: time_ms for name, time_ms in found.instances.items() if name != self._instance}
        self._opened.set()

    def began(self, reading: Reading, name: str) -> None:
        """Note that the log called `name` is being read to its end: judging waits for that."""
        reading.logs.add(name)
        if reading is self.current and not reading.caught_up:
            reading.progress.resume()
            self._lookups.hold()

    def failed(self, reading: Reading) -> None:
        """Note that the log cannot be read now."""
        if reading is self.current:
            self._lookups.release()

    def succeeded(self, reading: Reading, until: float = inf) -> None:
        """Note that the log was read to its end; that holds until monotonic time `until` without another look."""
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
        """Note that a part of the log cannot be read, and the rest is known until monotonic time `until` at most."""
        if reading is self.current:
            self._known_until = min(self._known_until, until)

    # Reading.

    async def run(self) -> None:
        """Read the spool each time that the file was opened, until cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            reading = self.current
            self.began(reading, self._spool.id if self._spool is not None else "")
            while reading is self.current and not await self._read_spool(reading):  # noqa: ASYNC110 - a file that is full
                await asyncio.sleep(_AGAIN_SECONDS)
            if reading is self.current:
                self._spool_read.set()
                if not self._kafka:
                    self.succeeded(reading)

    async def _read_spool(self, reading: Reading) -> bool:
        """Read what is in the spool and not known yet; return whether the file took it."""
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
        """Return the current reading, once the file is open and what the spool holds is known."""
        await self._spool_read.wait()
        return self.current

    def positions(self) -> dict[index.Place, int]:
        """Return up to where the log is known now."""
        known = dict(self.current.positions)
        if self._spool is not None and self._spool_read.is_set():
            known[self._spool.id, "", 0] = self._spool.committed_seq
        return known

    async def learn(self, reading: Reading, name: str, records: Sequence[LogRecord]) -> bool:
        """Take over what records of a log tell; return whether the file did: a full one only when it has made room."""
        memory, members, instance = self._memory, self._members, self._instance
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
        known = [record.fingerprint for record in rest if record.fingerprint in members]
        members.update([record.fingerprint for record in rest])  # before a delivery of it is decided
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
            log.info("another instance publishes to these topics", extra=fields(instance=record.instance))
        self.others[record.instance] = max(self.others.get(record.instance, 0), record.time_ms)

    def _expect_retries(self) -> None:
        """Note that the answers to the last events of an earlier process may not have left."""
        last = self.current.last
        for record in last:
            self._memory.apply_to(record, Happening.LOGGED_LAST)
        if last:
            events = [(record.fingerprint, record.time_ms, record.id_ms) for record in last]
            self._file.post(partial(index.change, events=events, state=State.SEEN, happening=Happening.LOGGED_LAST))
