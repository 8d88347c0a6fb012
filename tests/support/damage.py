"""What a failing disk does to the files of a state directory."""

import sqlite3
from contextlib import closing
from pathlib import Path


def damage_events(spool: Path) -> None:
    """Overwrite a page that holds events, of a spool that nobody uses and that has several."""
    damage_table(spool, "events")


def damage_table(path: Path, table: str) -> None:
    """Overwrite a page of a table that has several, in a file that nobody uses."""
    with closing(sqlite3.connect(path)) as db:  # its end leaves no write-ahead log, which would fix the page
        (size,) = db.execute("PRAGMA page_size").fetchone()
        pages = db.execute("SELECT pageno FROM dbstat WHERE name=? AND pagetype='leaf'", (table,)).fetchall()
    with path.open("r+b") as file:
        file.seek((pages[len(pages) // 2][0] - 1) * size)
        file.write(b"\xff" * size)
