"""A disk that hangs lets a process wait for one file, and for no other, until it does not hang any more."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.faults.netns import UnavailableError
from tests.faults.preloaded import compile_library
from tests.support.missing import unavailable

WRITE: Final = """
import os, sys
for name in ("spool.db", "index.db-wal"):
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    os.pwrite(file, b"a", 0)
    os.fsync(file)
    print(name, os.path.exists("hangs"), flush=True)
"""


def test_who_writes_to_the_file_waits_until_the_disk_is_well_again(tmp_path: Path) -> None:
    try:
        library = compile_library("hanging_disk.c", tmp_path)
    except UnavailableError as error:
        unavailable(str(error))
    flag = tmp_path / "hangs"
    flag.touch()
    faults = {"LD_PRELOAD": str(library), "FAULT_FLAG": str(flag), "FAULT_NAME": "index.db"}
    command = [sys.executable, "-c", WRITE]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | faults, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spool.db True\n"
        flag.unlink()
        assert process.stdout.readline() == "index.db-wal False\n"
