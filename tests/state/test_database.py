"""Opening a file of the state directory: durable, capped, of a known version; what is broken is moved away and said."""

import logging
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest

from aurora_bridge.state import database
from aurora_bridge.state.database import (
    Format,
    error_code,
    keep_room,
    open_beside,
    open_database,
    reserve_bytes,
    suspect,
)
from aurora_bridge.state.directory import Room, StateError
from tests.state.failing import FailingConnection, connect_failing

PAGE_BYTES = 4096
MAX_BYTES = 64 * PAGE_BYTES


def salvage(broken: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    return broken.execute("SELECT * FROM texts ORDER BY number")


FORM = Format(
    "CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT)",
    7,
    PAGE_BYTES,
    "FULL",
    salvage=salvage,
    insert="INSERT INTO texts VALUES (?, ?)",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture(params=[b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * PAGE_BYTES])
def garbage(path: Path, request: pytest.FixtureRequest) -> bytes:
    content = bytes(request.param)
    path.write_bytes(content)
    return content


def pragma(db: sqlite3.Connection, name: str) -> Any:  # noqa: ANN401 - text or number
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def fill(path: Path, count: int = 50) -> None:
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        db.executemany("INSERT INTO texts VALUES (?, ?)", [(number, "x" * 3000) for number in range(count)])


def damage(path: Path, first_page: int = 20) -> None:
    """Overwrite the file from a page on."""
    with path.open("r+b") as file:
        file.seek(first_page * PAGE_BYTES)
        file.write(b"\xff" * 10 * PAGE_BYTES)


def moved_away(path: Path) -> list[Path]:
    """Return the databases that were moved away, without the files that belong to them."""
    return [file for file in path.parent.glob(f"{path.name}.broken-*") if not file.name.endswith(("-wal", "-shm"))]


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM texts").fetchone()[0])


def corrupt() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT_INDEX
    return error


@pytest.fixture
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        yield db


def test_a_new_file_has_the_schema_and_its_version(opened: sqlite3.Connection) -> None:
    assert (count(opened), pragma(opened, "user_version")) == (0, 7)


def test_a_commit_is_durable_and_readers_do_not_hold_it_up(opened: sqlite3.Connection) -> None:
    full = 2
    assert (pragma(opened, "journal_mode"), pragma(opened, "synchronous")) == ("wal", full)


@pytest.mark.proves("memory and files are bounded", "An attacker cannot: fill the volume with a valid credential")
def test_the_file_is_capped(opened: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        opened.executemany("INSERT INTO texts VALUES (?, ?)", [(number, "x" * PAGE_BYTES) for number in range(64)])
    assert error_code(caught.value) == sqlite3.SQLITE_FULL


def test_what_was_written_is_there_the_next_time(path: Path) -> None:
    fill(path)
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert count(db) == 50


def test_a_file_of_another_version_is_left_alone_and_the_message_says_what_to_do(path: Path) -> None:
    fill(path)
    expected = (
        f"{path} was written by another version of aurora-bridge (format 7, this one reads 8). Start that version"
    )
    with pytest.raises(StateError, match=re.escape(expected)):
        open_database(path, replace(FORM, version=8), MAX_BYTES)
    assert moved_away(path) == []
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert count(db) == 50


def test_a_file_that_is_no_database_is_moved_away_and_a_new_one_made(
    path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert count(db) == 0
    (moved,) = moved_away(path)
    assert moved.read_bytes() == garbage
    assert f"{path} is broken (" in caplog.text
    assert f"moved to {moved}" in caplog.text


def test_two_broken_files_do_not_take_each_others_place(path: Path) -> None:
    for _ in range(2):
        path.write_bytes(b"garbage" * 1000)
        open_database(path, FORM, MAX_BYTES).close()
    assert len(moved_away(path)) == 2


def test_a_file_that_cannot_be_opened_for_another_reason_is_left_alone(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateError, match=re.escape(f"{path} cannot be opened: unable to open database file")):
        open_database(path, FORM, MAX_BYTES)
    assert path.is_dir()


def test_damage_deep_in_the_file_is_looked_for_only_after_a_suspicion(path: Path) -> None:
    fill(path)
    damage(path)
    open_database(path, FORM, MAX_BYTES).close()
    assert moved_away(path) == []
    suspect(path, corrupt())
    open_database(path, FORM, MAX_BYTES).close()
    assert len(moved_away(path)) == 1


def test_a_suspicion_that_proves_wrong_is_forgotten(path: Path) -> None:
    fill(path)
    suspect(path, corrupt())
    for _ in range(2):
        with closing(open_database(path, FORM, MAX_BYTES)) as db:
            assert count(db) == 50
    assert [file.name for file in path.parent.iterdir()] == ["test.db"]


def test_an_i_o_error_is_no_suspicion(path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    for harmless in (error, ValueError("no error of SQLite's")):
        suspect(path, harmless)
    assert list(path.parent.iterdir()) == []


def test_what_can_be_read_of_a_broken_file_is_salvaged_and_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path)
    damage(path)
    suspect(path, corrupt())
    with closing(open_database(path, FORM, MAX_BYTES)) as db, caplog.at_level(logging.WARNING):
        salvaged = count(db)
        assert db.execute("SELECT max(number) FROM texts").fetchone() == (salvaged - 1,)
    assert 0 < salvaged < 50
    assert f"{salvaged} readable rows were salvaged" in caplog.text


class Killed(BaseException):
    """The process was killed."""


def test_a_start_that_is_killed_while_it_salvages_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one salvages again, or goes on with what was salvaged, at whichever rename it happens."""
    rename = Path.rename
    left = 0

    def killed(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return rename(self, target)

    expected = None
    for before in range(10):
        for file in path.parent.iterdir():
            file.unlink()
        fill(path)
        damage(path)
        suspect(path, corrupt())
        left = before
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", killed)
            with suppress(Killed):
                open_database(path, FORM, MAX_BYTES).close()
        with closing(open_database(path, FORM, MAX_BYTES)) as db:
            found = count(db)
        expected = expected or found
        assert (found, len(moved_away(path))) == (expected, 1)
        assert 0 < expected < 50
        if left >= 0:
            break
    assert left == 0
    assert before >= 2


@pytest.mark.parametrize("statement", ["COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)"])
def test_without_room_for_what_is_salvaged_the_start_ends_and_the_next_one_salvages(
    path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    fill(path)
    damage(path)
    suspect(path, corrupt())
    with monkeypatch.context() as patched:
        connect_failing(patched)
        patched.setattr(FailingConnection, "code", sqlite3.SQLITE_FULL)
        patched.setattr(FailingConnection, "fails_on", statement)
        with pytest.raises(StateError, match=re.escape(f"{path} is broken") + ".*Make room .* start again"):
            open_database(path, FORM, MAX_BYTES)
    assert {file.name for file in path.parent.iterdir()} <= {
        f"test.db{suffix}" for suffix in ("", "-wal", "-shm", ".suspect")
    }
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert 0 < count(db) < 50


def test_a_limit_that_was_lowered_does_not_keep_rows_from_being_salvaged(path: Path) -> None:
    fill(path)
    damage(path)
    suspect(path, corrupt())
    with closing(open_database(path, FORM, 10 * PAGE_BYTES)) as db:
        assert 10 < count(db) < 50


def test_where_nothing_can_be_salvaged_there_is_an_empty_file(path: Path, garbage: bytes) -> None:
    del garbage
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert count(db) == 0


def test_an_error_has_sqlites_primary_code_and_other_exceptions_have_none() -> None:
    assert (error_code(corrupt()), error_code(ValueError())) == (sqlite3.SQLITE_CORRUPT, None)


# Room on the volume


def volume(monkeypatch: pytest.MonkeyPatch, *, size: float, free: float) -> None:
    """Have the volume say that it is so large, and has so much room."""
    monkeypatch.setattr(database, "room", lambda _directory: Room(size, free))


def test_a_file_grows_no_further_while_its_volume_has_no_room_to_spare(
    path: Path, opened: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = "INSERT INTO texts (text) VALUES (?)", ("x" * 3 * PAGE_BYTES,)
    volume(monkeypatch, size=16000.0, free=999.0)
    size = pragma(opened, "page_count") * PAGE_BYTES
    assert keep_room(opened, path.parent, MAX_BYTES, reserve_bytes(path.parent)) == size
    with pytest.raises(sqlite3.OperationalError) as caught:
        opened.execute(*insert)
    assert error_code(caught.value) == sqlite3.SQLITE_FULL
    for free in (1000.0, nan):
        volume(monkeypatch, size=16000.0, free=free)
        assert keep_room(opened, path.parent, MAX_BYTES, reserve_bytes(path.parent)) == MAX_BYTES
        opened.execute(*insert)


@pytest.mark.parametrize(("size", "reserve"), [(32 * 2**20, 2 * 2**20), (2**40, 64 * 2**20), (nan, 64 * 2**20)])
def test_what_a_volume_keeps_free_is_a_share_of_a_small_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, size: float, reserve: float
) -> None:
    volume(monkeypatch, size=size, free=0.0)
    assert reserve_bytes(path.parent) == reserve


def test_the_write_ahead_log_stays_below_what_a_small_volume_keeps_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume(monkeypatch, size=16 * 10 * PAGE_BYTES, free=nan)
    with closing(open_database(path, FORM, MAX_BYTES)) as db:
        assert pragma(db, "wal_autocheckpoint") == 5


# What a crash left behind


@pytest.mark.proves("after an I/O error nothing is acknowledged")
def test_what_the_log_was_found_with_is_in_the_file_once_it_is_open(path: Path, opened: sqlite3.Connection) -> None:
    """A failed fsync leaves pages that the system takes for written: they have to be written again."""
    opened.execute("INSERT INTO texts VALUES (1, 'x')")
    left = path.with_name("left-behind.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
    with closing(open_database(left, FORM, MAX_BYTES)):
        without_log = path.with_name("without-log.db")
        shutil.copy(left, without_log)
    with closing(sqlite3.connect(without_log)) as db:
        assert count(db) == 1


def test_a_full_volume_does_not_keep_a_file_from_being_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = connect_failing(monkeypatch)
    monkeypatch.setattr(FailingConnection, "code", sqlite3.SQLITE_FULL)
    monkeypatch.setattr(FailingConnection, "fails_on", "PRAGMA wal_checkpoint")
    open_database(path, FORM, MAX_BYTES).close()
    assert "PRAGMA wal_checkpoint(PASSIVE)" in connections[0].texts


def test_a_disk_that_fails_at_the_start_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_failing(monkeypatch)
    monkeypatch.setattr(FailingConnection, "fails_on", "PRAGMA wal_checkpoint")
    with pytest.raises(StateError, match=re.escape(f"{path} cannot be opened: disk I/O error")):
        open_database(path, FORM, MAX_BYTES)


# Beside a daemon


def test_beside_the_daemon_a_file_is_read_as_of_now(path: Path, opened: sqlite3.Connection) -> None:
    with closing(open_beside(path)) as beside:
        assert count(beside) == 0
        opened.execute("INSERT INTO texts VALUES (1, 'x')")
        assert count(beside) == 1


def test_beside_the_daemon_nothing_is_written(path: Path, opened: sqlite3.Connection) -> None:
    del opened
    with closing(open_beside(path)) as beside, pytest.raises(sqlite3.OperationalError, match="readonly"):
        beside.execute("INSERT INTO texts VALUES (1, 'x')")


@pytest.mark.parametrize("name", ["a#b", "a?b", "100%25", "a b", "ü"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    fill(directory / "test.db")
    with closing(open_beside(directory / "test.db")) as beside:
        assert count(beside) == 50
    damage(directory / "test.db")
    suspect(directory / "test.db", corrupt())
    with closing(open_database(directory / "test.db", FORM, MAX_BYTES)) as db:
        assert count(db) > 0


def test_a_file_that_is_not_there_is_explained_and_not_made(path: Path, garbage: bytes) -> None:
    del garbage
    for unreadable in (path, path.with_name("missing.db")):
        with pytest.raises(StateError, match=r"cannot be read: .*Is this the state directory of a daemon"):
            open_beside(unreadable)
    assert not path.with_name("missing.db").exists()
