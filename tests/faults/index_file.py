"""What is done to the file of an index."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_SCHEMA_3: Final = """
CREATE TABLE journal (number INTEGER PRIMARY KEY, rewritten INTEGER NOT NULL, claims TEXT NOT NULL);
CREATE TABLE seen (
    fingerprint TEXT PRIMARY KEY, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, standing INTEGER NOT NULL,
    repeat INTEGER NOT NULL, time_us INTEGER NOT NULL, id_ms INTEGER NOT NULL, attempt_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE latest (family_key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, first_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE followed (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE instances (name TEXT PRIMARY KEY, time_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (ran_us INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE state (
    last_seq INTEGER NOT NULL, ran_us INTEGER NOT NULL, forgotten_us INTEGER NOT NULL, boot TEXT NOT NULL,
    clean INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 1000000, 0, '', 1);
INSERT INTO seen VALUES ('0123456789abcdef0123456789abcdef', 1, 1, 1, 0, 1790000000000000, 0, 1790000000000000, 1);
PRAGMA user_version = 3
"""
"""The schema of version 0.1.0, before the index became a cache of the log."""
_LEAVES: Final = """
SELECT name, pageno FROM dbstat JOIN sqlite_schema USING (name)
WHERE pagetype = 'leaf' AND sql LIKE '%fingerprint%' ORDER BY pageno
"""


def damage(path: Path) -> None:
    """Overwrite every other page of the largest table of fingerprints."""
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the write-ahead log would fix them
        (size,) = db.execute("PRAGMA page_size").fetchone()
        leaves = db.execute(_LEAVES).fetchall()
    tables = [name for name, _ in leaves]
    largest = max(tables, key=tables.count)
    with path.open("r+b") as file:
        for page in [page for name, page in leaves if name == largest][::2]:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


def overwrite(path: Path) -> None:
    """Make it no database at all."""
    remove(path)
    path.write_bytes(random.Random(1).randbytes(100_000))


def make_older(path: Path) -> None:
    """Make it the index of an older version."""
    remove(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(_SCHEMA_3)


def remove(path: Path) -> None:
    """Delete it, with all that lies beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
