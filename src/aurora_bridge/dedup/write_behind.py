"""Writes the changes in memory to the file, later, so that deliveries do not wait for it.

It writes one slice of the keys after the other, because a write costs pages, not rows. A round takes a few seconds at
most. The log positions that are written with the last slice are from before the round: everything below them was in
memory by then, and has been written with its slice.

What the log does not tell does not wait for its slice: `hasten` writes it at once.
"""

import asyncio
import sqlite3

from aurora_bridge.dedup import index, outstanding
from aurora_bridge.dedup.bloom_filter import BloomFilter
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_PENDING
from aurora_bridge.dedup.log_reader import LogReader
from aurora_bridge.dedup.memory import SLICES, Batch, Entry, Memory

_SLOWEST, _QUICKEST = 0.25, 0.02
_AIM = 2000
"""Target for the rows of one write. After a crash, unwritten ones are read back from the log."""
_MOST_ENTRIES = 100_000
"""Limit of memory while the file does not take them: about 50 MB."""


class WriteBehind:
    """Writes changes of `memory`, and how far `log` is known, to `file`."""

    def __init__(self, memory: Memory, file: IndexFile, bloom_filter: BloomFilter, log: LogReader) -> None:
        self._memory = memory
        self._file = file
        self._bloom_filter = bloom_filter
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._urgent: list[str] = []
        self._urgent_written: asyncio.Future[bool] = self._loop.create_future()

    async def run(self) -> None:
        """Write one slice after the other, until cancelled."""
        pace, noted = _SLOWEST, None
        while True:
            reading, positions, whole = self._log.current, self._log.positions(), True
            for name in SLICES:
                await asyncio.sleep(pace)
                ends = name == SLICES[-1] and whole and reading is self._log.current
                new_positions = positions if ends and (reading, positions) != noted else {}
                count = await self._write(name, new_positions)
                if count is None:
                    whole = False
                elif ends:
                    noted = reading, positions
                pace = max(_QUICKEST, min(_SLOWEST, pace * max(0.5, min(2.0, _AIM / ((count or 0) + 1)))))
                self._memory.forget()

    async def _write(self, name: str, positions: index.Positions) -> int | None:
        """Write a slice; return its number of events, None if writing failed."""
        if self._file.failed:
            self._keep_bound()
            return None
        batch = self._memory.take(name)
        if batch.entries or batch.latest or positions:
            written: asyncio.Future[bool] = self._loop.create_future()
            self._post(batch, positions, written)
            while not written.done():
                await asyncio.wait([written], timeout=_SLOWEST)
                self._keep_bound()
            if not written.result():
                return None
        return len(batch.entries)

    def _keep_bound(self) -> None:
        """Forget changes that the file does not take, before they fill the memory: the log has them."""
        if len(self._memory.entries) > _MOST_ENTRIES:
            self._memory.give_up()
            self._file.give_up()

    def _post(self, batch: Batch, positions: index.Positions, written: "asyncio.Future[bool]") -> None:
        """Write a batch; `written` gets whether that succeeded."""
        rows = [_row(entry) for entry in batch.entries if entry.state is not IN_FLIGHT]
        self._bloom_filter.update([row[0] for row in rows])
        listed = [entry for entry in batch.entries if entry.listed and entry.state is not IN_FLIGHT]
        refused = [(each.fingerprint, each.event, each.time_ms) for each in listed if each.state is RETRY_PENDING]
        settled = [each.fingerprint for each in listed if each.state is not RETRY_PENDING]
        forgotten_ms = self._file.forgotten_ms

        def write(db: sqlite3.Connection) -> None:
            index.write(db, rows, batch.latest)
            if listed:
                outstanding.settle(db, settled)
                outstanding.note(db, refused)
            if positions:  # in the same transaction, so that they are never ahead of the events
                index.note(db, positions, forgotten_ms)

        def answered(_result: object, error: Exception | None) -> None:
            if error is None:
                self._memory.written(batch)
            else:
                self._memory.not_written(batch)
            if not written.done():
                written.set_result(error is None)

        self._file.post(write, answered)

    def hasten(self, entry: Entry) -> None:
        """Write one event before its slice's turn.

        All calls in one turn of the event loop become one job: refusals come in floods.
        """
        if self._file.usable:
            if not self._urgent:
                self._urgent_written = self._loop.create_future()
                self._loop.call_soon(self._write_urgent)
            self._urgent.append(entry.fingerprint)

    async def through(self, entry: Entry) -> None:
        """Write one event before its slice's turn; return when the file has it, or its patience is over."""
        if self._file.usable:
            self.hasten(entry)
            await asyncio.wait([self._urgent_written], timeout=self._file.patience)

    def _write_urgent(self) -> None:
        urgent, self._urgent = self._urgent, []
        # Entries already in an earlier batch are skipped; jobs run in order, so that batch commits before this one.
        self._post(self._memory.take_some(urgent), {}, self._urgent_written)

    def flush(self) -> None:
        """Write everything at once, including how far the log is known, because the daemon ends."""
        if not self._file.failed:
            self._memory.change_all()  # a write in progress may still fail
            self._post(self._memory.take(SLICES), self._log.positions(), self._loop.create_future())


def _row(entry: Entry) -> index.SeenRow:
    times = (entry.time_ms, entry.id_ms, entry.attempt_ms, entry.attempt, int(entry.repeat))
    return entry.fingerprint, int(entry.state), *times  # `sqlite3` takes 1 us longer over an IntEnum or a bool
