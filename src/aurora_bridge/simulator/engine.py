"""Runs an `Aurora` against a clock and a sender: what is due is sent, what is not is waited for.

`advance` is the test clock: it goes from one due attempt to the next, and on only once all answers are there, so that
each retry comes at its time however far the clock is put forward.
"""

import asyncio
from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Delivery, Request
from aurora_bridge.simulator.sender import MOST_IN_FLIGHT, Send
from aurora_bridge.simulator.stories import Occurrence


class World(NamedTuple):
    """What a simulation begins with."""

    aurora: Aurora
    begin: float
    """Seconds since the epoch."""
    occurrences: Iterator[Occurrence] = iter(())
    resend_at: float = inf
    """When what was sent since `resend_since` is sent again."""
    resend_since: float = inf


class Engine:
    """Sends what is due, from `run()` until it is cancelled."""

    def __init__(self, make_world: Callable[[], World], clock: Clock, send: Send) -> None:
        self._make_world = make_world
        self.clock = clock
        self._send = send
        self._in_flight: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._advancing = asyncio.Lock()
        """Held while the clock is put forward: meanwhile `run` sends nothing of its own."""
        self.on_answer: Callable[[Delivery], None] = lambda _: None
        self.reset()

    def reset(self) -> None:
        """Start over. What is in flight is answered to the world that ends."""
        world = self._make_world()
        self.aurora = world.aurora
        self._occurrences = world.occurrences
        self._next_occurrence = next(self._occurrences, None)
        self._resend_at, self._resend_since = world.resend_at, world.resend_since
        self.clock.set(world.begin)
        self.wake()

    def wake(self) -> None:
        """Look again at what is due."""
        self._changed.set()

    def happen(self, occurrence: Occurrence) -> list[Delivery]:
        """Let something happen now, beside the stories; return its deliveries."""
        self.wake()
        return self.aurora.happen(occurrence)

    async def run(self) -> None:
        """Send what is due when it is, without an end."""
        while True:
            self._changed.clear()
            wait = None
            if not self._advancing.locked():
                self._take_due()
                wait = self._seconds_to_wait()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                """Something is due."""

    async def advance(self, seconds: float) -> None:
        """Put the clock forward; return once all that was due until then was sent and answered."""
        async with self._advancing:
            target = self.clock.now() + seconds
            while True:
                await self.settle()
                if (at := self._next_at()) > target:
                    break
                self.clock.set(max(at, self.clock.now()))
                self._take_due()
            self.clock.set(max(target, self.clock.now()))
        self.wake()

    async def settle(self) -> None:
        """Return once nothing is in flight."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def stop(self) -> None:
        """Give up what is in flight."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _seconds_to_wait(self) -> float | None:
        """Return the real seconds until something is due, None for as long as it takes until something changes."""
        at = self._next_at()
        return None if at == inf or len(self._in_flight) >= MOST_IN_FLIGHT else self.clock.seconds_until(at)

    def _next_at(self) -> float:
        due = self.aurora.next_due()
        occurrence = self._next_occurrence
        return min(occurrence.at if occurrence else inf, inf if due is None else due, self._resend_at)

    def _take_due(self) -> None:
        """Begin what is due, in its order: so what is late stays in the stories, where it takes no memory."""
        now = self.clock.now()
        while len(self._in_flight) < MOST_IN_FLIGHT and (at := self._next_at()) <= now:
            if at == self.aurora.next_due() and (asked := self.aurora.due(now)) is not None:
                task = asyncio.create_task(self._attempt(self.aurora, asked))
                self._in_flight.add(task)
                task.add_done_callback(self._landed)
            elif at == self._resend_at:
                self._resend_at = inf
                self.aurora.resend(self._resend_since, now)
            elif (occurrence := self._next_occurrence) is not None:
                self._next_occurrence = next(self._occurrences, None)
                self.aurora.happen(occurrence)

    async def _attempt(self, aurora: Aurora, asked: Request) -> None:
        answer = await self._send(asked)
        aurora.answered(asked, answer, self.clock.now())
        if aurora is self.aurora:
            self.on_answer(asked.delivery)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self.wake()
