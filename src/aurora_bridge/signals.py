"""Signal handling: SIGTERM and SIGINT stop the daemon; SIGHUP never ends it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal


class Stop:
    """A request to stop the daemon, and its reason. A second request cuts the pause short."""

    def __init__(self) -> None:
        self.reason = ""
        """Reason of the first request; empty before it."""
        self._asked = asyncio.Event()
        self._asked_again = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Request a stop."""
        if self._asked.is_set():
            self._asked_again.set()
        else:
            self.reason = reason
            self._asked.set()

    async def wait(self) -> Literal[True]:
        """Wait until a stop is requested."""
        return await self._asked.wait()

    async def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until a stop is requested a second time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked_again.wait()


def stop_on_signals() -> Stop:
    """Return a `Stop` that SIGTERM and SIGINT request, in the running event loop."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.ask, number.name)
    return stop


@contextmanager
def on_hangup(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` in the running event loop on SIGHUP, which is ignored after this context.

    Does not use `add_signal_handler`: a closing loop restores the default handler, which ends the process.
    """
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(act))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
