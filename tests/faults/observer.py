"""What is seen of the daemons while a scenario is played, that limits what may be demanded of them (`histories`).

A look at each, five times a second, tells whether it runs, and whether it says that its index is complete.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from threading import Event, Thread
from time import monotonic
from typing import Final

from tests.faults.faulty import FaultyDaemon
from tests.faults.histories import Limits, Span
from tests.support import http
from tests.support.daemon import Daemon

_PAUSE_SECONDS: Final = 0.2
_COMPLETE: Final = re.compile(rb"^aurora_bridge_index_complete (\S+)$", re.MULTILINE)


def is_complete(daemon: Daemon) -> bool:
    """Whether a daemon says that its index is complete; one that has no such metric is. Raises `OSError`."""
    found = _COMPLETE.search(http.get(daemon.admin_url, "/metrics").body)
    return found is None or float(found[1]) > 0


class Spans:
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


class Observer:
    """Observes in a thread of its own, from the first `start` to `stop`; scenarios add what they did themselves."""

    def __init__(self, daemons: Sequence[FaultyDaemon]) -> None:
        """Look at these, as the sequence has them then."""
        self._daemons = daemons
        self._down, self._incomplete = ([Spans() for _ in daemons] for _ in range(2))
        self._forgotten: list[Span] = []
        self._clock_set: list[float] = []
        self.lag = 0.0
        """Seconds within which one daemon need not know what another published."""
        self._over = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="observer")
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def index_lost(self, since: float | None = None) -> None:
        """Note that an index just lost what is refused or unheard, or did so at some moment `since` then."""
        self._forgotten.append((monotonic() if since is None else since, monotonic()))

    def clock_was_set(self) -> None:
        """Note that the clock was just set so that windows moved."""
        self._clock_set.append(monotonic())

    def limits(self) -> Limits:
        """Return what limits the judgement."""
        down, incomplete = ([span for one in kind for span in one.spans] for kind in (self._down, self._incomplete))
        # An end in order is one only for an index that is still there: without it, what was stored last is not known.
        lost = self._forgotten
        ends = [at for one in self._daemons for at in one.ends if not any(begun <= at <= now for begun, now in lost)]
        crashes = [(start, end) for start, end in down if not any(start <= at <= end for at in ends)]
        return Limits(incomplete, self._forgotten, self._clock_set, down, crashes, self.lag)

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_SECONDS):
            for daemon, down, incomplete in zip(self._daemons, self._down, self._incomplete, strict=True):
                began, runs, complete = monotonic(), False, False
                with suppress(OSError, ValueError, IndexError):  # down, or not up yet; cut off in its answer
                    complete = is_complete(daemon)
                    runs = True
                down.see(began, so=not runs)
                incomplete.see(began, so=not complete)
