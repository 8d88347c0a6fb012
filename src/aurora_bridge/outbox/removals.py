"""The way out of the spool: the queues are read at their heads, and rows leave when Kafka has them, or rejects them.

A row that is on its way out is not read again, else it would be published a second time. Nor is one that a full volume
has no room even to remove.
"""

import asyncio
from collections.abc import Callable, Sequence

from aurora_bridge.outbox import quarantine, rows
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.refusal import Reason
from aurora_bridge.state.worker import Worker

_REMOVE_SECONDS = 0.05
"""Rows wait so long to be removed together: their neighbours in the file belong to other queues. After a crash they are
published again."""


class Removals:
    """Removes rows and reads heads. All methods belong to the event loop."""

    def __init__(self, worker: Worker, fail: Callable[[Exception], Reason], removed: Callable[[], None]) -> None:
        """Have `worker` do it; `fail` says what an error means, `removed` hears that there is more room."""
        self._worker = worker
        self._fail = fail
        self._has_room = removed
        self._queued: list[int] = []
        """Rows that the next `flush` removes."""
        self._leaving: set[int] = set()
        """Rows that are on their way out."""
        self._stuck: list[int] = []
        """Those of them for whose removal there was no room."""

    def remove(self, seq: int) -> None:
        """Remove a row soon."""
        if not self._queued:
            asyncio.get_running_loop().call_later(_REMOVE_SECONDS, self.flush)
        self._queued.append(seq)
        self._leaving.add(seq)

    def retry(self) -> None:
        """Remove what there was no room for."""
        self._queued += self._stuck
        self._stuck = []
        self.flush()

    def flush(self) -> None:
        """Remove what is queued."""
        seqs, self._queued = self._queued, []
        if seqs:
            self._worker.post(lambda db: rows.delete(db, seqs), lambda _, error: self._removed(seqs, error))

    def quarantine(self, seq: int, reason: str) -> None:
        """Keep a row, but in no queue."""
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
        # Not at once: a head that was read before, and is answered in the same turn, must still leave them out.
        asyncio.get_running_loop().call_soon(self._leaving.difference_update, seqs)

    async def head(self, event: str, after: int, limit: int) -> list[OutboxRecord]:
        """Return the first records of an event's queue behind row `after`, at most `limit` and about 4 MiB."""
        if not after:
            self.flush()
        most = limit if after else limit + len(self._leaving)
        found: list[OutboxRecord] = await self._worker.call(lambda db: rows.head(db, event, after, most))
        return [record for record in found if record.seq not in self._leaving][:limit]
