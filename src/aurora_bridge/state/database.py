"""Opens a SQLite file of the state directory: write-ahead log, capped size, schema version, and what to do when broken.

Only a file that SQLite calls corrupt, or no database, is moved, to a name with the time; any other error to open
one ends the start, since a file that cannot be read now may hold acknowledged events.

A volume that is full would be a trap: to delete a row, too, the write-ahead log has to grow. So the files stop growing
while there is still room enough to empty them (`keep_room`), whoever filled it.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from aurora_bridge.os_errors import reason, user
from aurora_bridge.state.directory import StateError, room

log = logging.getLogger(__name__)

_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF
"""SQLite's extended error codes carry the primary one in their low byte."""

_RESERVE_BYTES = 64 * 2**20
_RESERVE_SHARE = 16
"""Of the volume, on a small one: less than what the alert AuroraBridgeStateDisk leaves free."""

Salvage = Callable[[sqlite3.Connection, sqlite3.Connection], None]
T = TypeVar("T")


def error_code(error: BaseException) -> int | None:
    """Return SQLite's primary error code of an exception, None if it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


@dataclass(frozen=True, slots=True)
class Format:
    """What a file of the state directory is like."""

    schema: str
    version: int
    """Written into the file; another version of the daemon can tell whether it reads it."""
    page_bytes: int
    synchronous: str
    """SQLite's `synchronous`: FULL makes a commit durable, NORMAL only consistent."""
    cache_kib: int = 2000
    """Memory for pages."""
    checkpoint_pages: int = 1000
    """Pages in the write-ahead log at which it is copied into the file."""
    salvage: Salvage | None = None
    """Copies the readable rows of a broken file into a new one; may fail when it comes to what cannot be read."""
    migrations: Mapping[int, str] = field(default_factory=dict)
    """By older version: the SQL that brings such a file to this one, in place."""


def open_database(path: Path, form: Format, max_bytes: int) -> sqlite3.Connection:
    """Open the database at `path`, made if missing, at most `max_bytes` large (its write-ahead log not counted).

    A broken one is moved away. Raises `StateError`.
    """
    try:
        return open_as_is(path, form, max_bytes)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            msg = (
                f"{path} cannot be opened: {error} for the user {user()}. Check the volume and its permissions; "
                "nothing in it was changed."
            )
            raise StateError(msg) from error
        moved = _move_away(path)
        log.error("%s is broken (%s): moved to %s", path, error, moved)  # noqa: TRY400 - the trace adds nothing
    connection = open_as_is(path, form, max_bytes)
    if form.salvage is not None:
        log.warning("%d readable rows were salvaged from %s", _salvage(moved, connection, form.salvage), moved)
    return connection


def open_and_read(
    path: Path, form: Format, max_bytes: int, read: Callable[[sqlite3.Connection], T]
) -> tuple[sqlite3.Connection, T]:
    """Open like `open_database`, and return also what `read` reads: a file that turns out broken there is moved."""
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
    """Open the database at `path`, made if missing. Raises `sqlite3.Error`, and `StateError` for another version."""
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
            _check_whole(connection)
            _suspicion(path).unlink()
        if form.synchronous == "FULL":
            make_durable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Write what the write-ahead log holds into the file, with fsync.

    As for what a log is found with: the process before may have ended between write and fsync, or because that failed.
    The system then has the pages in its cache and takes them for written, though they are not (Rebello et al., USENIX
    ATC 2020). They must not be relied on as they are. A volume without room for that keeps them where they are.
    """
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.OperationalError as error:
        if error_code(error) != sqlite3.SQLITE_FULL:
            raise


def reserve_bytes(directory: Path) -> float:
    """Return how much of the volume of a directory the files leave free: what it takes to empty them."""
    return min(_RESERVE_BYTES, room(directory).size / _RESERVE_SHARE)


def keep_room(connection: sqlite3.Connection, directory: Path, max_bytes: int, reserve: float) -> int:
    """Let a file grow up to `max_bytes`, but no further while its volume has less than `reserve` bytes free.

    Return the size that it may have now.
    """
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    pages = 1 if room(directory).free < reserve else max_bytes // page_bytes  # SQLite takes its size for the least
    (limit,) = connection.execute(f"PRAGMA max_page_count={pages}").fetchone()
    return int(limit) * int(page_bytes)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of a file is in use."""
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


def _check_whole(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def suspect(path: Path, error: BaseException) -> None:
    """Have the next start check the whole file, if `error` says that it is broken.

    Not at every start: a check reads the file, and a daemon should listen within a second.
    """
    if is_broken(error):
        _suspicion(path).touch()


def broken_files(directory: Path, name: str) -> list[str]:
    """Return the names of the files that were moved away as broken, of those called `name`."""
    found = (path.name for path in directory.glob(f"{name}.broken-*"))
    return sorted(file for file in found if not file.endswith(("-wal", "-shm")))


def _suspicion(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")


def _move_away(path: Path) -> Path:
    _suspicion(path).unlink(missing_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    moved = path.with_name(f"{path.name}.broken-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(moved.with_name(moved.name + suffix))
    return moved


def _salvage(moved: Path, connection: sqlite3.Connection, salvage: Salvage) -> int:
    try:
        broken = sqlite3.connect(_read_only(moved), uri=True)
    except sqlite3.DatabaseError:
        return 0
    before = connection.total_changes
    connection.execute("BEGIN IMMEDIATE")
    try:
        salvage(broken, connection)
    except sqlite3.DatabaseError as error:
        log.error("the rest of %s cannot be read: %s", moved, error)  # noqa: TRY400 - the trace adds nothing
    finally:
        broken.close()
    connection.execute("COMMIT")
    return connection.total_changes - before


def _read_only(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}?mode=ro"


def open_beside(path: Path) -> sqlite3.Connection:
    """Open a database for reading beside the daemon that writes it. Raises `StateError`."""
    connection = None
    try:
        path.open("rb").close()  # the system says why that cannot be, which SQLite does not
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
