"""Looks into the files of a state directory beside the daemon that writes them, for the commands.

Each look is a short read-only transaction: a reader that stays makes the write-ahead log grow.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import orjson

from aurora_bridge.state import spool
from aurora_bridge.state.database import open_beside
from aurora_bridge.state.directory import StateError
from aurora_bridge.webhook.record import Record


def look_into_spool(directory: Path) -> sqlite3.Connection:
    """Open the spool of a state directory for reading. Raises `StateError`."""
    path = directory / spool.FILE
    if not path.exists():
        msg = (
            f"{directory} holds no events: no daemon ran with this state directory. Set AURORA_BRIDGE_STATE_DIR to "
            "that of your daemon (relative paths start at the working directory), or start one: aurora-bridge serve."
        )
        raise StateError(msg)
    return open_beside(path)


def read_from(db: sqlite3.Connection, seq: int, events: Sequence[str], limit: int) -> list[Record]:
    """Return up to `limit` records with a row after `seq`, of `events` if any are named."""
    chosen = " AND event IN (SELECT value FROM json_each(?))" if events else ""
    values = (seq, *([orjson.dumps(events).decode()] if events else []), limit)
    sql = f"SELECT {spool.COLUMNS} FROM events WHERE seq > ?{chosen} ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    return [spool.record_of(row) for row in db.execute(sql, values)]
