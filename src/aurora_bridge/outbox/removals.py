"""Takes events out of the spool: reads the heads of the queues, and removes rows that Kafka has or rejected.

A row that is being removed is not read again, or it would be published twice. The same goes for a row that cannot be
removed because the volume is full.
"""

import asyncio
from collections.abc import Callable, Sequence

from aurora_bridge.outbox import quarantine, rows
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outcomes import Reason
from aurora_bridge.state.worker import Worker

_REMOVE_SECONDS = 0.05
"""Rows wait this long, to be removed together: neighbours in the file belong to different queues. A row that a crash
leaves behind is published again."""


class Removals:
    """Removes rows and reads heads. Not thread-safe: call it from the event loop only."""

    def __init__(self, worker: Worker, fail: Callable[[Exception], Reason], removed: Callable[[], None]) -> None:
        """Run jobs on `worker`. `fail` maps an error to a reason, `removed` is called when there is more room."""
        self._worker = worker
        self._fail = fail
        self._has_room = removed
        self._queued: list[int] = []
        """Rows that the next `flush` removes."""
        self._leaving: set[int] = set()
        """Rows that are being removed or quarantined."""
        self._stuck: list[int] = []
        """Those of them that could not be removed because the volume is full."""

    def remove(self, seq: int) -> None:
        """Remove a row soon."""
        if not self._queued:
            asyncio.get_running_loop().call_later(_REMOVE_SECONDS, self.flush)
        self._queued.append(seq)
        self._leaving.add(seq)

    def retry(self) -> None:
        """Try again to remove rows for which there was no room."""
        self._queued += self._stuck
        self._stuck = []
        self.flush()

    def flush(self) -> None:
        """Remove the queued rows."""
        seqs, self._queued = self._queued, []
        if seqs:
            self._worker.post(lambda db: rows.delete(db, seqs), lambda _, error: self._removed(seqs, error))

    def quarantine(self, seq: int, reason: str) -> None:
        """Move a row into quarantine."""
        self._leaving.add(seq)
        self._worker.post(lambda db: quarantine.add(db, seq, reason), lambda _, error: self._left([seq], error))

    def _removed(self, seqs: list[int], error: Exception | None) -> None:
        if error is not None and self._fail(error) is Reason.SPOOL_FULL:
            self._stuck += seqs
        else:
            self._left(seqs, None)
            self._has_room()

    def _left(self, seqs: Sequence[int], error: Exception | None) -> None:
        if error is not None:
            self._fail(error)
        # Not at once: a head that was read before, but is delivered in the same turn, must still leave these rows out.
        asyncio.get_running_loop().call_soon(self._leaving.difference_update, seqs)

    async def head(self, event: str, after: int, limit: int) -> list[OutboxRecord]:
        """Return the first records of an event's queue after row `after`, at most `limit` and about 4 MiB."""
        if not after:
            self.flush()
        most = limit if after else limit + len(self._leaving)
        found: list[OutboxRecord] = await self._worker.call(lambda db: rows.head(db, event, after, most))
        return [record for record in found if record.seq not in self._leaving][:limit]
