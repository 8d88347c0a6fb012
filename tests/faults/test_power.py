"""A power cut takes what was not fsynced, all of it or some pages, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.faults.netns import UnavailableError
from tests.faults.power import PAGE_BYTES, Machine
from tests.support.missing import unavailable

WRITE: Final = """
import os, signal, sys
page = 4096
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, b"a" * 4 * page, 0)
os.fsync(file)
os.pwrite(file, b"b" * page, page)
os.pwrite(file, b"c" * 3 * page, 3 * page)
os.ftruncate(file, 5 * page)
os.pwrite(file, b"d" * page, page)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "state").mkdir()
    try:
        return Machine(tmp_path, tmp_path / "state")
    except UnavailableError as error:
        unavailable(str(error))


def written(machine: Machine, file: Path) -> bytes:
    """Have a process write to a file, and be killed; return what the system has of it."""
    subprocess.run([sys.executable, "-c", WRITE, file], check=False, env=os.environ | machine.surroundings)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("surviving", "left", "lost"), [(0.0, b"aaaa", 3), (1.0, b"adacc", 0)], ids=["nothing stays", "all stays"]
)
def test_what_was_not_fsynced_is_gone_as_far_as_it_does_not_survive(
    machine: Machine, tmp_path: Path, surviving: float, left: bytes, lost: int
) -> None:
    file = tmp_path / "state" / "some.db-wal"
    assert written(machine, file)[::PAGE_BYTES] == b"adacc"
    machine.lose_power(surviving)
    assert file.read_bytes() == b"".join(bytes([letter]) * PAGE_BYTES for letter in left)
    assert machine.lost[file.name] == lost


def test_each_page_is_lost_or_not(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "state" / "some.db"
    written(machine, file)
    machine.lose_power(0.5)
    pages = file.read_bytes()[::PAGE_BYTES]
    assert pages[1:2] in {b"a", b"d"}
    assert pages[3:4] in {b"a", b"c"}
    assert pages[4:] in {b"", b"c"}


def test_nothing_else_is_touched(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    before = written(machine, file)
    machine.lose_power(0.0)
    assert file.read_bytes() == before
