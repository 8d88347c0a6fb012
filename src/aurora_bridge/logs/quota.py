"""Limits the number of log lines of one kind."""

from collections.abc import Callable

_WINDOW_SECONDS = 60


class Quota:
    """Lets a number of lines per minute pass, and counts the others."""

    def __init__(self, lines: int, monotonic: Callable[[], float]) -> None:
        self._lines = lines
        self._monotonic = monotonic
        self._window_ends = float("-inf")
        self._passed = 0
        self._left_out = 0

    def take(self) -> int | None:
        """Return how many lines were left out since the last one that passed; None to leave this one out, too."""
        now = self._monotonic()
        if now >= self._window_ends:
            self._window_ends, self._passed = now + _WINDOW_SECONDS, 0
        if self._passed == self._lines:
            self._left_out += 1
            return None
        self._passed += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
