"""One thread for a file: jobs are committed in groups, and nobody is answered before the commit."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aurora_bridge.state.worker import Job, Worker
from tests.state.failing import FailingConnection

PATIENCE = 30.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[FailingConnection]:
    connection = sqlite3.connect(
        tmp_path / "test.db", isolation_level=None, check_same_thread=False, factory=FailingConnection
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    connection.texts.clear()
    yield connection
    connection.close()  # where a test failed before its worker's start


@pytest.fixture
async def worker(connection: FailingConnection) -> AsyncIterator[Worker]:
    """A worker that is not started: what is posted before forms the first group."""
    worker = Worker("test", lambda: connection)
    yield worker
    with suppress(RuntimeError):  # likewise: it has no thread
        await worker.stop(PATIENCE)


def insert(number: int) -> Job:
    return lambda db: db.execute("INSERT INTO numbers VALUES (?)", (number,))


def numbers(path: Path) -> list[int]:
    """Return what another connection sees, which is what is committed."""
    db = sqlite3.connect(path / "test.db")
    found = [number for (number,) in db.execute("SELECT number FROM numbers ORDER BY rowid")]
    db.close()
    return found


class Answers:
    """Collects what the jobs of a test are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Exception | None]] = []
        self._changed = asyncio.Event()

    def of(self, name: str) -> Callable[[Any, Exception | None], None]:
        def done(_result: object, error: Exception | None) -> None:
            self.told.append((name, error))
            self._changed.set()

        return done

    async def until(self, count: int) -> list[tuple[str, Exception | None]]:
        async with asyncio.timeout(PATIENCE):
            while len(self.told) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.told


async def test_a_jobs_result_comes_back(worker: Worker) -> None:
    worker.start()
    assert await worker.call(lambda db: db.execute("SELECT 6 * 7").fetchone()) == (42,)


async def test_what_waits_is_committed_together_and_answered_in_order_after_the_commit(
    worker: Worker, connection: FailingConnection, tmp_path: Path
) -> None:
    seen: list[list[int]] = []
    answers = Answers()
    for number in (1, 2, 3):
        worker.post(insert(number), lambda *_: seen.append(numbers(tmp_path)))
        worker.post(lambda _db: None, answers.of(str(number)))
    worker.start()
    assert await answers.until(3) == [("1", None), ("2", None), ("3", None)]
    assert seen == [[1, 2, 3]] * 3
    assert connection.statements == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]


async def test_what_comes_during_a_commit_forms_the_next_group(worker: Worker, connection: FailingConnection) -> None:
    began, release = threading.Event(), threading.Event()
    answers = Answers()

    def hold(_db: sqlite3.Connection) -> None:
        began.set()
        release.wait(PATIENCE)

    worker.post(hold, answers.of("hold"))
    worker.start()
    await asyncio.to_thread(began.wait, PATIENCE)
    for number in (1, 2):
        worker.post(insert(number), answers.of(str(number)))
    release.set()
    await answers.until(3)
    assert connection.statements == ["BEGIN", "COMMIT", "BEGIN", "INSERT", "INSERT", "COMMIT"]


async def test_answers_come_on_the_loop_while_it_does_other_things(worker: Worker) -> None:
    worker.start()
    threads = {await worker.call(lambda _db: threading.current_thread().name)}
    answered = asyncio.get_running_loop().create_future()
    worker.post(lambda _db: None, lambda *_: answered.set_result(threading.current_thread()))
    assert (threads, await answered) == ({"test"}, threading.current_thread())


async def test_a_job_that_fails_fails_alone(worker: Worker, tmp_path: Path) -> None:
    answers = Answers()
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        worker.post(insert(number), answers.of(name))
    worker.start()
    told = await answers.until(3)
    assert [(name, type(error)) for name, error in told] == [
        ("a", type(None)),
        ("b", sqlite3.IntegrityError),
        ("c", type(None)),
    ]
    assert numbers(tmp_path) == [1, 2]


async def test_any_exception_of_a_job_reaches_its_caller_and_the_worker_goes_on(worker: Worker) -> None:
    worker.start()
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda _db: 1 // 0)
    assert await worker.call(lambda _db: 1) == 1


