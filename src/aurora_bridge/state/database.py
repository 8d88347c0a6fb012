"""Opens SQLite files in the state directory: write-ahead log, capped size, schema version, and recovery if broken.

Only a file that SQLite reports as corrupt, or as no database, is renamed, with the time in its new name, once all of it
that can be read is in a new file beside it: a start that is interrupted before loses nothing. Any other error in
opening one ends the start, because a file that cannot be read now may hold acknowledged events.

A full volume would be a trap: even deleting a row makes the write-ahead log grow. So the files stop growing while there
is still enough room to empty them (`keep_room`), whoever filled the volume.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from aurora_bridge.os_errors import reason, user
from aurora_bridge.state.directory import StateError, rename_durably, room

log = logging.getLogger(__name__)

_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF
"""SQLite's extended error codes carry the primary one in their low byte."""

_RESERVE_BYTES = 64 * 2**20
_RESERVE_SHARE = 16
"""On a small volume, the reserve is this fraction (1/16) of it: the alert AuroraBridgeStateDisk fires before."""

_UNLIMITED = 2**42
"""For what is salvaged: the file's limit may have been lowered since."""
_PARTS = ("", "-wal", "-shm")

Salvage = Callable[[sqlite3.Connection], Iterator[tuple[object, ...]]]
T = TypeVar("T")


def error_code(error: BaseException) -> int | None:
    """Return SQLite's primary error code of an exception, None if it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


@dataclass(frozen=True, slots=True)
class Format:
    """Format and options of a file."""

    schema: str
    version: int
    """Written into the file, so that another version of the daemon can tell whether it can read it."""
    page_bytes: int
    synchronous: str
    """SQLite's `synchronous`: FULL makes a commit durable, NORMAL only consistent."""
    cache_kib: int = 2000
    """Size of the page cache."""
    checkpoint_pages: int = 1000
    """Pages in the write-ahead log that trigger a checkpoint."""
    salvage: Salvage | None = None
    """Yields the readable rows of a broken file. May raise when it meets what cannot be read."""
    check: Callable[[sqlite3.Connection], None] | None = None
    """Reads all rows after a suspicion. Raises `sqlite3.DatabaseError` (`corrupt`) if one is damaged."""
    insert: str = ""
    """SQL that stores a salvaged row."""
    migrations: Mapping[int, str] = field(default_factory=dict)
    """SQL that migrates a file of an older version in place, by version."""


def open_database(path: Path, form: Format, max_bytes: int) -> sqlite3.Connection:
    """Open the database at `path`, created if missing, with at most `max_bytes` (not counting its write-ahead log).

    A broken one is renamed, and replaced by a new one. Raises `StateError`.
    """
    _replace(path)  # an earlier start may have ended before that
    try:
        return open_as_is(path, form, max_bytes)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            msg = (
                f"{path} cannot be opened: {error} for the user {user()}. Check the volume and its permissions; "
                "nothing in it was changed."
            )
            raise StateError(msg) from error
        log.error("%s is broken (%s)", path, error)  # noqa: TRY400 - the trace adds nothing
    _salvage(path, form)
    _replace(path)
    return open_as_is(path, form, max_bytes)


