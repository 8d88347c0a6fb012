"""The simulated clock, which can run faster than real time and be set forward."""

from collections.abc import Callable


class Clock:
    """Counts seconds since the epoch, from `begin` on, `speed` times as fast as the `monotonic` clock."""

    def __init__(self, begin: float, monotonic: Callable[[], float], speed: float = 1.0) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self.set(begin)

    def now(self) -> float:
        """Return the simulated time."""
        return self._at + (self._monotonic() - self._since) * self._speed

    def set(self, at: float) -> None:
        """Continue from another time."""
        self._at, self._since = at, self._monotonic()

    def seconds_until(self, at: float) -> float:
        """Return the real seconds until a simulated time, 0 if it has passed."""
        return max(0.0, (at - self.now()) / self._speed)
