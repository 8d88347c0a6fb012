"""How far the log is known: Kafka and the spool, read into memory and file alike.

The spool is read here, Kafka by `kafka.follower`, which tells what it finds: at each start what a crash took from the
file, later what other replicas publish; everything, where the file is new. Until the end is reached, and whenever it
may not be any more, the index is not *complete*: then a state is never a duplicate for equalling the latest, and gets
an id of its own.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from time import monotonic, time
from typing import Protocol

from aurora_bridge.dedup import index, log_record
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import Happening
from aurora_bridge.dedup.log_record import LogRecord
from aurora_bridge.dedup.membership import Membership
from aurora_bridge.dedup.memory import Memory
from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

_AT_ONCE = 5000
"""Rows of the spool that are read together."""
_LAST_MS = 10_000
"""Before a crash: the answers to what was received in this time may not have left."""
_DAY_MS = 86_400_000
_PROGRESS_SECONDS = 5.0
_STUCK_SECONDS = 10.0
"""Nothing was read for so long: nobody knows how long the rest takes."""
_AGAIN_SECONDS = 1.0


class SpoolRecord(Protocol):
    """A record in the spool."""

    @property
    def seq(self) -> int | None:
        """Its row."""

    @property
    def value(self) -> bytes: ...  # noqa: D102
    @property
    def headers(self) -> Iterable[tuple[str, bytes | None]]: ...  # noqa: D102
    @property
    def stored_us(self) -> int:
        """Wall clock when it was stored."""


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


class Progress:
    """How far a reading of the log has come, for people."""

    def __init__(self) -> None:
        self.read = 0
        self.to_read = 0
        """Events that were still to be read when it was last looked, an estimate."""
        self._ended = False
        self._seconds = 0.0
        """Spent reading."""
        self._moved = self._told = monotonic()

    def seconds_left(self) -> float:
        """Return how long it will take at the speed so far, infinity where that is not known, or nothing moves."""
        if not self.read or monotonic() - self._moved > _STUCK_SECONDS:
            return inf
        return self.to_read * self._seconds / self.read

    def resume(self) -> None:
        """Note that reading begins, or goes on: waiting for Kafka tells nothing of the speed."""
        self._moved = monotonic()

    def note(self, read: int, to_read: int) -> None:
        """Note that so many more were read, and how many there are to read."""
        if self._ended:
            return
        now = monotonic()
        self._seconds += now - self._moved
        self._moved = now
        self.read += read
        self.to_read = to_read
        if self.read and to_read and now - self._told > _PROGRESS_SECONDS:
            self._told = now
            left = fields(read=self.read, to_read=to_read, seconds_left=round(self.seconds_left()))
            log.info("reading the log into the index; until it ends, duplicates of states may pass", extra=left)

    def end(self) -> None:
        """Note that the end is reached: what is read later is read as it comes."""
        self._ended = True
        self.to_read = 0


class LogReader:
    """Reads the spool, takes what the follower reads in Kafka, and knows whether that is all there is."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        memory: Memory,
        file: IndexFile,
        members: Membership,
        spool: Spool | None,
        *,
        instance: str,
        kafka: bool,
        patience: float,
        released: Callable[[], None],
    ) -> None:
        """Read for the replica called `instance`; `kafka` says whether a follower reads Kafka beside the spool.

        `released` is called when judging need not wait for a reading any more, at the latest when one delivery has
        waited for `patience` seconds.
        """
        self._memory = memory
        self._file = file
        self._members = members
        self._spool = spool
        self._instance = instance
        self._kafka = kafka
        self._patience = patience
        self._released = released
        self.generation = 0
        """Counts how often the file was opened: what is known of the log begins anew with each."""
        self.held = True
        """Whether judging waits for the reading that is under way."""
        self._hold: asyncio.TimerHandle | None = None
        self.caught_up = False
        """Whether the log was read to its end since the file was opened."""
        self.known_until = inf
        """Monotonic time up to which that holds without another look."""
        self.others: dict[str, int] = {}
        """Other replicas that publish to these topics, and the time of their latest event."""
        self.progress = Progress()
        self._positions: dict[index.Place, int] = {}
        self._opened = asyncio.Event()
        self._spool_read = asyncio.Event()
        self._existing: frozenset[str] = frozenset()
        """Logs of which an earlier process knew a part: what that lacks of ours was published just before it died."""
        self._last: deque[tuple[int, index.Event]] = deque()
        """Such events, by receipt of their attempt."""
        self._loop = asyncio.get_running_loop()

    # Whether all is known.

    def complete(self, now_ms: int) -> bool:
        """Tell whether nothing of the day of `now_ms`, in UTC, can be unknown here."""
        return (
            self.caught_up
            and self._file.usable
            and self._file.forgotten_ms < now_ms - now_ms % _DAY_MS
            and (self.known_until == inf or monotonic() <= self.known_until)
        )

    @property
    def recent_others(self) -> list[str]:
        """Other replicas that published within the span of Aurora's retries."""
        since_ms = int(time() * 1000) - _DAY_MS
        return [name for name, time_ms in self.others.items() if time_ms > since_ms]

    def wait(self) -> None:
        """Note that a delivery waits for the reading. Once one has waited long enough, none waits until it ends."""
        if self._hold is None:
            self._hold = self._loop.call_later(self._patience, self._release)

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self.held:
            self.held = False
            self._released()

    def began(self) -> None:
        """Note that the log is being read to its end: judging waits for that."""
        self.progress.resume()
        self.held = self.held or not self.caught_up

    def failed(self) -> None:
        """Note that the log cannot be read now."""
        self._release()

    def succeeded(self, until: float = inf) -> None:
        """Note that the log was read to its end; that holds until monotonic time `until` without another look."""
        self.known_until = until
        if not self.caught_up:
            self.caught_up = True
            self.progress.end()
            self._expect_retries()
            log.info("the index is complete", extra=fields(events=self.progress.read))
        self._release()

    # Reading.

    def opened(self, found: index.Found) -> None:
        """Begin anew with a file that was opened."""
        self.generation += 1
        self.caught_up = False
        self.progress = Progress()
        self.others = {name: at for name, at in found.instances.items() if name != self._instance} | self.others
        self._positions = dict(found.positions)
        if self.generation == 1:
            self._existing = frozenset(name for name, _, _ in found.positions)
        self._spool_read.clear()
        self._opened.set()

    async def run(self) -> None:
        """Read the spool each time that the file was opened, until cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            generation = self.generation
            self.began()
            while generation == self.generation and not await self._read_spool():  # noqa: ASYNC110 - what it waits for
                await asyncio.sleep(_AGAIN_SECONDS)
            if generation == self.generation:
                self._spool_read.set()
                if not self._kafka:
                    self.succeeded()

    async def _read_spool(self) -> bool:
        """Read what is in the spool and not known yet; return whether the file took it."""
        spool = self._spool
        if spool is None:
            return True
        seq = self._positions.get((spool.id, "", 0), 0)
        while rows := await self._rows(spool, seq):
            told = (log_record.read(row.value, row.headers, row.stored_us // 1000) for row in rows)
            if not await self.learn(spool.id, [record for record in told if record is not None]):
                return False
            seq = rows[-1].seq or seq
            self.progress.note(len(rows), max(0, spool.committed_seq - seq))
            self.advance({(spool.id, "", 0): seq})
        return True

    async def _rows(self, spool: Spool, seq: int) -> Sequence[SpoolRecord]:
        try:
            return await spool.read(seq, _AT_ONCE)
        except sqlite3.Error:
            return ()  # a spool that fails ends the daemon by itself

    async def spool_read(self) -> None:
        """Wait until the file is open and what the spool holds is known."""
        await self._spool_read.wait()

    def offset(self, cluster: str, topic: str, partition: int) -> int | None:
        """Return up to which offset a partition is known, None if nothing is."""
        return self._positions.get((cluster, topic, partition))

    def advance(self, positions: Mapping[index.Place, int]) -> None:
        """Note up to where the log is known."""
        self._positions.update(positions)

    def positions(self) -> dict[index.Place, int]:
        """Return up to where the log is known now."""
        known = dict(self._positions)
        if self._spool is not None and self._spool_read.is_set():
            known[self._spool.id, "", 0] = self._spool.committed_seq
        return known

    async def learn(self, name: str, records: Sequence[LogRecord]) -> bool:
        """Take over what records of a log tell; return whether the file did: a full one only when it has made room."""
        generation = self.generation
        memory, members, instance = self._memory, self._members, self._instance
        rest: list[LogRecord] = []
        latest: dict[str, index.StateRow] = {}
        for record in records:
            ours = record.instance == instance
            if not ours:
                self._note_other(record)
            family_key = record.family_key
            if family_key is not None and record.time_ms >= latest.get(family_key, (0, 0, 0))[2]:
                latest[family_key] = (family_key, record.fingerprint, record.time_ms)
            if not memory.learn(record, Happening.LOGGED if ours else Happening.LOGGED_ELSEWHERE):
                rest.append(record)
        known = [record.fingerprint for record in rest if record.fingerprint in members]
        members.update([record.fingerprint for record in rest])  # before a delivery of it is judged
        if rest or latest:
            rows = list(latest.values())
            try:
                job = partial(index.learn, records=rest, known=known, latest=rows, instance=instance)
                news = await self._file.call(job)
            except (sqlite3.Error, OSError):
                return False
            if name in self._existing and generation == 1 and not self.caught_up:
                self._note_last(news)
        return generation == self.generation

    def _note_other(self, record: LogRecord) -> None:
        if record.instance not in self.others:
            log.info("another instance publishes to these topics", extra=fields(instance=record.instance))
        self.others[record.instance] = max(self.others.get(record.instance, 0), record.time_ms)

    def missing_until(self, time_ms: int) -> None:
        """Note that the log does not hold everything any more that was published up to a time."""
        self._file.forget(time_ms)

    # What an earlier process published just before it died.

    def _note_last(self, news: Iterable[LogRecord]) -> None:
        last = self._last
        last += [(record.attempt_ms, (record.fingerprint, record.time_ms, record.id_ms)) for record in news]
        newest = max((attempt_ms for attempt_ms, _ in last), default=0)
        self._last = deque(one for one in last if one[0] >= newest - _LAST_MS)

    def _expect_retries(self) -> None:
        """Note that the answers to the last events may not have left."""
        events = [event for _, event in self._last]
        self._last.clear()
        for fingerprint, time_ms, id_ms in events:
            entry = self._memory.entries.items.get(fingerprint)
            if entry is not None and (entry.time_ms, entry.id_ms) == (time_ms, id_ms):
                self._memory.apply(entry, Happening.LOGGED_LAST)
        if events:
            self._file.post(lambda db: index.expect_retries(db, events), lambda _result, _error: None)
