"""Time in the model: one clock for everything, and a loop that turns only when the model wants it.

A daemon's timers, deadlines and pauses are its own; what they wait for is this clock, which stands still until the
model moves it. So an hour takes no time, and every run of a history is the same.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import ceil, inf
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

SECOND: Final = 1_000_000
"""In microseconds, like every wall-clock time of the model."""


MOST_TURNS: Final = 10_000
"""Of the loop, before it has to wait for something."""


class Clock:
    """Wall clock and monotonic clock."""

    def __init__(self, us: int = 0) -> None:
        """Begin at `us` microseconds since the epoch."""
        self.us = us
        self._ran_us = 0

    def move(self, us: int) -> None:
        """Let time pass."""
        self.us += us
        self._ran_us += us

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self.us / SECOND

    def monotonic(self) -> float:
        """Return the seconds since the model began."""
        return self._ran_us / SECOND

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Be the clock of all modules of the daemon."""
        here: dict[object, object] = {
            time.time: self.time,
            time.monotonic: self.monotonic,
            time.time_ns: lambda: self.us * 1000,
            time: SimpleNamespace(time=self.time, monotonic=self.monotonic, clock_gettime=lambda _: self.monotonic()),
        }
        with ExitStack() as stack:
            for name, module in list(sys.modules.items()):
                if name.startswith("aurora_bridge"):
                    for attribute, value in list(vars(module).items()):
                        if type(value) in {type(time), type(time.time)} and value in here:
                            stack.enter_context(patch.object(module, attribute, here[value]))
            yield


class Loop(asyncio.SelectorEventLoop):
    """An event loop in the model's time."""

    _ready: Any
    _scheduled: Any
    _stopping: bool

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def time(self) -> float:
        """Return the model's time."""
        return self._clock.monotonic()

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self._turns += 1
        assert self._turns < MOST_TURNS, "the loop spins"
        self._stopping = not self._busy()

    def _busy(self) -> bool:
        return bool(self._ready) or self.next_timer() <= self.time()

    def next_timer(self) -> float:
        """Return when the next timer is due, infinity if none is set."""
        timers = self._scheduled
        return float(timers[0].when()) if timers else inf

    def turn(self) -> None:
        """Turn until nothing moves by itself any more."""
        self._turns = 0
        if self._busy():
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass up to the next timer, at most so long; what is due then runs."""
        until = min(self.time() + seconds, self.next_timer())
        self._clock.move(max(1, ceil((until - self.time()) * SECOND)))
        self.turn()
