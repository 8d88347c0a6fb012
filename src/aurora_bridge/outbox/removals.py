"""Takes events out of the spool: reads the heads of the queues, and removes rows that Kafka has or rejected.

A row that is being removed is not read again, or it would be published twice. The same goes for a row that cannot be
removed or quarantined because the volume is full.
"""

import asyncio
from collections.abc import Callable, Sequence

from aurora_bridge.outbox import quarantine, rows
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outcomes import Reason
from aurora_bridge.state.worker import Job, Worker

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
        self._stuck: list[Callable[[], None]] = []
        """What there was no room for."""

    def remove(self, seq: int) -> None:
        """Remove a row soon."""
        if not self._queued:
            asyncio.get_running_loop().call_later(_REMOVE_SECONDS, self.flush)
        self._queued.append(seq)
        self._leaving.add(seq)

    def retry(self) -> None:
        """Try again what there was no room for."""
        stuck, self._stuck = self._stuck, []
        for again in stuck:
            again()

    def flush(self) -> None:
        """Remove the queued rows."""
        seqs, self._queued = self._queued, []
        if seqs:
            self._take_out(seqs, lambda db: rows.delete(db, seqs), self._has_room)

    def quarantine(self, seq: int, reason: str) -> None:
        """Move a row into quarantine."""
        self._leaving.add(seq)
        self._take_out([seq], lambda db: quarantine.add(db, seq, reason), lambda: None)

    def _take_out(self, seqs: Sequence[int], job: Job, taken: Callable[[], None]) -> None:
        def done(_: object, error: Exception | None) -> None:
            if error is not None and self._fail(error) is Reason.SPOOL_FULL:
                self._stuck.append(lambda: self._take_out(seqs, job, taken))
                return
            # Not at once: a head that was read before, but is delivered in the same turn, must still leave them out.
            asyncio.get_running_loop().call_soon(self._leaving.difference_update, seqs)
            taken()

        self._worker.post(job, done)

    async def head(self, event: str, after: int, limit: int) -> list[OutboxRecord]:
        """Return the first records of an event's queue after row `after`, at most `limit` and about 4 MiB."""
        if not after:
            self.flush()
        most = limit if after else limit + len(self._leaving)
        found: list[OutboxRecord] = await self._worker.call(lambda db: rows.head(db, event, after, most))
        return [record for record in found if record.seq not in self._leaving][:limit]
