"""When Aurora switches a subscription off: the documented rule, over a sliding window.

"Auto-disabled when all its retries fail within 48 h and it had at least 100 attempts in those 48 h" can be read in more
ways than one. Here it is: as a delivery's last retry fails, if no retry of the subscription succeeded in the window and
there were that many attempts in it, first ones included.
"""

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 48 * 3600.0
LEAST_ATTEMPTS: Final = 100
_BUCKET_SECONDS: Final = 60.0
"""The window slides in steps of a minute, so that it takes the same memory (2,880 counts) at any rate."""


class Window:
    """The attempts of one subscription in the last 48 h."""

    def __init__(self) -> None:
        self._buckets: deque[list[float]] = deque()
        """Begin, attempts, retries that succeeded."""

    def count(self, now: float, *, retry: bool, succeeded: bool) -> None:
        """Take in an attempt; `now` never goes back."""
        begin = now // _BUCKET_SECONDS * _BUCKET_SECONDS
        if not self._buckets or self._buckets[-1][0] != begin:
            self._buckets.append([begin, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += retry and succeeded

    def condemns(self, now: float) -> bool:
        """Whether the rule holds for a subscription one of whose deliveries has failed for good."""
        while self._buckets and self._buckets[0][0] <= now - WINDOW_SECONDS:
            self._buckets.popleft()
        attempts = sum(bucket[1] for bucket in self._buckets)
        return attempts >= LEAST_ATTEMPTS and not any(bucket[2] for bucket in self._buckets)
