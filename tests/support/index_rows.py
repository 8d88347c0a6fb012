"""What an index file holds, by its segments: of each key the newest row counts."""

import sqlite3
from typing import Any


def rows_of(db: sqlite3.Connection, table: str = "seen") -> list[tuple[Any, ...]]:
    """Return the rows of `seen`, or of `latest`."""
    newest: dict[str, tuple[Any, ...]] = {}
    for (number,) in db.execute("SELECT number FROM segments ORDER BY number").fetchall():
        newest.update((row[0], row) for row in db.execute(f"SELECT * FROM {table}_{number}"))  # noqa: S608 - constants
    return list(newest.values())
