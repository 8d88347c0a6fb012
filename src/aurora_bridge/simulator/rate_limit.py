"""The API's rate limit, which applies per key."""

from collections import deque
from math import ceil
from typing import Final

MOST: Final = 90
"""Requests a minute (documented)."""
_WINDOW_SECONDS: Final = 60.0


class RateLimit:
    """The requests of one key in the last minute."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._times: deque[float] = deque()

    def take(self, now: float) -> int | None:
        """Count a request; return None if it is within the limit, else the seconds of `Retry-After`."""
        while self._times and self._times[0] <= now - _WINDOW_SECONDS:
            self._times.popleft()
        if len(self._times) >= self._most:
            return max(1, ceil(self._times[0] + _WINDOW_SECONDS - now))
        self._times.append(now)
        return None
