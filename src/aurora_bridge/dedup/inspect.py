"""Reads the index of a state directory for the commands, while the daemon may be writing it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from aurora_bridge.dedup import index, outstanding
from aurora_bridge.state.database import open_beside


def known_of(directory: Path, fingerprint: str) -> index.Row | None:
    """Return what the index of a state directory knows of a fingerprint. Raises `StateError` and `OSError`."""
    path = directory / index.FILE
    if not path.exists():
        return None
    with closing(open_beside(path)) as db:
        try:
            return index.find(db, [fingerprint], []).rows.get(fingerprint)
        except sqlite3.Error:
            return None  # damaged, or of another version: the daemon recreates it


def missing_of(directory: Path) -> outstanding.Found:
    """Return what the index of a state directory knows of deliveries that did not get in. Raises `StateError`."""
    with closing(open_beside(directory / index.FILE)) as db:
        try:
            return outstanding.read(db)
        except sqlite3.Error:
            return outstanding.Found()  # damaged, or of another version: the daemon recreates it
