"""Brings what changed in memory into the file, some time after it happened and off the way of the deliveries.

One slice of the keys after the other, since what a write costs is pages, not rows; a whole round takes some seconds at
most. The positions in the log that are written with the last slice are those from before the round began: whatever lies
below them was told to memory by then, and has been written with its slice.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from aurora_bridge.dedup import index
from aurora_bridge.dedup.cache import SLICES
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.log_reader import LogReader
from aurora_bridge.dedup.lookups import Lookups
from aurora_bridge.dedup.membership import Membership
from aurora_bridge.dedup.memory import Batch, Entry, Latest, Memory

_SLOWEST, _QUICKEST = 0.25, 0.02
_AIM = 800
"""Rows of a write: so many share pages. What is not written yet, a crash takes and the log gives back."""
_MOST_ENTRIES = 100_000
"""Kept for a file that does not take them: about 50 MB."""
_IN_FLIGHT = State.IN_FLIGHT

Done = Callable[[Exception | None], None]


class WriteBehind:
    """Writes `memory` into `file`, and how far the log is known."""

    def __init__(
        self, memory: Memory, file: IndexFile, members: Membership, log: LogReader, lookups: Lookups[Any]
    ) -> None:
        self._memory = memory
        self._file = file
        self._members = members
        self._log = log
        self._lookups = lookups
        self._urgent: list[tuple[Entry, asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Write one slice after the other, until cancelled."""
        pace = _SLOWEST
        reading, positions = self._log.current, self._log.positions()
        written: index.Positions = {}
        while True:
            whole = True
            for name in SLICES:
                await asyncio.sleep(pace)
                last = name == SLICES[-1] and whole and reading is self._log.current and positions != written
                count = await self._write(name, positions if last else {})
                whole &= count is not None
                pace = max(_QUICKEST, min(_SLOWEST, pace * max(0.5, min(2.0, _AIM / ((count or 0) + 1)))))
                self._memory.forget(self._lookups.oldest_job)
            if last and whole:
                written = positions
            if reading is not self._log.current:  # the file is another one
                written = {}
            reading, positions = self._log.current, self._log.positions()

    async def _write(self, name: str, positions: index.Positions) -> int | None:
        """Write a slice; return of how many events, None if the file did not take them."""
        if self._file.failed:
            self._keep_bound()
            return None
        written = self._post_slices([name], positions)
        while not written.done():
            await asyncio.wait([written], timeout=_SLOWEST)
            self._keep_bound()
        return written.result()

    def _keep_bound(self) -> None:
        """Forget what a file that does not answer cannot take, before it fills the memory: the log has it."""
        if len(self._memory.entries.items) > _MOST_ENTRIES:
            self._memory.give_up()
            self._file.give_up()

    def _post_slices(self, names: Iterable[str], positions: index.Positions) -> "asyncio.Future[int | None]":
        entries: list[Entry] = []
        latest: list[Latest] = []
        for name in names:
            entries += self._memory.entries.take(name)
            latest += self._memory.latest.take(name)
        written: asyncio.Future[int | None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if not written.done():
                written.set_result(len(entries) if error is None else None)

        if entries or latest or positions:
            self._post(entries, latest, positions, done)
        else:
            written.set_result(0)
        return written

    def _post(self, entries: list[Entry], latest: list[Latest], positions: index.Positions, done: Done) -> None:
        rows = [_row(entry) for entry in entries if entry.state is not _IN_FLIGHT]
        states = [(state.key, state.fingerprint, state.time_ms, state.id_ms) for state in latest]
        self._members.update([row[0] for row in rows])

        def answered(_result: object, error: Exception | None) -> None:
            batch = Batch(number, entries, latest)
            if error is None:
                self._memory.written(batch)
            else:
                self._memory.not_written(batch)
            done(error)

        forgotten_ms = self._file.forgotten_ms

        def write(db: sqlite3.Connection) -> None:
            index.write(db, rows, states)
            if positions:  # in one transaction, so that they are never ahead of it
                index.note(db, positions, forgotten_ms)

        number = self._file.post(write, answered)

    # What is written at once.

    async def through(self, entry: Entry, patience: float) -> None:
        """Write one event before its slice's turn; return when the file has it, or `patience` is over."""
        if not self._file.usable:
            return
        written: asyncio.Future[None] = self._loop.create_future()
        if not self._urgent:
            self._loop.call_soon(self._write_urgent)
        self._urgent.append((entry, written))
        await asyncio.wait([written], timeout=patience)

    def _write_urgent(self) -> None:
        urgent, self._urgent = self._urgent, []
        entries: list[Entry] = []
        latest: list[Latest] = []
        for entry, _ in urgent:  # one that is being written already is not written twice: this job comes behind
            entries += self._memory.entries.take_one(entry)
            state = self._memory.latest.items.get(entry.family_key or "")
            latest += [] if state is None else self._memory.latest.take_one(state)

        def done(_error: Exception | None) -> None:
            for _, written in urgent:
                if not written.done():
                    written.set_result(None)

        self._post(entries, latest, {}, done)

    def flush(self) -> None:
        """Write all that is here, and how far the log is known, at once: the daemon ends."""
        if not self._file.failed:
            self._memory.change_all()  # what is being written just now may fail
            self._post_slices(SLICES, self._log.positions())


def _row(entry: Entry) -> index.SeenRow:
    times = (entry.time_ms, entry.id_ms, entry.attempt_ms, entry.attempt, entry.repeat)
    return entry.key, int(entry.state), *times  # SQLite takes longer over another kind of int
