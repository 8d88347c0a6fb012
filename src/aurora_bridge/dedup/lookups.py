"""Deliveries that wait for the index file, for a reading of the log, or for those before them.

They are decided in order of receipt; all that came in one turn of the loop ask the file together. Nobody waits for
ever: a file that is late is asked no more until it answers, a reading that takes long holds nobody until the next.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Generic, NamedTuple, TypeVar

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.webhook.event import Event

T = TypeVar("T")


class Found(NamedTuple):
    """What the file says of a delivery's fingerprint and family."""

    row: index.Row | None
    latest: index.LatestRow | None


class _Waiting(Generic[T]):
    __slots__ = ("decided", "event", "found", "job", "now_ms")

    def __init__(self, event: Event, now_ms: int, decided: "asyncio.Future[T]") -> None:
        self.event = event
        self.now_ms = now_ms
        self.decided = decided
        self.found: Found | None = None
        self.job: float = inf
        """Number of the job that asks the file for it."""


class Lookups(Generic[T]):
    """The queue of those who wait for a decision of kind `T`."""

    def __init__(
        self,
        file: IndexFile,
        patience: float,
        decide: Callable[[Event, int, Found | None], T | None],
        undo: Callable[[T], None],
    ) -> None:
        """Wait for `file`, or for a reading of the log, for `patience` seconds.

        `decide` returns None where the file has to be asked first; `undo` takes back a decision that nobody waits for.
        """
        self._file = file
        self._patience = patience
        self._decide = decide
        self._undo = undo
        self._queue: deque[_Waiting[T]] = deque()
        self._asking = False
        self._held = False
        self._timer: asyncio.TimerHandle | None = None
        """Ends the waiting, for whatever it is."""
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        """Whether a delivery has to wait for its turn."""
        return bool(self._queue) or self._held

    @property
    def oldest_job(self) -> float:
        """Number of the first job whose answer somebody waits for."""
        return min((waiting.job for waiting in self._queue), default=inf)

    async def wait(self, event: Event, now_ms: int) -> T:
        """Return the decision about a delivery, when its turn has come."""
        decided: asyncio.Future[T] = self._loop.create_future()
        self._queue.append(_Waiting(event, now_ms, decided))
        self._go_on()
        try:
            return await decided
        except asyncio.CancelledError:
            if decided.done() and not decided.cancelled():
                self._undo(decided.result())
            raise

    def advance(self) -> None:
        """Decide in order, as far as the file has answered or need not be asked."""
        queue = self._queue
        while queue and not self._held:
            waiting = queue[0]
            decision = self._decide(waiting.event, waiting.now_ms, waiting.found)
            if decision is None:
                break
            queue.popleft()
            if waiting.decided.done():
                self._undo(decision)
            else:
                waiting.decided.set_result(decision)
        self._go_on()

    def _go_on(self) -> None:
        """See to it that those who wait do not wait for ever."""
        if not self._queue:
            self._stop_timer()
            return
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._give_up)
        if not self._held and not self._asking:
            self._asking = True
            self._loop.call_soon(self._ask)

    def _give_up(self) -> None:
        """Let nobody wait any longer for what is waited for now."""
        self._timer = None
        if self._held:
            self.release()
        else:
            self._file.note_late()
            self.advance()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # A reading of the log.

    def hold(self) -> None:
        """Let everybody wait for a reading of the log: what the file said before it is void."""
        self._held = True
        for waiting in self._queue:
            waiting.found, waiting.job = None, inf
        self._go_on()

    def release(self) -> None:
        """Let nobody wait for a reading: it ended, or one delivery has waited long enough."""
        if self._held:
            self._held = False
            self._stop_timer()
            self.advance()

    # The file.

    def _ask(self) -> None:
        self._asking = False
        asked = [waiting for waiting in self._queue if waiting.job == inf]
        if self._held or not asked or not self._file.usable:
            if not self._held and not self._file.usable:
                self.advance()
            return
        self._asking = True

        def answered(answer: index.Answer | None, _error: Exception | None) -> None:
            self._stop_timer()
            self._asking = False
            for waiting in asked:
                event = waiting.event
                if answer is None:
                    waiting.job = inf
                elif waiting.job == number:
                    waiting.found = Found(answer.rows.get(event.fingerprint), answer.latest.get(event.family_key or ""))
            self.advance()

        names = [waiting.event.fingerprint for waiting in asked]
        families = [key for waiting in asked if (key := waiting.event.family_key) is not None]
        number = self._file.post(partial(index.find, fingerprints=names, families=families), answered)
        for waiting in asked:
            waiting.job = number
