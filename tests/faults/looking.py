"""A look at each daemon five times a second: whether it runs, and whether it says that its index is complete."""

import re
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from threading import Event, Thread
from time import monotonic
from typing import Final

from tests.faults.histories import Span
from tests.support import http
from tests.support.daemon import Daemon

_PAUSE_SECONDS: Final = 0.2
_COMPLETE: Final = re.compile(rb"^aurora_bridge_index_complete (\S+)$", re.MULTILINE)


def is_complete(daemon: Daemon) -> bool:
    """Whether a daemon says that its index is complete; one that has no such metric is. Raises `OSError`."""
    found = _COMPLETE.search(http.get(daemon.admin_url, "/metrics").body)
    return found is None or float(found[1]) > 0


class _Spans:
    """Spans in which something was so that is seen now and then: each begins with the last look at which it was not."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._not_at = -inf

    def see(self, began: float, *, so: bool) -> None:
        """Note what a look found that began then and ends now."""
        if so:
            if not self.spans or self.spans[-1][1] < inf:
                self.spans.append((self._not_at, inf))
            return
        if self.spans and self.spans[-1][1] == inf:
            self.spans[-1] = (self.spans[-1][0], monotonic())
        self._not_at = began


class Looking:
    """Looks in a thread of its own, from the first `start` to `stop`."""

    def __init__(self, daemons: Sequence[Daemon]) -> None:
        """Look at these, as the sequence has them then."""
        self._daemons = daemons
        self._down, self._incomplete = ([_Spans() for _ in daemons] for _ in range(2))
        self._over = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="looking")
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def down(self) -> list[Span]:
        """When a daemon was not running, or may not have been."""
        return [span for one in self._down for span in one.spans]

    @property
    def incomplete(self) -> list[Span]:
        """When the index of a daemon was not complete, or may not have been."""
        return [span for one in self._incomplete for span in one.spans]

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_SECONDS):
            for daemon, down, incomplete in zip(self._daemons, self._down, self._incomplete, strict=True):
                began, runs, complete = monotonic(), False, False
                with suppress(OSError, ValueError, IndexError):  # down, or not up yet; cut off in its answer
                    complete = is_complete(daemon)
                    runs = True
                down.see(began, so=not runs)
                incomplete.see(began, so=not complete)
