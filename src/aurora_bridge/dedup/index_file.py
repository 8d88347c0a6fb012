"""The index file and its thread: opens it, runs jobs on it, reopens it after a failure, and limits its size.

The index is a cache, and never stops the daemon. While the file is late or has failed, nobody waits for it. If it is
damaged or was removed, it is rebuilt from the log; if it cannot be read or written, opening it is retried each second.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aurora_bridge.dedup import index, outstanding, segments
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings
from aurora_bridge.state.database import error_code, is_broken, keep_room, reserve_bytes, used_bytes
from aurora_bridge.state.worker import Done, Job, Worker, result_of

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_STEP_SECONDS = 1.0
_NEARLY_FULL = 0.95
_AGREE_SECONDS = 10.0
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that no one can set. On Linux, it includes the time that the machine was suspended."""


class IndexFile:
    """The index file. Not thread-safe: call it from the event loop only."""

    def __init__(
        self,
        directory: Path,
        settings: IndexSettings,
        patience: float,
        metrics: Metrics,
        opened: Callable[[index.Found], None],
    ) -> None:
        """Keep the index of a state directory. If an answer takes more than `patience` seconds, the file is late.

        `opened` is called with the content each time the file was opened, before any other job.
        """
        self._path = directory / index.FILE
        self._max_bytes = settings.max_bytes
        self._window_ms = settings.window_days * _DAY_MS
        self.patience = patience
        """How long anybody waits for an answer, in seconds."""
        self._on_opened = opened
        self._worker = Worker("index", self._connect)
        self.failed = False
        """Whether opening, reading or writing it failed, and it has not been reopened since."""
        self.late = False
        """Whether it does not answer in time."""
        self.full = False
        """Whether a write found no room since room was last made."""
        self.forgotten_ms = 0
        """Time of the youngest event that may be missing, in ms."""
        self._posted: deque[float] = deque()
        """Monotonic times at which the unanswered jobs were posted, in order."""
        self._opening = False
        self._must_recreate = False
        self._logged_error = ""
        """The last error in opening it that was logged."""
        self._inode = 0
        self.used_bytes = 0
        """How much of the file is in use, as of the last maintenance."""
        self._reserve = reserve_bytes(directory) / 2  # half of the spool's reserve: the spool stops growing first
        self._forgotten = metrics.index_forgotten
        metrics.index_bytes.source = lambda: self.used_bytes
        metrics.index_limit_bytes[()] = settings.max_bytes * _NEARLY_FULL
        metrics.index_failed.source = lambda: int(not self.usable)

    @property
    def usable(self) -> bool:
        """Whether it is expected to answer in time."""
        return not (self.failed or self.late)

    def start(self) -> None:
        """Start the thread, on the running loop, and open the file there."""
        self._worker.start()
        self.post(index.found, self._opened)

    async def stop(self, patience: float) -> bool:
        """Run the queued jobs, and close the file. Returns False if that took longer than `patience` seconds."""
        return await self._worker.stop(patience)

    def post(self, job: Job, done: Done = lambda _result, _error: None) -> None:
        """Queue a job; `done` is called on the loop with its result or error. Jobs run and are answered in order."""
        self._posted.append(time.monotonic())

        def answered(result: Any, error: Exception | None) -> None:  # noqa: ANN401 - whatever the job returns
            self._posted.popleft()
            self.late = self._is_overdue()
            if error is not None:
                self._failure(error)
            done(result, error)

        self._worker.post(job, answered)

    async def call(self, job: Job) -> Any:  # noqa: ANN401 - whatever the job returns
        """Run a job and return its result. Raises what the job or its commit raised."""
        return await result_of(self.post, job)

    def note_late(self) -> None:
        """Note that an answer took too long."""
        if not self.late:
            log.warning("The index does not answer; events are published without a look-up until it does.")
        self.late = True

    async def recreate(self) -> None:
        """Remove the file and open a new one, after the queued jobs. Raises what opening it raises."""
        self.failed = self._must_recreate = True
        self._reopen()
        await self.call(lambda _db: None)

    def give_up(self) -> None:
        """Reopen it once it answers, because memory has dropped what it could not write."""
        if not self.failed:
            log.error(
                "The index has stopped accepting writes and was given up. "
                "Once it can be opened again, it catches up from the log."
            )
        self.failed = True

    # Failure.

    def _failure(self, error: Exception) -> None:
        if error_code(error) == sqlite3.SQLITE_FULL:
            if not self.full:
                log.warning("The index is full; its oldest events are forgotten early.")
            self.full = True
            return
        self._must_recreate |= is_broken(error)
        if not self.failed:
            log.error("The index failed (%r); events are published without a look-up until it is open again.", error)
            self.failed = True
            if self._must_recreate:
                self._reopen()

    def _reopen(self) -> None:
        self._opening = True
        self._worker.reopen(self._connect)
        self.post(index.found, self._opened)

    def _connect(self) -> sqlite3.Connection:
        """Open the file, on its thread."""
        if self._must_recreate:
            index.remove(self._path)
            self._must_recreate = False
        connection = index.open_index(self._path, self._max_bytes)
        self._inode = self._path.stat().st_ino
        return connection

    def _opened(self, found: index.Found | None, error: Exception | None) -> None:
        self._opening = False
        if error is not None or found is None:
            if repr(error) != self._logged_error:
                log.error("%s cannot be opened (%r); retrying each second.", self._path, error)
            self.failed, self._logged_error = True, repr(error)
            return
        self._logged_error = ""
        self.failed = self.full = False
        self.forgotten_ms, self.used_bytes = found.forgotten_ms, found.bytes
        self._on_opened(found)

    def _is_overdue(self) -> bool:
        return bool(self._posted) and time.monotonic() - self._posted[0] > self.patience

    # Maintenance.

    async def maintain(self) -> None:
        """Each second, until cancelled: reopen it if it failed, drop old events, and the oldest ones if it is full.

        Events do not expire while the wall clock disagrees with the steady one: somebody set it.
        """
        ahead = time.time() - time.clock_gettime(_STEADY)
        step: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            if self._is_overdue():
                self.note_late()
            elif step is None or step.done():
                agree = abs(time.time() - time.clock_gettime(_STEADY) - ahead) < _AGREE_SECONDS
                step = asyncio.create_task(self._step(expire=agree))

    async def _step(self, *, expire: bool) -> None:
        try:
            if self.failed:
                if not self._opening:
                    self._reopen()
            elif await self._keep_bounds(expire=expire):
                log.error("%s was removed or replaced; rebuilding it from the log.", self._path)
                self.failed = self._must_recreate = True
                self._reopen()
        except (sqlite3.Error, OSError):
            """`post` has noted the failure; a later step does the rest."""

    async def _keep_bounds(self, *, expire: bool) -> bool:
        """Expire and forget events; return whether the file was removed or replaced."""
        now_ms = int(time.time() * 1000)

        def keep(db: sqlite3.Connection) -> tuple[bool, int, int]:
            gone = not self._path.exists() or self._path.stat().st_ino != self._inode
            index.note(db, {}, self.forgotten_ms)
            if expire and segments.expire(db, now_ms - self._window_ms):
                outstanding.forget(db, now_ms - self._window_ms)
            limit = keep_room(db, self._path.parent, self._max_bytes, self._reserve)
            return gone, limit, used_bytes(db)

        gone, limit, self.used_bytes = await self.call(keep)
        if not gone and (self.full or self.used_bytes > limit * _NEARLY_FULL):
            if newest_ms := await self.call(_forget_oldest):
                self.forget(newest_ms)
                self.full = False
                self._forgotten[()] += 1
        elif not gone:
            await self.call(partial(segments.begin_when_due, now_ms=now_ms, max_bytes=self._max_bytes))
        return bool(gone)

    def forget(self, time_ms: int) -> None:
        """Note that events up to a time (ms) may be missing."""
        self.forgotten_ms = max(time_ms, self.forgotten_ms)


def _forget_oldest(db: sqlite3.Connection) -> int:
    newest_ms = segments.forget_oldest(db)
    index.note(db, {}, newest_ms)
    outstanding.forget(db, newest_ms + 1)
    return newest_ms