def open_and_read(
    path: Path, form: Format, max_bytes: int, read: Callable[[sqlite3.Connection], T]
) -> tuple[sqlite3.Connection, T]:
    """Open like `open_database`, and also return the result of `read`. If `read` finds it broken, it is replaced."""
    connection = open_database(path, form, max_bytes)
    try:
        return connection, read(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if not is_broken(error):
            msg = f"{path} cannot be read: {error}. Check the volume; nothing in it was changed."
            raise StateError(msg) from error
        suspect(path, error)
    connection = open_database(path, form, max_bytes)
    return connection, read(connection)


def is_broken(error: BaseException) -> bool:
    """Whether an error says that the file is corrupt, or no database."""
    return error_code(error) in _BROKEN


def open_as_is(path: Path, form: Format, max_bytes: int) -> sqlite3.Connection:
    """Open the database at `path`, created if missing. Raises `sqlite3.Error`, and `StateError` for another version."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1, cached_statements=64)
    try:
        connection.execute(f"PRAGMA page_size={form.page_bytes}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={form.synchronous}")
        connection.execute(f"PRAGMA cache_size=-{form.cache_kib}")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        log_pages = min(form.checkpoint_pages, int(reserve_bytes(path.parent)) // 2 // page_bytes)
        connection.execute(f"PRAGMA wal_autocheckpoint={log_pages}")
        connection.execute(f"PRAGMA max_page_count={max_bytes // page_bytes}")
        _check_version(connection, path, form)
        if _suspicion(path).exists():
            _check_whole(connection, form)
            _suspicion(path).unlink()
        if form.synchronous == "FULL":
            make_durable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Write the content of the write-ahead log to the file, with fsync.

    A log that an earlier process left behind cannot be trusted: that process may have ended between write and fsync, or
    because fsync failed. Then the kernel has the pages in its cache and counts them as written, though they are not on
    the disk (Rebello et al., USENIX ATC 2020). On a full volume, they stay in the log.
    """
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.OperationalError as error:
        if error_code(error) != sqlite3.SQLITE_FULL:
            raise


def reserve_bytes(directory: Path) -> float:
    """Return how many bytes of a directory's volume the files leave free: enough to empty them."""
    return min(_RESERVE_BYTES, room(directory).size / _RESERVE_SHARE)


def keep_room(connection: sqlite3.Connection, directory: Path, max_bytes: int, reserve: float) -> int:
    """Let a file grow up to `max_bytes`, but not at all while its volume has less than `reserve` bytes free.

    Returns the size that it may have now, in bytes.
    """
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    pages = 1 if room(directory).free < reserve else max_bytes // page_bytes  # SQLite raises 1 to the current size
    (limit,) = connection.execute(f"PRAGMA max_page_count={pages}").fetchone()
    return int(limit) * int(page_bytes)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how many bytes of a file are in use."""
    pages, free, page_bytes = (
        int(connection.execute(f"PRAGMA {what}").fetchone()[0])
        for what in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page_bytes


def _check_version(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    sql = form.schema if found == 0 else form.migrations.get(found)
    if found == form.version:
        return
    if sql is None:
        msg = (
            f"{path} was written by another version of aurora-bridge (format {found}, this one reads {form.version}). "
            "Start that version again, let it empty its spool, and stop it before you change versions."
        )
        raise StateError(msg)
    connection.executescript(f"BEGIN;{sql};PRAGMA user_version={form.version};COMMIT")


def _check_whole(connection: sqlite3.Connection, form: Format) -> None:
    (message,) = connection.execute("PRAGMA integrity_check(1)").fetchone()  # unlike quick_check, it reads the indexes
    if message != "ok":
        raise corrupt(message)
    if form.check is not None:
        form.check(connection)


def corrupt(message: str) -> sqlite3.DatabaseError:
    """Return an error that says that a file is corrupt."""
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def suspect(path: Path, error: BaseException) -> None:
    """Make the next start check the whole file, if `error` says that it is broken.

    Not every start does so: a check reads the whole file, and a daemon should listen within a second.
    """
    if is_broken(error):
        _suspicion(path).touch()


@contextmanager
def for_command(path: Path, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Have a command use a connection to the file at `path`, then close it. Raises `StateError` if the file is broken.

    The next start checks it then.
    """
    with closing(connection):
        try:
            yield connection
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            suspect(path, error)
            msg = f"{path} is damaged: {error}. Restart the daemon: its start salvages what can be read."
            raise StateError(msg) from error


def is_there(path: Path) -> bool:
    """Whether there is a file, or what a start that was interrupted salvaged of one: the next start puts it there."""
    return path.exists() or _salvaged(path).exists()


def broken_files(directory: Path, name: str) -> list[str]:
    """Return the new names of files called `name` that were renamed as broken."""
    found = (path.name for path in directory.glob(f"{name}.broken-*"))
    return sorted(file for file in found if not file.endswith(("-wal", "-shm")))


def _suspicion(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")


def _salvage(path: Path, form: Format) -> None:
    """Copy what can be read of a broken file into a new one, called `_salvaged` once it is complete."""
    new = path.with_name(path.name + ".salvaging")
    _remove(new)
    try:
        with closing(open_as_is(new, form, _UNLIMITED)) as connection:
            if form.salvage is not None:
                connection.execute("BEGIN IMMEDIATE")
                count = connection.executemany(form.insert, _readable(path, form.salvage)).rowcount
                connection.execute("COMMIT")
                log.error("%d readable rows were salvaged from %s", count, path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        _remove(new)
        msg = (
            f"{path} is broken, and what can be read of it cannot be copied beside it: {error}. Make room on the "
            "volume, twice the size of that file, and start again; nothing in it was changed."
        )
        raise StateError(msg) from error
    rename_durably(new, _salvaged(path))


def _readable(path: Path, salvage: Salvage) -> Iterator[tuple[object, ...]]:
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True)) as broken:
            broken.execute("PRAGMA writable_schema=ON")  # it also opens a file that was cut short
            yield from salvage(broken)
    except sqlite3.DatabaseError as error:
        log.error("the rest of %s cannot be read: %s", path, error)  # noqa: TRY400 - the trace adds nothing


def _replace(path: Path) -> None:
    """Move a broken file away, and what was salvaged of it into its place, if that is complete."""
    if not _salvaged(path).exists():
        return
    _suspicion(path).unlink(missing_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        moved = path.with_name(f"{path.name}.broken-{stamp}{suffix}")
        if part.exists():
            rename_durably(part, moved)
            log.error("%s was moved to %s", part, moved)
    rename_durably(_salvaged(path), path)


def _salvaged(path: Path) -> Path:
    return path.with_name(path.name + ".salvaged")


def _remove(path: Path) -> None:
    for suffix in _PARTS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _read_only(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}?mode=ro"


def open_beside(path: Path) -> sqlite3.Connection:
    """Open a database for reading, while the daemon may be writing it. Raises `StateError`."""
    connection = None
    try:
        path.open("rb").close()  # the error says why, which SQLite's does not
        connection = sqlite3.connect(_read_only(path), uri=True, isolation_level=None, timeout=5)
        connection.execute("PRAGMA query_only=1")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (OSError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        why = reason(error) if isinstance(error, OSError) else f"{error} for the user {user()}"
        msg = f"{path} cannot be read: {why}. Is this the state directory of a daemon that ran here?"
        raise StateError(msg) from error
    return connection
