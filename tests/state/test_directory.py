"""The state directory: one daemon at a time, and a message that says what to do where there cannot be one."""

import os
import re
import shutil
import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.outbox.spool_file import FILE as SPOOL
from aurora_bridge.outbox.spool_file import open_spool
from aurora_bridge.state.directory import InUseError, StateError, instance_name, locked, room, write_durably

NOBODY: Final = 65_534
HOLD = """
import sys
from pathlib import Path
from aurora_bridge.state.directory import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "lock").read_text() == f"{os.getpid()}\n"


def test_it_can_be_locked_again_after_it_was_released(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            pass


def test_it_is_released_when_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_second_daemon_is_told_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    expected = f"{tmp_path} is used by another aurora-bridge (process {os.getpid()}). Stop that one, or set"
    with locked(tmp_path), pytest.raises(StateError, match=re.escape(expected)), locked(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, which only root can")
def test_what_root_makes_is_the_directory_owners(tmp_path: Path) -> None:
    """A daemon of that user could not read it otherwise, as after a `drain` by root."""
    os.chown(tmp_path, NOBODY, NOBODY)
    with locked(tmp_path):
        write_durably(tmp_path / "cluster", "an-id")
        (tmp_path / SPOOL).write_bytes(b"no database" * 1000)
        with open_spool(tmp_path, 2**26) as db:
            db.execute("PRAGMA user_version=99")
            owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir() if ".broken-" not in path.name}
    assert owners == dict.fromkeys(("lock", "cluster", SPOOL, f"{SPOOL}-wal", f"{SPOOL}-shm"), NOBODY)


def test_a_damaged_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "instance").write_bytes(b"\xff\xfe\n")
    name = instance_name(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert instance_name(tmp_path) == name


def test_a_damaged_lock_file_keeps_a_second_daemon_out_all_the_same(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "lock").write_bytes(b"\xff\xfe\n")
        with pytest.raises(InUseError), locked(tmp_path):
            pass


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(StateError, match=f"process {holder.pid}"), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_path_that_is_no_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expected = (
        f"{tmp_path / 'file'} cannot be used: it is not a directory. Give the daemon's user write access to it, or set"
    )
    with pytest.raises(StateError, match=re.escape(expected)), locked(tmp_path / "file"):
        pass


def test_the_lock_is_the_daemons_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_an_instances_name_is_random_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    name, other = instance_name(tmp_path / "a"), instance_name(tmp_path / "b")
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert name != other
    assert name == instance_name(tmp_path / "a")


def test_a_crash_at_the_first_start_leaves_no_empty_name(tmp_path: Path) -> None:
    (tmp_path / "instance").touch()
    name = instance_name(tmp_path)
    assert name
    assert name == instance_name(tmp_path)


@pytest.mark.parametrize("before", ["", "home\n"])
def test_a_crash_while_a_file_is_written_leaves_what_was_there(
    tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cluster"
    path.write_text(before)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fail)
        with pytest.raises(OSError, match="power"):
            write_durably(path, "away")
    assert path.read_text() == before
    write_durably(path, "away")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("cluster", "away\n")]


def _fail(_descriptor: int) -> None:
    raise OSError(5, "no power")


# Room


def test_the_room_is_that_of_its_volume(tmp_path: Path) -> None:
    size, free = room(tmp_path)
    assert size == shutil.disk_usage(tmp_path).total
    assert 0 < free <= size


def test_a_volume_that_the_system_does_not_tell_of_is_not_a_number(tmp_path: Path) -> None:
    assert all(map(isnan, room(tmp_path / "gone")))
