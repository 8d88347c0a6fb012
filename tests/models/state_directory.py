"""What a state directory holds, read beside the daemon or after its death."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.dedup import index
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.reading_progress import READ_TO_ITS_END
from aurora_bridge.outbox.spool_file import FILE as SPOOL
from tests.models.doubles import NUMBER
from tests.support.index_rows import rows_of

Key = tuple[str, int, int]
"""An event: fingerprint, time and millisecond of the id."""


class Index(NamedTuple):
    """What the index file holds."""

    states: dict[Key, State]
    """How each event stands."""
    latest: dict[str, tuple[str, int]]
    """By family key, fingerprint and time of the latest state."""
    logs: set[str]
    """Logs that were read to their end once."""
    positions: dict[str, int]
    """By topic, up to where it is known."""


def index_of(directory: Path) -> Index:
    """Return what the index file holds; nothing, where it cannot be read."""
    try:
        with closing(_open(directory / index.FILE)) as db:
            seen, latest = rows_of(db), rows_of(db, "latest")
            places = db.execute("SELECT log, topic, partition, offset FROM positions").fetchall()
    except sqlite3.Error:
        return Index({}, {}, set(), {})
    return Index(
        {(name, time_ms, id_ms): State(state) for name, state, time_ms, id_ms, *_ in seen},
        {key: (name, time_ms) for key, name, time_ms, _ in latest},
        {log for log, _, partition, _ in places if partition == READ_TO_ITS_END},
        {topic: offset for _, topic, _, offset in places},
    )


def spool_of(directory: Path) -> dict[int, str]:
    """Return the ids in the spool, by the number of their record."""
    try:
        with closing(_open(directory / SPOOL)) as db:
            rows = db.execute("SELECT key, headers FROM events").fetchall()
    except sqlite3.Error:
        return {}
    return {int(dict(json.loads(headers))[NUMBER]): key for key, headers in rows}


def spool_id(directory: Path) -> str:
    """Return the id of the spool's file."""
    with closing(_open(directory / SPOOL)) as db:
        (name,) = db.execute("SELECT id FROM state").fetchone()
    return str(name)


def damage(directory: Path, how: str) -> None:
    """Damage the index file of a daemon that is not running."""
    path = directory / index.FILE
    if how == "removed":
        index.remove(path)
    elif how == "damaged" and path.exists():
        index.remove(path)
        path.write_bytes(b"this is no database" * 1000)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)
