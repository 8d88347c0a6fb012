"""One pass over the log into the index: its progress, and what was published just before it began."""

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
"""After this long without a record read, no estimate is given."""
_LAST_MS = 10_000
"""The answers to deliveries received this long before a crash may not have been sent."""


READ_TO_ITS_END = -1
"""Used as a partition number: this log has been read to its end once."""


class Progress:
    """Progress of reading the log, for people: it is logged, and on the status page."""

    def __init__(self) -> None:
        self.read = 0
        self.to_read = 0
        """Estimated number of events still to be read."""
        self._ended = False
        self._seconds = 0.0
        """Time spent reading."""
        self._moved = self._told = monotonic()

    def seconds_left(self) -> float:
        """Return how long the rest takes at the speed so far; infinity if that is unknown, or nothing moves."""
        if not self.read or monotonic() - self._moved > _STUCK_SECONDS:
            return inf
        return self.to_read * self._seconds / self.read

    def resume(self) -> None:
        """Note that reading begins or continues: the time spent waiting for Kafka does not count."""
        self._moved = monotonic()

    def note(self, read: int, to_read: int) -> None:
        """Note that `read` more events were read, and `to_read` are left."""
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
            log.info("reading the log into the index; until that is done, duplicate states may pass", extra=left)

    def end(self) -> None:
        """Note that the end is reached: later events are read as they come."""
        self._ended = True
        self.to_read = 0


class Reading:
    """What is known of the log since the index file was opened. Each time it is opened, a new reading begins."""

    def __init__(self, positions: index.Positions) -> None:
        self.positions = dict(positions)
        """Positions up to which the log is known."""
        self.existing = frozenset(name for name, _, partition in positions if partition == READ_TO_ITS_END)
        """Names of logs that the file already knew to their ends."""
        self.logs: set[str] = set()
        """Names of logs that are being read."""
        self.caught_up = False
        """Whether the log was read to its end."""
        self.progress = Progress()
        self._last: list[LogRecord] = []
        """Records that an earlier process published in its last seconds."""
        self._newest_ms = 0
        """Time of the latest attempt among all that were noted."""

    def note_last(self, new_records: Iterable[LogRecord]) -> None:
        """Note records of an earlier process that the file did not know."""
        last = [*self._last, *new_records]
        self._newest_ms = max([self._newest_ms, *(record.attempt_ms for record in last)])
        self._last = [record for record in last if record.attempt_ms >= self._newest_ms - _LAST_MS]

    def take_last(self) -> list[LogRecord]:
        """Return what an earlier process published in its last seconds, each record once."""
        last, self._last = self._last, []
        return last
