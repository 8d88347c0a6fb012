"""How long a request waits for company, so that records share one: not at all when none is to be expected.

A request costs about as much as 20 records. The gap counts from the request before, so that the first record after a
pause never waits.
"""

LONGEST_GAP_SECONDS = 0.003
"""Invisible in a budget of 10 s."""
_COMPANY = 15
"""Records a request need not wait beyond."""
_FEW_A_SECOND = 250
"""Below this rate hardly a second record comes within the longest gap."""
_WEIGHT = 0.1


class Pace:
    """The gap between two requests, by the rate of records."""

    __slots__ = ("_rate", "gap_seconds")

    def __init__(self) -> None:
        self.gap_seconds = 0.0
        self._rate = 0.0

    def note(self, records: int, seconds: float) -> None:
        """Learn that so many records came in so long since the request before."""
        self._rate += _WEIGHT * (records / max(seconds, 0.0001) - self._rate)
        self.gap_seconds = min(LONGEST_GAP_SECONDS, _COMPANY / self._rate) if self._rate > _FEW_A_SECOND else 0.0
