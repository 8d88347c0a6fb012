"""The state directory: made if it is missing, and locked against a second daemon; how much room its volume has."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.os_errors import reason

LOCK = "lock"
INSTANCE = "instance"


class StateError(Exception):
    """The state directory cannot be used. The message says why and what to do."""


class InUseError(StateError):
    """Another process has the state directory."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"The state directory {directory} is used by another aurora-bridge (process {holder}). Stop that one, "
            "or set AURORA_BRIDGE_STATE_DIR to another directory: two daemons cannot share one."
        )
        self.holder = holder
        """Its process id, as it wrote it."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the state directory. Raises `StateError`: not writable, or `InUseError`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = "it is not a directory" if isinstance(error, FileExistsError) else reason(error)
        msg = (
            f"The state directory {directory} cannot be used: {why}. Give the daemon's user write access to "
            "it, or set AURORA_BRIDGE_STATE_DIR to another directory."
        )
        raise StateError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = (directory / LOCK).read_text().strip() or "unknown"
        os.close(descriptor)
        raise InUseError(directory, holder) from error
    try:
        yield
    finally:
        os.close(descriptor)


def instance_name(directory: Path) -> str:
    """Return the random name of this instance, made at its first start and kept in the state directory."""
    path = directory / INSTANCE
    try:
        name = path.read_text().strip()
    except FileNotFoundError:
        name = ""
    if not name:
        name = os.urandom(6).hex()
        write_durably(path, name)
    return name


def write_durably(path: Path, line: str) -> None:
    """Write a file of one line so that a crash leaves the old one or the new one. Raises `OSError`."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Room(NamedTuple):
    """The volume of a directory, in bytes."""

    size: float
    free: float
    """For this process's user."""


def room(directory: Path) -> Room:
    """Return the room on a directory's volume; NaN while the system does not tell, as of a disk that failed."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return Room(nan, nan)
    return Room(usage.total, usage.free)
