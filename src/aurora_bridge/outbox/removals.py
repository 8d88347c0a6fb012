"""The way out of the spool: rows that Kafka has are removed, and the queues are read at their heads.

What leaves while a head is read is left out of it, else it would be published a second time. So is what a full volume
has no room even to remove.
"""

from collections.abc import Callable

from aurora_bridge.outbox import rows
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.refusal import Reason
from aurora_bridge.state.worker import Worker


class Removals:
    """Removes rows and reads heads. All methods belong to the event loop."""

    def __init__(self, worker: Worker, fail: Callable[[Exception], Reason]) -> None:
        """Have `worker` do it; `fail` says what an error means."""
        self._worker = worker
        self._fail = fail
        self.queued: list[int] = []
        """Rows that the next `flush` removes."""
        self._leaving: set[int] = set()
        """Rows that are not removed yet, but are no more to be read."""
        self._stuck: list[int] = []
        """Those of them for whose removal there was no room."""
        self._gone: dict[int, set[int]] = {}
        """By whoever is reading a head: the rows that left since."""

    def leave(self, seq: int) -> None:
        """Note that a row is in no queue any more."""
        for gone in self._gone.values():
            gone.add(seq)

    def remove(self, seq: int) -> None:
        """Remove a row with the next `flush`."""
        self.queued.append(seq)
        self._leaving.add(seq)
        self.leave(seq)

    def retry(self) -> None:
        """Remove with the next `flush` what there was no room for."""
        seqs, self._stuck = self._stuck, []
        for seq in seqs:
            self.remove(seq)

    def flush(self) -> None:
        """Remove what is queued."""
        seqs, self.queued = self.queued, []
        if seqs:
            self._worker.post(lambda db: rows.delete(db, seqs), lambda _, error: self._removed(seqs, error))

    def _removed(self, seqs: list[int], error: Exception | None) -> None:
        if error is not None and self._fail(error) is Reason.SPOOL_FULL:
            self._stuck += seqs
        else:
            self._leaving.difference_update(seqs)

    async def head(self, event: str, limit: int) -> list[OutboxRecord]:
        """Return the first records of an event's queue, at most `limit` of them and about 4 MiB."""
        self.flush()
        gone = set(self._leaving)
        most = limit + len(gone)
        self._gone[id(gone)] = gone
        try:
            found = await self._worker.call(lambda db: rows.head(db, event, most))
        finally:
            del self._gone[id(gone)]
        return [rows.record_of(row) for row in found if row[0] not in gone][:limit]
