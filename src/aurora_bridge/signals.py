"""What the daemon does on signals: SIGTERM and SIGINT stop it, SIGHUP never ends it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal


class Stop:
    """Whether the daemon is to stop, and why. To ask a second time cuts the pause short."""

    def __init__(self) -> None:
        self.reason = ""
        """Of the first who asked; empty before."""
        self._asked = asyncio.Event()
        self._asked_again = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Ask the daemon to stop."""
        if self._asked.is_set():
            self._asked_again.set()
        else:
            self.reason = reason
            self._asked.set()

    async def wait(self) -> Literal[True]:
        """Return once the daemon is to stop."""
        return await self._asked.wait()

    async def pause(self, seconds: float) -> None:
        """Return after some seconds, or once asked a second time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked_again.wait()


def stop_on_signals() -> Stop:
    """Return what SIGTERM and SIGINT ask to stop, in the running loop."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.ask, number.name)
    return stop


@contextmanager
def on_hangup(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` in the running loop on SIGHUP, which is ignored afterwards.

    Not by `add_signal_handler`: a loop that closes leaves the default behind, which ends the process.
    """
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(act))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
