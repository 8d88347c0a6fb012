"""Deliveries that wait for the index file, for a reading of the log, or for those before them.

They are decided in order of receipt; all that came in one turn of the loop ask the file together. Nobody waits longer
than a bounded time: a file that is late by then is asked no more until it answers.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.webhook.event import Event

T = TypeVar("T")


class Found(NamedTuple):
    """What the file says of a delivery's fingerprint and family."""

    row: index.Row | None
    latest: str | None
    """Fingerprint of the family's latest state."""


class _Waiting(Generic[T]):
    __slots__ = ("decided", "event", "found", "job", "now_ms", "since")

    def __init__(self, event: Event, now_ms: int, decided: "asyncio.Future[T]") -> None:
        self.event = event
        self.now_ms = now_ms
        self.decided = decided
        self.since = monotonic()
        self.found: Found | None = None
        self.job: float = inf
        """Number of the job that asks the file."""


class Lookups(Generic[T]):
    """The queue of those who wait, for a decision of kind `T`."""

    def __init__(
        self,
        file: IndexFile,
        patience: float,
        decide: Callable[[Event, int, Found | None], T | None],
        undo: Callable[[T], None],
        is_held: Callable[[], bool],
    ) -> None:
        """Wait for `file` for `patience` seconds at most.

        `decide` returns None where the file has to be asked first; `undo` takes back what nobody waits for any more.
        While `is_held`, nothing is decided.
        """
        self._file = file
        self._patience = patience
        self._decide = decide
        self._undo = undo
        self._is_held = is_held
        self._queue: deque[_Waiting[T]] = deque()
        self._asking = False
        self._loop = asyncio.get_running_loop()

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def oldest_job(self) -> float:
        """Number of the first job whose answer somebody waits for."""
        return self._queue[0].job if self._queue else inf

    async def wait(self, event: Event, now_ms: int) -> T:
        """Return the decision about a delivery, when its turn has come."""
        decided: asyncio.Future[T] = self._loop.create_future()
        self._queue.append(_Waiting(event, now_ms, decided))
        self._ask_soon()
        try:
            return await decided
        except asyncio.CancelledError:
            if decided.done() and not decided.cancelled():
                self._undo(decided.result())
            raise

    def advance(self) -> None:
        """Decide in order, as far as the file has answered or need not be asked."""
        queue = self._queue
        while queue and not self._is_held():
            waiting = queue[0]
            if not waiting.decided.done():
                decision = self._decide(waiting.event, waiting.now_ms, waiting.found)
                if decision is None:
                    self._ask_soon()
                    return
                waiting.decided.set_result(decision)
            queue.popleft()

    def _ask_soon(self) -> None:
        if not self._asking and not self._is_held():
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        asked = [waiting for waiting in self._queue if waiting.job == inf]
        if not asked or not self._file.usable:
            self._asking = False
            self.advance()
            return
        left = asked[0].since + self._patience - monotonic()  # less, if the log was waited for before
        late = self._loop.call_later(max(left, self._patience / 2), self._give_up)

        def answered(answer: index.Answer | None, _error: Exception | None) -> None:
            late.cancel()
            self._asking = False
            if answer is not None:
                for waiting in asked:
                    event = waiting.event
                    waiting.found = Found(answer.rows.get(event.fingerprint), answer.latest.get(event.family_key or ""))
            self.advance()

        names = [waiting.event.fingerprint for waiting in asked]
        families = [key for waiting in asked if (key := waiting.event.family_key) is not None]
        number = self._file.post(partial(index.find, fingerprints=names, families=families), answered)
        for waiting in asked:
            waiting.job = number

    def _give_up(self) -> None:
        self._file.note_late()
        self.advance()
