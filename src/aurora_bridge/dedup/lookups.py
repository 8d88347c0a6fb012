"""Deliveries that wait for the index file, for the log to be read, or for earlier deliveries.

They are decided in order of receipt, and share one query of the file. A late file is not queried again until it
answers. Once a delivery has waited too long for the log to be read, no other waits for it.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.webhook.event import Event

T = TypeVar("T")


class _Waiting(NamedTuple, Generic[T]):
    event: Event
    now_ms: int
    decided: "asyncio.Future[T]"


class Lookups(Generic[T]):
    """The queue of deliveries that wait for a decision, a `T`."""

    def __init__(
        self,
        file: IndexFile,
        decide: Callable[[Event, int, index.Answer | None], T | None],
        undo: Callable[[T], None],
    ) -> None:
        """Wait for `file` as long as its patience lasts, and as long for the log to be read.

        `decide` returns None if the file must be queried first. `undo` reverts a decision that nobody waits for.
        """
        self._file = file
        self._decide = decide
        self._undo = undo
        self._queue: deque[_Waiting[T]] = deque()
        self._arrived = asyncio.Event()
        self._read = asyncio.Event()
        """Set while no delivery has to wait for the log to be read."""
        self._readings = 0
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        """Whether a delivery has to wait for its turn."""
        return bool(self._queue) or not self._read.is_set()

    def hold(self) -> None:
        """Make deliveries wait until the log was read: earlier answers of the file are void."""
        self._read.clear()
        self._readings += 1

    def release(self) -> None:
        """Stop waiting for the log: it was read, or a delivery has waited too long."""
        self._read.set()

    async def wait(self, event: Event, now_ms: int) -> T:
        """Wait for a delivery's turn; return the decision about it."""
        decided: asyncio.Future[T] = self._loop.create_future()
        self._queue.append(_Waiting(event, now_ms, decided))
        self._arrived.set()
        try:
            return await decided
        except asyncio.CancelledError:
            if decided.done() and not decided.cancelled():
                self._undo(decided.result())
            raise

    async def run(self) -> None:
        """Decide about waiting deliveries, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._wait_for_reading()
                asked, readings = tuple(self._queue), self._readings
                answer = await self.ask([waiting.event for waiting in asked])
                if readings == self._readings:
                    self._decide_all(asked, answer)

    async def _wait_for_reading(self) -> None:
        try:
            async with asyncio.timeout(self._file.patience):
                await self._read.wait()
        except TimeoutError:
            self.release()

    async def ask(self, events: Sequence[Event]) -> index.Answer | None:
        """Return what the file knows of events and their families, None if it does not answer in time."""
        if not self._file.usable:
            return None
        names = [event.fingerprint for event in events]
        families = [event.family_key for event in events if event.family_key is not None]
        try:
            async with asyncio.timeout(self._file.patience):
                answer: index.Answer = await self._file.call(partial(index.find, fingerprints=names, families=families))
        except (TimeoutError, sqlite3.Error, OSError):
            if self._file.usable:  # it took too long, or the error does not make it reopen
                self._file.note_late()
            return None
        return answer

    def _decide_all(self, asked: tuple[_Waiting[T], ...], answer: index.Answer | None) -> None:
        """Decide in order, up to the first delivery that needs an answer of the file and has none."""
        for waiting in asked:
            decision = self._decide(waiting.event, waiting.now_ms, answer)
            if decision is None:
                return
            self._queue.popleft()
            if waiting.decided.done():
                self._undo(decision)
            else:
                waiting.decided.set_result(decision)
