"""The index's file as a whole: its thread, whether it failed, what it forgot, and the age of its rows.

`dedup` asks it, `index` has the statements. A full file makes room by forgetting its oldest rows early; a failed one is
asked no more until the next start.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic, time_ns

from aurora_bridge.dedup import index
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings
from aurora_bridge.state.database import error_code, keep_room, reserve_bytes, suspect
from aurora_bridge.state.worker import Worker

log = logging.getLogger(__name__)

_DAY_US = 86_400_000_000
_CARE_SECONDS = 1.0
_MARK_TICKS = 60
_NEARLY_FULL = 0.95


class IndexFile:
    """The file, and the thread that has it."""

    def __init__(self, directory: Path, settings: IndexSettings, metrics: Metrics, *, first_knows: bool) -> None:
        """Open the index of a state directory; see `index.open_index`. Raises `StateError`."""
        self._settings = settings
        self._path = directory / index.FILE
        connection, self.state = index.open_index(directory, settings.max_bytes, time_us(), first_knows=first_knows)
        self.worker = Worker("index", lambda: connection)
        self.forgotten_us = self.state.forgotten_us
        """Wall clock up to which events may be forgotten."""
        self.failed = False
        """Whether it is asked no more."""
        self.lost = False
        """Whether the index misses an event that it should have: the next start reads it from Kafka again."""
        self._started = monotonic() - self.state.ran_us / 1e6
        self._bytes = 0
        self._full = False
        """Whether something found no room since the last look."""
        self._reserve = reserve_bytes(directory) / 2  # a spool that needs room stops first
        self._forgotten = metrics.index_forgotten
        metrics.index_bytes.source = lambda: self._bytes
        metrics.index_limit_bytes[()] = settings.max_bytes * _NEARLY_FULL
        metrics.index_failed.source = lambda: int(self.failed)

    async def stop(self, patience: float) -> bool:
        """Note the end and close the file; False if that took longer than `patience` seconds."""
        ran_us, forgotten_us = self._ran_us(), self.forgotten_us
        self.worker.post(lambda db: index.forget(db, forgotten_us), self.noted)
        self.worker.post(lambda db: index.close(db, ran_us), self.noted)
        return await self.worker.stop(patience)

    def noted(self, _result: object, error: Exception | None) -> None:
        """Take the answer of a job that nobody waits for."""
        if error is not None:
            self.failure(error)

    def failure(self, error: Exception) -> None:
        """Note that the index could not do something: it is full, or it has failed."""
        if error_code(error) == sqlite3.SQLITE_FULL:
            log.warning("the index is full; its oldest rows expire early")
            self.forgotten_us, self.lost, self._full = time_us(), True, True
            return
        suspect(self._path, error)
        if not self.failed:
            log.error("the index failed: %s; events pass unjudged until the daemon is started again", error)
        self.failed = True

    def _ran_us(self) -> int:
        """Return how long daemons have run on this file, in microseconds."""
        return int((monotonic() - self._started) * 1e6)

    async def care(self, last_seq: Callable[[], int]) -> None:
        """Let old rows expire, a slice a second, and the oldest early when the file is nearly full; until cancelled.

        `last_seq` gives the last number that was given out.
        """
        window_us, expired = self._settings.window_days * _DAY_US, 0
        for tick in count():
            if self.failed:
                return
            try:
                if tick % _MARK_TICKS == 0:
                    await self.worker.call(lambda db: index.mark(db, self._ran_us(), time_us(), last_seq()))
                limit, self._bytes = await self.worker.call(self._look)
                if self._full or self._bytes > limit * _NEARLY_FULL:
                    self._full = False
                    await self._make_room(last_seq)
                if tick % index.SLICES == 0:  # for a whole round: at its end, nothing so old is left
                    expired = await self.worker.call(lambda db: index.expired_seq(db, self._ran_us() - window_us))
                if expired:
                    await self._expire(tick % index.SLICES, expired)
            except sqlite3.Error as error:
                self.failure(error)
            await asyncio.sleep(_CARE_SECONDS)

    def _look(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Return how large the file may be now, and how much of it is in use."""
        return keep_room(db, self._path.parent, self._settings.max_bytes, self._reserve), index.used_bytes(db)

    async def _expire(self, number: int, seq: int) -> None:
        await self.worker.call(lambda db: index.expire(db, number, seq))
        if number == index.SLICES - 1:
            await self.worker.call(lambda db: index.forget_marks(db, seq))

    async def _make_room(self, last_seq: Callable[[], int]) -> None:
        """Forget the oldest tenth. Until the day of its youngest is over, this replica cannot know."""
        oldest = await self.worker.call(index.oldest_tenth)
        if oldest is None:
            await self.worker.call(lambda db: index.mark(db, self._ran_us(), time_us(), last_seq()))
            return
        seq, wall_us = oldest
        self.forgotten_us = max(self.forgotten_us, wall_us)
        await self.worker.call(lambda db: index.forget(db, wall_us))
        for number in range(index.SLICES):
            await self._expire(number, seq)
        self._forgotten[()] += 1


def time_us() -> int:
    """Return the wall clock in microseconds since the epoch."""
    return time_ns() // 1000
