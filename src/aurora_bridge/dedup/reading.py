"""One reading of the log into the index: how far it has come, and what was published just before it began."""

import logging
from collections.abc import Iterable
from math import inf
from time import monotonic

from aurora_bridge.dedup import index
from aurora_bridge.dedup.log_record import LogRecord
from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0
_STUCK_SECONDS = 10.0
"""Nothing was read for so long: nobody knows how long the rest takes."""
_LAST_MS = 10_000
"""Before a crash: the answers to what was received in this time may not have left."""


READ_TO_ITS_END = -1
"""In the place of a partition: this log was read to its end once, whatever else is known of it."""


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


class Reading:
    """What is known of the log since the index file was opened; each opening begins another."""

    def __init__(self, positions: index.Positions) -> None:
        self.positions = dict(positions)
        """Up to where the log is known."""
        self.existing = frozenset(name for name, _, partition in positions if partition == READ_TO_ITS_END)
        """Logs that the file had known to their end."""
        self.logs: set[str] = set()
        """Those that are being read."""
        self.caught_up = False
        """Whether the log was read to its end."""
        self.progress = Progress()
        self.last: list[LogRecord] = []
        """What an earlier process published in its last seconds."""

    def note_last(self, new_records: Iterable[LogRecord]) -> None:
        """Note records of an earlier process that the file did not know."""
        last = [*self.last, *new_records]
        newest = max((record.attempt_ms for record in last), default=0)
        self.last = [record for record in last if record.attempt_ms >= newest - _LAST_MS]
