"""A machine that loses its power, as far as one daemon can tell: what it wrote and did not fsync is gone.

`losing_power.c`, preloaded, keeps what that was written over.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from struct import Struct
from typing import Final

from tests.faults.preloaded import compile_library

PAGE_BYTES: Final = 4096
"""What a system writes to a disk, whole, when it likes."""
_ENTRY: Final = Struct("=qqq")


class Machine:
    """The machine of whoever is started with these `surroundings`."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Keep in `folder` what the databases of a state directory would lose. Raises `UnavailableError`."""
        self._state, self._unsynced = state, folder / "unsynced"
        self._unsynced.mkdir()
        self._random = Random(1)
        self.surroundings = {
            "LD_PRELOAD": str(compile_library("losing_power.c", folder)),
            "FAULT_PATH": f"{state}/",
            "FAULT_UNSYNCED": str(self._unsynced),
        }
        self.lost: Counter[str] = Counter()
        """Pages that were lost so far, by file."""

    def lose_power(self, surviving: float) -> None:
        """Take back what was not fsynced by a process that was killed, but for a share of its pages."""
        for unsynced in self._unsynced.iterdir():
            path = self._state / unsynced.name
            content, lost = _left(path.read_bytes(), unsynced.read_bytes(), lambda: self._random.random() < surviving)
            path.write_bytes(content)
            unsynced.unlink()
            self.lost[path.name] += lost


def _left(content: bytes, entries: bytes, survives: Callable[[], bool]) -> tuple[bytes, int]:
    """Return what is left of a file, and how many pages are not."""
    synced = _undo(content, entries)
    left, lost = bytearray(), 0
    for start in range(0, max(len(content), len(synced)), PAGE_BYTES):
        page = slice(start, start + PAGE_BYTES)
        kept = content[page] == synced[page] or survives()
        lost += not kept
        if chosen := (content if kept else synced)[page]:
            left += bytes(start - len(left)) + chosen
    return bytes(left), lost


def _undo(content: bytes, entries: bytes) -> bytes:
    """Return what a file was before its entries (`losing_power.c`) were made, the last of which may be cut short."""
    found, at = [], 0
    while at + _ENTRY.size <= len(entries):
        offset, length, size = _ENTRY.unpack_from(entries, at)
        at += _ENTRY.size + length
        if at <= len(entries):
            found.append((offset, entries[at - length : at], size))
    synced = bytearray(content)
    for offset, before, size in reversed(found):
        synced += bytes(max(0, size - len(synced)))
        synced[offset : offset + len(before)] = before
        del synced[size:]
    return bytes(synced)
