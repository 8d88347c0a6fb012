"""How far a reading of the log into the index has come, for people: in the log and on the status page."""

import logging
from math import inf
from time import monotonic

from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0
_STUCK_SECONDS = 10.0
"""Nothing was read for so long: nobody knows how long the rest takes."""


class Progress:
    """How far a reading of the log has come, for people."""

    def __init__(self) -> None:
        self.read = 0
        self.to_read = 0
        """Events that were still to be read when it was last looked, an estimate."""
        self._ended = False
        self._seconds = 0.0
        """Spent reading."""
        self._moved = self._told = monotonic()

    def seconds_left(self) -> float:
        """Return how long it will take at the speed so far, infinity where that is not known, or nothing moves."""
        if not self.read or monotonic() - self._moved > _STUCK_SECONDS:
            return inf
        return self.to_read * self._seconds / self.read

    def resume(self) -> None:
        """Note that reading begins, or goes on: waiting for Kafka tells nothing of the speed."""
        self._moved = monotonic()

    def note(self, read: int, to_read: int) -> None:
        """Note that so many more were read, and how many there are to read."""
        if self._ended:
            return
        now = monotonic()
        self._seconds += now - self._moved
        self._moved = now
        self.read += read
        self.to_read = to_read
        if self.read and to_read and now - self._told > _PROGRESS_SECONDS:
            self._told = now
            left = fields(read=self.read, to_read=to_read, seconds_left=round(self.seconds_left()))
            log.info("reading the log into the index; until it ends, duplicates of states may pass", extra=left)

    def end(self) -> None:
        """Note that the end is reached: what is read later is read as it comes."""
        self._ended = True
        self.to_read = 0
