"""When Aurora switches a subscription off: the documented rule, over a sliding window.

"Auto-disabled when all its retries fail within 48 h and it had at least 100 attempts in those 48 h" is ambiguous. Here,
as in the daemon (`aurora_bridge.auto_disable`), it means: when a delivery's last retry fails, and the window has at
least 100 attempts of the subscription, none of which succeeded.
"""

from collections import deque
from math import inf
from typing import Final

WINDOW_SECONDS: Final = 48 * 3600.0
LEAST_ATTEMPTS: Final = 100


class Window:
    """A subscription's attempts, as far as the rule needs them."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=LEAST_ATTEMPTS)
        self._succeeded = -inf

    def count(self, now: float, *, succeeded: bool) -> None:
        """Count an attempt; `now` must not decrease."""
        self._latest.append(now)
        if succeeded:
            self._succeeded = now

    def condemns(self, now: float) -> bool:
        """Whether to switch the subscription off, now that the last retry of a delivery has failed."""
        begin = now - WINDOW_SECONDS
        return len(self._latest) == LEAST_ATTEMPTS and self._latest[0] > begin >= self._succeeded
