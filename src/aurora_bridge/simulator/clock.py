"""The simulated clock: it runs, faster if so wished, and can be put forward."""

from collections.abc import Callable


class Clock:
    """Seconds since the epoch, from a beginning on, `speed` of them each second of the `monotonic` clock."""

    def __init__(self, begin: float, monotonic: Callable[[], float], speed: float = 1.0) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self.set(begin)

    def now(self) -> float:
        """Return the simulated time."""
        return self._at + (self._monotonic() - self._since) * self._speed

    def set(self, at: float) -> None:
        """Go on from another time."""
        self._at, self._since = at, self._monotonic()

    def seconds_until(self, at: float) -> float:
        """Return how long the wait for a simulated time is in real seconds, 0 for one that is over."""
        return max(0.0, (at - self.now()) / self._speed)
