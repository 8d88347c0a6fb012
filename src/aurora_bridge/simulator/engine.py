"""Runs an `Aurora` with a clock and a sender: sends attempts when they are due.

`advance` sets the clock forward from one due attempt to the next, and waits for all answers in between: so each retry
is sent at its time, however far the clock advances.
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
    """The initial state of a simulation, and what will happen."""

    aurora: Aurora
    begin: float
    """Seconds since the epoch."""
    occurrences: Iterator[Occurrence] = iter(())
    resend_at: float = inf
    """When to re-send everything sent since `resend_since`."""
    resend_since: float = inf


class Engine:
    """Sends what is due, while `run` runs or `advance` is called."""

    def __init__(self, make_world: Callable[[], World], clock: Clock, send: Send) -> None:
        self._make_world = make_world
        self.clock = clock
        self._send = send
        self._in_flight: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._advancing = asyncio.Lock()
        """Held by `advance`, during which `run` sends nothing."""
        self.on_answer: Callable[[Delivery], None] = lambda _: None
        self.reset()

    def reset(self) -> None:
        """Start over with a new world. Answers in flight still go to the old one."""
        world = self._make_world()
        self.aurora = world.aurora
        self._occurrences = world.occurrences
        self._next_occurrence = next(self._occurrences, None)
        self._resend_at, self._resend_since = world.resend_at, world.resend_since
        self.clock.set(world.begin)
        self.wake()

    def wake(self) -> None:
        """Make `run` check again what is due."""
        self._changed.set()

    def happen(self, occurrence: Occurrence) -> list[Delivery]:
        """Make something happen in addition to the stories; return its deliveries."""
        self.wake()
        return self.aurora.happen(occurrence)

    async def run(self) -> None:
        """Send what is due, until cancelled."""
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
        """Advance the clock; return once everything due until then was sent and answered."""
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
        """Cancel what is in flight."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _seconds_to_wait(self) -> float | None:
        """Return the real seconds until something is due, None to wait for a change."""
        at = self._next_at()
        return None if at == inf or len(self._in_flight) >= MOST_IN_FLIGHT else self.clock.seconds_until(at)

    def _next_at(self) -> float:
        due = self.aurora.next_due()
        occurrence = self._next_occurrence
        return min(occurrence.at if occurrence else inf, inf if due is None else due, self._resend_at)

    def _take_due(self) -> None:
        """Start what is due, in order of time. What is late stays in the stories, where it takes no memory."""
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
