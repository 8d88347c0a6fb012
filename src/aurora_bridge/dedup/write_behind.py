"""Brings what changed in memory into the file, some time after it happened and off the way of the deliveries.

One slice of the fingerprints after the other, since what a write costs is pages, not rows; a whole round takes some
seconds at most. The positions in the log that are written with the last slice are those from before the round began:
whatever lies below them was told to memory by then, and has been written with its slice.
"""

import asyncio
from collections.abc import Callable

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.membership import Membership
from aurora_bridge.dedup.memory import SLICES, Batch, Entry, Memory

_SLOWEST, _QUICKEST = 0.5, 0.02
_AIM = 800
"""Rows of a write: so many share pages. What is not written yet, a crash takes and the log gives back."""
_MOST_ENTRIES = 100_000
"""Kept for a file that does not answer: about 50 MB."""


class WriteBehind:
    """Writes `memory` into `file`."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        memory: Memory,
        file: IndexFile,
        members: Membership,
        positions: Callable[[], index.Positions],
        oldest_question: Callable[[], float],
        given_up: Callable[[], None],
    ) -> None:
        """Write with the last slice how far the log is known, by `positions`.

        `oldest_question` gives the number of the first job whose answer somebody waits for; `given_up` is called when
        memory was dropped.
        """
        self._memory = memory
        self._file = file
        self._members = members
        self._known = positions
        self._oldest_question = oldest_question
        self._given_up = given_up
        self._before: index.Positions = {}
        """Positions from before this round began."""
        self._written: dict[index.Place, int] = {}
        self._slice = 0
        self._pace = _QUICKEST
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._urgent: list[tuple[Entry, asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()

    def opened(self, positions: index.Positions) -> None:
        """Begin with a file that holds these positions."""
        self._before, self._written = {}, dict(positions)
        self._slice = 0
        self.schedule()

    def schedule(self) -> None:
        """Have something written soon."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._pace, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.forget()
        if len(self._memory.entries) > _MOST_ENTRIES and not self._file.usable:
            self._given_up()
        if self._writing or self._file.failed:
            self._pace = _SLOWEST
            self.schedule()
            return
        name = SLICES[self._slice]
        self._slice = (self._slice + 1) % len(SLICES)
        positions: index.Positions = {}
        if self._slice == 0:
            positions, self._before = self._before, self._known()
        count = self._write(name, positions)
        self._pace = max(_QUICKEST, min(_SLOWEST, self._pace * max(0.5, min(2.0, _AIM / (count + 1)))))
        if self._slice or self._memory.changed or self._news(self._before):
            self.schedule()

    def _news(self, positions: index.Positions) -> dict[index.Place, int]:
        return {place: offset for place, offset in positions.items() if self._written.get(place) != offset}

    def _write(self, name: str, positions: index.Positions) -> int:
        """Write a slice; return of how many events."""
        entries, latest = self._memory.take(name)
        late, self._memory.late = self._memory.late, []
        news = self._news(positions)

        def done(error: Exception | None) -> None:
            self._writing = False
            if error is None:
                self._written.update(news)
            else:
                self._memory.late += late

        if entries or latest or late or news:
            self._writing = True
            self._post(entries, latest, late, news, done)
        return len(entries)

    def _post(
        self,
        entries: list[Entry],
        latest: list[index.StateRow],
        late: list[index.Event],
        positions: index.Positions,
        done: Callable[[Exception | None], None],
    ) -> None:
        rows = [entry.row() for entry in entries]
        families = [row[0] for row in latest]
        self._members.update([entry.fingerprint for entry in entries])

        def answered(_result: object, error: Exception | None) -> None:
            batch = Batch(number, entries, families)
            if error is None:
                self._memory.written(batch)
            else:
                self._memory.not_written(batch)
                self.schedule()
            done(error)
            self.forget()

        number = self._file.post(lambda db: index.write(db, rows, latest, late, positions), answered)

    def forget(self) -> None:
        """Let leave memory what was written, but for whom an answer is under way that does not know it."""
        self._memory.forget(self._oldest_question())

    # What is written at once.

    async def through(self, entry: Entry, patience: float) -> None:
        """Write one event before what waits for its slice; return when the file has it, or `patience` is over."""
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
        latest: list[index.StateRow] = []
        for entry, _ in urgent:
            rows, family = self._memory.take_one(entry)  # none, if it is being written already
            entries += rows
            latest += family

        def done(_error: Exception | None) -> None:
            for _, written in urgent:
                if not written.done():
                    written.set_result(None)

        self._post(entries, latest, [], {}, done)

    def flush(self) -> None:
        """Write all that changed: the daemon ends."""
        if self._timer is not None:
            self._timer.cancel()
        for name in SLICES:
            self._write(name, self._known() if name == SLICES[-1] else {})
