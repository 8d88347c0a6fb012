"""One thread for one SQLite file: runs jobs, commits them in groups, and delivers the results on the event loop.

All jobs that wait when the thread is free share one transaction, and so one fsync. If a group fails, it is rolled back
and its jobs run one by one, so that a job only fails by its own error. But after an I/O error, or if the file is
broken, nothing is retried: nobody knows what the disk holds. Results come in the order of the jobs.

The thread opens the file itself, so that a disk that hangs does not block the event loop. If it cannot be opened, every
job gets that error.

A job should have few statements over many rows (`json_each`), not many statements: each `sqlite3_step` releases the
GIL, and a busy event loop is slow to give it back.
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
    """Runs jobs on one connection. Call `start` and `stop` on the event loop that gets the results."""

    def __init__(self, name: str, connect: Connect) -> None:
        """Run jobs on a thread called `name`, on the autocommit connection that `connect` opens there."""
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._jobs: SimpleQueue[_Posted | Connect | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: Exception | None = None

    def start(self) -> None:
        """Start the thread; results go to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self, patience: float) -> bool:
        """Run the queued jobs, then end the thread. Returns False if it did not end within `patience` seconds."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, patience)
        return not self._thread.is_alive()

    def reopen(self, connect: Connect) -> None:
        """Replace the connection, after the queued jobs, by one that `connect` opens."""
        self._jobs.put(connect)

    def post(self, job: Job, done: Done) -> None:
        """Queue a job. `done` is called on the event loop with its result, or the error of the job or its commit."""
        self._jobs.put((job, done))

    async def call(self, job: Job) -> Any:  # noqa: ANN401 - whatever the job returns
        """Run a job and return its result. Raises what the job or its commit raised."""
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
        """Return the waiting jobs, and what to do after them: open another connection, stop (None), or continue.

        Jobs that were posted after a stop still run before it.
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
        """SQLite has rolled back by itself, or the file has failed: then the next job's error says so."""


def _deliver(answers: list[_Answer]) -> None:
    for done, result, error in answers:
        try:
            done(result, error)
        except Exception as raised:  # noqa: BLE001 - as if each had a turn of the loop of its own
            asyncio.get_running_loop().call_exception_handler({"message": f"{done} raised", "exception": raised})