async def test_a_group_whose_commit_failed_is_taken_back(
    worker: Worker, connection: FailingConnection, tmp_path: Path
) -> None:
    connection.fails_on = "COMMIT"
    worker.start()
    with pytest.raises(sqlite3.OperationalError):
        await worker.call(insert(1))
    assert numbers(tmp_path) == []


@pytest.mark.proves("after an I/O error nothing is acknowledged")
async def test_after_an_i_o_error_no_commit_is_tried_again(worker: Worker, connection: FailingConnection) -> None:
    """A second fsync can succeed although the first lost the pages."""
    connection.fails_on = "COMMIT"
    answers = Answers()
    for number in (1, 2):
        worker.post(insert(number), answers.of(str(number)))
    worker.start()
    told = await answers.until(2)
    assert None not in [error for _, error in told]
    assert connection.statements.count("COMMIT") == 1


async def test_after_an_i_o_error_nothing_that_was_queued_is_committed(
    worker: Worker, connection: FailingConnection, tmp_path: Path
) -> None:
    """Nobody knows what the disk holds: a later commit may stand behind a gap."""
    began, release = threading.Event(), threading.Event()
    answers = Answers()

    def fail_once(_db: sqlite3.Connection) -> None:
        began.set()
        release.wait(PATIENCE)
        connection.fails_on = "COMMIT"

    def recover(_db: sqlite3.Connection) -> None:
        connection.fails_on = None

    worker.post(fail_once, answers.of("first"))
    worker.start()
    await asyncio.to_thread(began.wait, PATIENCE)
    worker.post(recover, answers.of("disk is back"))
    worker.post(insert(1), answers.of("second"))
    release.set()
    told = dict(await answers.until(3))
    assert told["second"] is not None
    assert numbers(tmp_path) == []


async def test_stopping_runs_what_is_queued_first(connection: FailingConnection, tmp_path: Path) -> None:
    worker, answers = Worker("test", lambda: connection), Answers()
    worker.start()
    for number in range(100):
        worker.post(insert(number), answers.of(str(number)))
    assert await worker.stop(PATIENCE)
    await answers.until(100)
    assert numbers(tmp_path) == list(range(100))


async def test_a_disk_that_hangs_does_not_hold_up_the_stop(connection: FailingConnection) -> None:
    worker, release = Worker("test", lambda: connection), threading.Event()
    worker.start()
    worker.post(lambda _db: release.wait(PATIENCE), lambda *_: None)
    assert not await worker.stop(0.01)
    release.set()
    assert await worker.stop(PATIENCE)


async def test_the_file_is_opened_on_its_thread(connection: FailingConnection) -> None:
    """A disk that hangs while the file is opened holds up its own thread, not the event loop."""
    release, opened_by = threading.Event(), []

    def connect() -> sqlite3.Connection:
        opened_by.append(threading.current_thread().name)
        release.wait(PATIENCE)
        return connection

    worker = Worker("test", connect)
    worker.start()
    answered = asyncio.ensure_future(worker.call(lambda _db: 1))
    assert not await worker.stop(0.01)
    assert not answered.done()
    release.set()
    assert await answered == 1
    assert opened_by == ["test"]


async def test_every_job_gets_the_error_of_a_file_that_cannot_be_opened() -> None:
    def connect() -> sqlite3.Connection:
        msg = "unable to open database file"
        raise sqlite3.OperationalError(msg)

    worker = Worker("test", connect)
    worker.start()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await worker.call(lambda _db: 1)
    assert await worker.stop(PATIENCE)


async def test_a_caller_that_gave_up_disturbs_nobody(worker: Worker) -> None:
    release = threading.Event()
    worker.start()
    held = asyncio.ensure_future(worker.call(lambda _db: release.wait(PATIENCE)))
    await asyncio.sleep(0)
    held.cancel()
    release.set()
    assert await worker.call(lambda _db: 1) == 1


async def test_a_callback_that_raises_keeps_no_result_of_its_group_from_the_others(worker: Worker) -> None:
    def fail(_result: object, _error: Exception | None) -> None:
        raise ValueError

    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unhandled.append(context.get("exception")))
    worker.post(insert(1), fail)
    second = asyncio.create_task(worker.call(insert(2)))
    await asyncio.sleep(0)
    worker.start()
    async with asyncio.timeout(PATIENCE):
        await second
    assert [type(error) for error in unhandled] == [ValueError]
