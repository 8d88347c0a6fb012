"""One life of a deduplicator on a state directory: real threads, real files, and the real spool as its log.

`lives` starts them, each on what the one before it left; a life ends in order (`stop`) or as by SIGKILL (`kill`).
The rest of this module makes the index file fail.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from threading import Event as Gate
from typing import Any, Final
from unittest.mock import patch

from aurora_bridge.dedup import index, segments
from aurora_bridge.dedup.deduplicator import Decision, Deduplicator
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.log_record import LogRecord
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.webhook.event import Event
from tests.dedup.events import ME, outbox_record
from tests.support.index_rows import rows_of

PATIENCE: Final = 30.0
"""Bound for what takes milliseconds; the rest is for a machine that is busy otherwise."""
IMPATIENT: Final = 0.05
"""How long a file that hangs is waited for, in tests where it does."""
CLUSTER: Final = "a cluster's id"
PUBLISHED: Final = (Action.NEW, Action.REPEAT, Action.RETRY)
REFUSAL: Final = Refusal(Reason.KAFKA_UNAVAILABLE)
_ROOM: Final = 2**26


class Life:
    """A deduplicator that runs."""

    def __init__(
        self,
        directory: Path,
        *,
        patience: float = PATIENCE,
        kafka: bool = False,
        instance: str = ME,
        backlog: Iterable[str] = (),
        **settings: Any,  # noqa: ANN401 - those of the index
    ) -> None:
        """Start on what the directory holds. With `kafka`, the test tells what the topics hold."""
        self.directory = directory
        self.metrics = Metrics(kafka_problems=tuple(REASONS))
        self.spool = Spool(directory, _ROOM)
        self.spool.start()
        self.dedup = Deduplicator(
            directory,
            IndexSettings(**settings),
            patience,
            self.metrics,
            instance=instance,
            spool=self.spool,
            kafka=kafka,
            has_backlog=lambda event: event in backlog,
        )
        self.log = self.dedup.log
        self.dedup.start()
        self._runs = asyncio.create_task(self.dedup.run())
        self._ended = False
        self.hangs = False
        """Whether a job of `hanging` was not answered yet."""

    # Deliveries.

    async def claim(self, event: Event, at: int) -> Decision:
        """Judge a delivery."""
        async with asyncio.timeout(PATIENCE):
            return self.dedup.claim(event, at * 1000) or await self.dedup.wait(event, at * 1000)

    async def claims(self, *deliveries: tuple[Event, int]) -> list[Decision]:
        """Judge deliveries that come together, in this order."""
        return await asyncio.gather(*(self.claim(event, at) for event, at in deliveries))

    async def deliver(self, event: Event, at: int, *, stored: bool = True, in_time: bool = True) -> Decision:
        """Let a delivery go its whole way: judged, stored or refused if it is published, and answered."""
        decision = await self.claim(event, at)
        if decision.action in PUBLISHED:
            if stored:
                await self.store(event, decision.entry)
            else:
                await self.refuse(decision.entry)
        self.answer(decision, at, in_time=in_time)
        return decision

    async def act(self, event: Event, at: int) -> Action:
        """Let a delivery go its whole way, and return what was to be done with it."""
        return (await self.deliver(event, at)).action

    async def store(self, event: Event, entry: Entry) -> None:
        """Commit an event to the spool, and tell so."""
        await self.spooled(event, entry)
        self.dedup.stored(entry)

    async def spooled(self, event: Event, entry: Entry) -> None:
        """Commit an event to the spool; nobody is told yet."""
        committed: asyncio.Future[Reason | None] = asyncio.get_running_loop().create_future()

        def stored(_records: object, failure: Reason | None, _quarantined: object) -> None:
            committed.set_result(failure)

        self.spool.append([outbox_record(event, entry)], stored)
        assert await committed is None

    async def refuse(self, entry: Entry) -> None:
        """Refuse an event."""
        self.dedup.refused(entry, REFUSAL)
        await self.dedup.note_durably(entry)

    def answer(self, decision: Decision, at: int, *, in_time: bool = True) -> None:
        """Answer a delivery."""
        self.dedup.answered(decision.entry, at * 1000, in_time=in_time)

    async def reads(self, *records: LogRecord, cluster: str = CLUSTER) -> None:
        """Let the topics hold these records, as a follower that reads them to their ends."""
        reading = await self.log.reading()
        self.log.began(reading, cluster)
        assert await self.log.learn(reading, cluster, records)
        self.log.succeeded(reading)

    # Its ends.

    async def stop(self) -> Path:
        """End in order; return the directory that it leaves."""
        if not self._ended:
            await self._cease()
            assert await self.dedup.stop(PATIENCE)
        return self.directory

    async def kill(self) -> Path:
        """Die as by SIGKILL; return the directory that this leaves, which is a copy: a thread cannot be killed.

        The threads go on writing meanwhile: two equal readings in a row are what the disk held between them.
        """
        left = self.directory.with_name(f"{self.directory.name}-killed")
        left.mkdir()
        before, now = None, self._contents()
        while before != now:
            before, now = now, self._contents()
        for name, content in now.items():
            (left / name).write_bytes(content)
        await self._cease()
        return left

    def _contents(self) -> dict[str, bytes]:
        found = {}
        for file in self.directory.iterdir():
            with suppress(FileNotFoundError):  # a file that is being recreated
                if not file.name.endswith("-shm"):
                    found[file.name] = file.read_bytes()
        return found

    async def _cease(self) -> None:
        self._ended = True
        self._runs.cancel()
        await asyncio.gather(self._runs, return_exceptions=True)

    async def close(self) -> None:
        """Close the files."""
        await self.stop()
        assert await self.dedup.file.stop(PATIENCE)  # of one that was killed, which writes nothing more
        assert await self.spool.stop(PATIENCE)

    # What can be seen of it.

    @property
    def index_bypassed(self) -> int:
        return int(self.metrics.index_bypassed[()])

    @property
    def failed(self) -> bool:
        """Whether the index cannot be used, as the metric has it."""
        assert self.metrics.index_failed.source is not None
        return self.metrics.index_failed.source() == 1

    @property
    def in_memory(self) -> dict[str, Entry]:
        """The events in memory, by fingerprint."""
        return self.dedup.memory.entries

    async def complete(self, at: int) -> None:
        """Return when nothing of the day of a time can be unknown."""
        await until(lambda: self.log.complete(at))

    async def recovered(self, at: int) -> None:
        """Return when it is complete again; from now on a slow machine is waited for."""
        self.dedup.file.patience = PATIENCE
        await self.complete(at)

    async def written(self) -> None:
        """Return when the file has all that is not in flight, and memory nothing of it."""
        await until(lambda: not self.in_memory)

    async def filtering(self) -> None:
        """Return when the Bloom filter is built: before, everything may be known."""
        for _ in ("opening the file", "reading its few fingerprints", "finding no more"):
            await self.asked(lambda _db: None)  # behind that, which posts what comes next

    async def asked(self, job: Callable[[sqlite3.Connection], object]) -> None:
        """Return when the file's thread has done something."""
        await self.dedup.file.call(job)

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[Gate]:
        """Hold the file's thread up, as a disk does, until the gate is set."""
        entered, gate = Gate(), Gate()

        def wait(_db: sqlite3.Connection) -> None:
            entered.set()
            assert gate.wait(PATIENCE)

        def done(_result: object, _error: Exception | None) -> None:
            self.hangs = False

        self.hangs = True
        self.dedup.file.post(wait, done)
        await until(entered.is_set)
        try:
            yield gate
        finally:
            gate.set()


