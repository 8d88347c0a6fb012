"""Looks into the files of a state directory beside the daemon that writes them, for the commands.

Each look is a short read-only transaction: a reader that stays makes the write-ahead log grow.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.dedup import index
from aurora_bridge.kafka.record import Record
from aurora_bridge.outbox import spool
from aurora_bridge.state.database import open_beside
from aurora_bridge.state.directory import StateError

_ROWS = 10_000
"""Looked through in one transaction."""


class Copy(NamedTuple):
    """An event in the spool."""

    record: Record
    stored_us: int
    """Wall clock when it came here."""
    set_aside: str | None
    """Kafka's error, where it was set aside."""


class Known(NamedTuple):
    """What the index knows of the last event of a fingerprint."""

    time_us: int
    id_ms: int
    attempt_us: int
    """Receipt of its last attempt."""
    attempt: int
    """Estimated number of that."""


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


def copies_of(db: sqlite3.Connection, fingerprint: str) -> Iterator[Copy]:
    """Yield what the spool holds of a fingerprint, in order of receipt."""
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    sql = f"SELECT {spool.COLUMNS} FROM events WHERE seq > ? AND seq <= ? AND fingerprint = ? ORDER BY seq"  # noqa: S608 - constants
    for seq in range(0, last, _ROWS):
        for row in db.execute(sql, (seq, seq + _ROWS, fingerprint)).fetchall():
            *_, stored_us, _, set_aside = row
            yield Copy(spool.record_of(row), stored_us, set_aside)


def known_of(directory: Path, fingerprint: str) -> Known | None:
    """Return what the index of a state directory knows of a fingerprint, if there is one. Raises `StateError`."""
    path = directory / index.FILE
    if not path.exists():
        return None
    with closing(open_beside(path)) as db:
        row = db.execute(
            "SELECT time_ms * 1000, id_ms, attempt_ms * 1000, attempt FROM seen WHERE fingerprint=?", (fingerprint,)
        ).fetchone()
    return None if row is None else Known(*row)
