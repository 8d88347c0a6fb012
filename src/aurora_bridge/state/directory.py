"""The state directory: creates it, locks it against a second daemon, and tells the room on its volume."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import nan
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.os_errors import reason

LOCK = "lock"
INSTANCE = "instance"
_NAME = re.compile("[0-9a-f]{12}")


class StateError(Exception):
    """The state directory cannot be used. The message says why and what to do."""


class InUseError(StateError):
    """Another process holds the state directory's lock."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"The state directory {directory} is used by another aurora-bridge (process {holder}). Stop that one, "
            "or set AURORA_BRIDGE_STATE_DIR to another directory: two daemons cannot share one."
        )
        self.holder = holder
        """Process id of the holder, from the lock file; `unknown` if that is empty."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the state directory's lock. Raises `StateError` if it is not writable, `InUseError` if another has it."""
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
    _give_to_owner(directory / LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = (directory / LOCK).read_text(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise InUseError(directory, holder) from error
    try:
        yield
    finally:
        os.close(descriptor)


def instance_name(directory: Path) -> str:
    """Return the random name of this replica, created at its first start and kept in the state directory."""
    path = directory / INSTANCE
    try:
        name = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        name = ""
    if not _NAME.fullmatch(name):
        name = os.urandom(6).hex()
        write_durably(path, name)
    return name


def write_durably(path: Path, line: str) -> None:
    """Write a file of one line, so that a crash leaves either the old or the new content. Raises `OSError`."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    rename_durably(new, path)


def rename_durably(path: Path, target: Path) -> None:
    """Rename a file within its directory, with fsync, and let the directory's owner own it. Raises `OSError`."""
    _give_to_owner(path)
    path.rename(target)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _give_to_owner(path: Path) -> None:
    """As root, give a file to the owner of its directory, whose daemon has to read it. SQLite does the same."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        with suppress(PermissionError):  # root in a container may lack CAP_CHOWN
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


class Room(NamedTuple):
    """Size and free space of a volume, in bytes."""

    size: float
    free: float
    """What this process's user may use."""


def room(directory: Path) -> Room:
    """Return the room on a directory's volume; NaN if that cannot be read, as from a failed disk."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return Room(nan, nan)
    return Room(usage.total, usage.free)