@asynccontextmanager
async def lives() -> AsyncIterator[Callable[..., Life]]:
    """Start lives on directories; whatever became of them, their files are closed in the end."""
    started: list[Life] = []

    def start(directory: Path, **options: Any) -> Life:  # noqa: ANN401 - those of Life
        started.append(Life(directory, **options))
        return started[-1]

    try:
        yield start
    finally:
        for life in started:
            await life.close()


@asynccontextmanager
async def living(directory: Path, **options: Any) -> AsyncIterator[Life]:  # noqa: ANN401 - those of Life
    """Start one life, and end it in order."""
    async with lives() as start:
        yield start(directory, **options)


@asynccontextmanager
async def paused(life: Life) -> AsyncIterator[None]:
    """Let the maintenance of the file pause, behind the step that is under way."""

    async def step(_file: IndexFile, *, expire: bool) -> None:
        """Do nothing."""

    with patch.object(IndexFile, "_step", step):
        await turns()  # a step that was begun is on the file's thread by then
        await life.asked(lambda _db: None)
        yield


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the loop turn, so that what is ready to happen has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


# The file, and its failures.


def rows(directory: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Look into the index file, beside the daemon."""
    with closing(sqlite3.connect(directory / index.FILE)) as database:
        return database.execute(sql, values).fetchall()


def states(directory: Path) -> dict[str, State]:
    """Return where the events in the file stand, by fingerprint."""
    with closing(sqlite3.connect(directory / index.FILE)) as database:
        return {fingerprint: State(state) for fingerprint, state, *_ in rows_of(database)}


@contextmanager
def held_up(name: str) -> Iterator[Gate]:
    """Hold the file's thread up in the function of that name until the gate is set."""
    gate, function = Gate(), getattr(index, name)

    def wait(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the function takes and returns
        assert gate.wait(PATIENCE)
        return function(*args, **named)

    with patch.object(index, name, wait):
        try:
            yield gate
        finally:
            gate.set()


@contextmanager
def failing(*names: str, code: int, only: Callable[..., bool] = lambda *_, **_named: True) -> Iterator[None]:
    """Let functions of the index, or its segments, fail with an error of SQLite's, where `only` says so of a call."""

    def fails(function: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the function takes and returns
            if only(*args, **named):
                raise error_of(code)
            return function(*args, **named)

        return fail

    with ExitStack() as stack:
        for name in names:
            module = index if hasattr(index, name) else segments
            stack.enter_context(patch.object(module, name, fails(getattr(module, name))))
        yield


def error_of(code: int) -> sqlite3.OperationalError:
    """Return an error as SQLite raises it."""
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error
