"""Reads the index of a state directory for the commands, while the daemon may be writing it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from aurora_bridge.dedup import index, outstanding
from aurora_bridge.state.database import open_beside
from aurora_bridge.state.directory import StateError

T = TypeVar("T")


def known_of(directory: Path, fingerprint: str) -> index.Row | None:
    """Return what the index of a state directory knows of a fingerprint. Raises `StateError` and `OSError`."""
    if not (directory / index.FILE).exists():
        return None
    return _read(directory, lambda db: index.find(db, [fingerprint], []).rows.get(fingerprint))


def missing_of(directory: Path) -> outstanding.Found:
    """Return what the index of a state directory knows of deliveries that did not get in. Raises `StateError`."""
    return _read(directory, outstanding.read)


def _read(directory: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    path = directory / index.FILE
    try:
        with closing(open_beside(path)) as db:
            return read(db)
    except sqlite3.Error as error:
        msg = f"{path} cannot be read: {error}. If it is damaged: rm {path}* while the daemon runs, which rebuilds it."
        raise StateError(msg) from error
