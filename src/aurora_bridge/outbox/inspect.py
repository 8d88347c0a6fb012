"""Reads the spool of a state directory for the commands, while the daemon may be writing it.

Each read is a short transaction: a long one would make the write-ahead log grow.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from aurora_bridge.outbox import rows
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool_file import FILE
from aurora_bridge.state.database import for_command, open_beside
from aurora_bridge.state.directory import StateError

_ROWS = 10_000
"""Rows searched in one transaction."""


def inspect_spool(directory: Path) -> AbstractContextManager[sqlite3.Connection]:
    """Open the spool of a state directory for reading. Raises `StateError` and `OSError`, also while it is read."""
    path = directory / FILE
    if not path.exists():
        msg = (
            f"{directory} holds no events: no daemon ran with this state directory. Set AURORA_BRIDGE_STATE_DIR to "
            "your daemon's (relative paths start at the working directory), or start one: aurora-bridge serve."
        )
        raise StateError(msg)
    return for_command(path, open_beside(path))


def copies_of(db: sqlite3.Connection, fingerprint: str) -> Iterator[OutboxRecord]:
    """Yield the spool's records of a fingerprint, in order of receipt."""
    return rows.of_fingerprint(db, fingerprint, _ROWS)
