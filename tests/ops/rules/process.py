"""What happens to a process as a whole: it stands still, once or again and again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from tests.support.daemon import Process

STILL_SECONDS: Final = 0.7
RUNS_SECONDS: Final = 0.15
"""Of a process that gets too little CPU, as under a limit: how long it stands still, and how long it runs."""


@contextmanager
def still(process: Process) -> Iterator[None]:
    """Have a process stand still meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def starved(process: Process) -> Iterator[None]:
    """Have a process get too little CPU meanwhile."""
    enough = Event()

    def starve() -> None:
        while not enough.wait(RUNS_SECONDS):
            with still(process):
                enough.wait(STILL_SECONDS)

    thread = Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
