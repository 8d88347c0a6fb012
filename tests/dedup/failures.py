"""Failures of the index file of a life, one context manager each: it fails inside, and works again behind it."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from aurora_bridge.dedup import index
from tests.dedup.life import Life, failing, until

Failure = Callable[[Life], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def errors(life: Life, code: int) -> AsyncIterator[None]:
    """Let the file fail at everything; this is noticed."""
    with failing("find", "write", "learn", "note", "fingerprints", "expire", "begin_when_due", "found", code=code):
        yield
        await until(lambda: life.failed)


@asynccontextmanager
async def no_room(life: Life) -> AsyncIterator[None]:
    """Let the file take nothing, and not even make room, as on a volume that is full."""
    del life
    with failing("write", "learn", "forget_oldest", code=sqlite3.SQLITE_FULL):
        yield


@asynccontextmanager
async def hangs(life: Life) -> AsyncIterator[None]:
    """Let the disk hang."""
    async with life.hanging() as gate:
        yield
        gate.set()
        await until(lambda: not life.failed)


@asynccontextmanager
async def is_damaged(life: Life) -> AsyncIterator[None]:
    """Overwrite every page of the file but the first, and what its log has of them; nothing of it is cached."""
    reading = life.log.current
    await life.written()
    await life.asked(lambda db: db.execute("PRAGMA shrink_memory"))
    for suffix, kept in (("", 4096), ("-wal", 32)):
        path = life.directory / f"{index.FILE}{suffix}"
        with path.open("r+b") as file:
            file.seek(kept)
            file.write(b"\xff" * max(0, path.stat().st_size - kept))
    yield
    await until(lambda: life.log.current is not reading)


@asynccontextmanager
async def is_removed(life: Life) -> AsyncIterator[None]:
    """Remove the file."""
    reading = life.log.current
    index.remove(life.directory / index.FILE)
    yield
    await until(lambda: life.log.current is not reading)


@asynccontextmanager
async def is_replaced(life: Life) -> AsyncIterator[None]:
    """Put something else in its place."""
    reading = life.log.current
    other = life.directory / "other"
    other.write_bytes(b"no database" * 1000)
    other.replace(life.directory / index.FILE)
    yield
    await until(lambda: life.log.current is not reading)


FAILURES: dict[str, Failure] = {
    "an I/O error": partial(errors, code=sqlite3.SQLITE_IOERR),
    "a volume that is read-only": partial(errors, code=sqlite3.SQLITE_READONLY),
    "a file that is locked": partial(errors, code=sqlite3.SQLITE_BUSY),
    "a page that is damaged": partial(errors, code=sqlite3.SQLITE_CORRUPT),
    "a volume without room": no_room,
    "a disk that hangs": hangs,
    "a file that is damaged": is_damaged,
    "a file that is removed": is_removed,
    "a file that is replaced": is_replaced,
}
