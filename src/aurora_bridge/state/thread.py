"""Blocking work on a daemon thread, so that a disk that hangs blocks neither the event loop nor the exit."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial


def on_thread(name: str, work: Callable[[], None]) -> "asyncio.Future[None]":
    """Run `work` on a new thread called `name`. The future raises its `OSError`, if any."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        try:
            work()
        except OSError as error:
            end = partial(_end, done, error)
        else:
            end = partial(_end, done, None)
        if not loop.is_closed():
            loop.call_soon_threadsafe(end)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def _end(done: "asyncio.Future[None]", error: OSError | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
