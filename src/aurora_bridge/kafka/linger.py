"""How long a request waits for more records to share it: not at all if none are expected.

A request costs about as much as 20 records. The gap is measured from the previous request, so that the first record
after a pause never waits.
"""

LONGEST_SECONDS = 0.003
"""Negligible in Aurora's 10 s."""
_COMPANY = 15
"""A request waits for no more than this many records."""
_FEW_A_SECOND = 250
"""Below this rate, a second record hardly ever comes within the longest gap."""
_WEIGHT = 0.1


class Linger:
    """The gap between two requests, adapted to the rate of records."""

    __slots__ = ("_rate", "gap_seconds")

    def __init__(self) -> None:
        self.gap_seconds = 0.0
        self._rate = 0.0

    def note(self, records: int, seconds: float) -> None:
        """Note how many records came in the `seconds` since the previous request."""
        self._rate += _WEIGHT * (records / max(seconds, 0.0001) - self._rate)
        self.gap_seconds = min(LONGEST_SECONDS, _COMPANY / self._rate) if self._rate > _FEW_A_SECOND else 0.0
