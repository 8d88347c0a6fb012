"""When Aurora switches a subscription off: the documented rule, over a sliding window.

"Auto-disabled when all its retries fail within 48 h and it had at least 100 attempts in those 48 h" can be read in more
ways than one. Here, as in the daemon's guard (`attempts`): as a delivery's last retry fails, if no attempt of the
subscription succeeded in the window and there were that many in it.
"""

from collections import deque
from math import inf
from typing import Final

WINDOW_SECONDS: Final = 48 * 3600.0
LEAST_ATTEMPTS: Final = 100


class Window:
    """What the rule needs to know of a subscription's attempts."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=LEAST_ATTEMPTS)
        self._succeeded = -inf

    def count(self, now: float, *, succeeded: bool) -> None:
        """Take in an attempt; `now` never goes back."""
        self._latest.append(now)
        if succeeded:
            self._succeeded = now

    def condemns(self, now: float) -> bool:
        """Whether the rule holds for a subscription one of whose deliveries has failed for good."""
        begin = now - WINDOW_SECONDS
        return len(self._latest) == LEAST_ATTEMPTS and self._latest[0] > begin >= self._succeeded
