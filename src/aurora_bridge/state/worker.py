"""One thread for one SQLite file: takes jobs, commits them in groups, and answers on the event loop.

All jobs that wait when the thread is free share one transaction: one fsync answers for all of them. A group that fails
is taken back and its jobs run one by one, so that a job's failure is its own; but after an I/O error, or when the file
is broken, nothing is tried again: nobody knows what the disk holds. Answers come in the order of the jobs.

The thread opens the file itself: a disk that hangs holds up nobody else. If it cannot be opened, every job gets that
error.

A job should be few statements over many rows (`json_each`), not many statements: each `sqlite3_step` gives up the GIL,
and a busy event loop takes its time to give it back.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from aurora_bridge.state.database import error_code

_FINAL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

Connect = Callable[[], sqlite3.Connection]
Job = Callable[[sqlite3.Connection], Any]
Done = Callable[[Any, Exception | None], None]
_Posted = tuple[Job, Done]
_Answer = tuple[Done, Any, Exception | None]


async def result_of(post: Callable[[Job, Done], object], job: Job) -> Any:  # noqa: ANN401 - whatever the job returns
    """Queue a job with `post` and return its result. Raises what the job or its commit raised."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(result: Any, error: Exception | None) -> None:  # noqa: ANN401
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    post(job, done)
    return await future


class Worker:
    """Runs jobs on one connection. `start` and `stop` belong to the loop that gets the answers."""

    def __init__(self, name: str, connect: Connect) -> None:
        """Run jobs on a thread called `name`, on the connection (in autocommit) that `connect` opens there."""
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._jobs: SimpleQueue[_Posted | Connect | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: Exception | None = None

    def start(self) -> None:
        """Start the thread; answers go to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self, patience: float) -> bool:
        """Run what is queued, then end the thread; False if it did not end within `patience` seconds."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, patience)
        return not self._thread.is_alive()

    def reopen(self, connect: Connect) -> None:
        """Close the connection, behind the jobs that are queued, and go on with the one that `connect` opens."""
        self._jobs.put(connect)

    def post(self, job: Job, done: Done) -> None:
        """Queue a job. `done` is called on the loop with its result, or the exception of job or commit."""
        self._jobs.put((job, done))

    async def call(self, job: Job) -> Any:  # noqa: ANN401 - whatever the job returns
        """Run a job and return its result."""
        return await result_of(self.post, job)

    def _run(self) -> None:
        self._open()
        stopping = False
        while not stopping:
            posted, then = self._next()
            if posted:
                answers = self._commit(posted)
                if self._loop is not None and not self._loop.is_closed():
                    self._loop.call_soon_threadsafe(_deliver, answers)
            if callable(then):
                self._close()
                self._connect = then
                self._open()
            stopping = then is None
        self._close()

    def _next(self) -> tuple[list[_Posted], Connect | _Posted | None]:
        """Return the jobs that wait, and the last of them or what is to be done behind them.

        What was posted behind the word to stop is done before it.
        """
        posted: list[_Posted] = []
        stop = False
        while True:
            one = self._jobs.get()
            if callable(one):
                return posted, one
            if one is None:
                stop = True
            else:
                posted.append(one)
            if self._jobs.empty():
                return posted, None if stop else one

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self._broken = None
        try:
            self._connection = self._connect()
        except Exception as error:  # noqa: BLE001 - handed to whoever posts a job
            self._broken = error

    def _commit(self, posted: list[_Posted]) -> list[_Answer]:
        connection = self._connection
        if connection is None or self._broken is not None:
            return [(done, None, self._broken) for _, done in posted]
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [job(connection) for job, _ in posted]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to whoever posted the job
            _rollback(connection)
            if error_code(error) in _FINAL:
                self._broken = error
                return self._commit(posted)
            if len(posted) == 1:
                return [(posted[0][1], None, error)]
            return [answer for one in posted for answer in self._commit([one])]
        return [(done, result, None) for (_, done), result in zip(posted, results, strict=True)]


def _rollback(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        """SQLite rolled back by itself, or the file is beyond help: the next job's error says so."""


def _deliver(answers: list[_Answer]) -> None:
    for done, result, error in answers:
        done(result, error)
