"""Looks into the index of a state directory beside the daemon that writes it, for the commands."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from aurora_bridge.dedup import index
from aurora_bridge.state.database import open_beside


class Known(NamedTuple):
    """What the index knows of the last event of a fingerprint."""

    time_ms: int
    id_ms: int
    attempt_ms: int
    """Receipt of its last attempt."""
    attempt: int
    """Estimated number of that."""


def known_of(directory: Path, fingerprint: str) -> Known | None:
    """Return what the index of a state directory knows of a fingerprint, if there is one. Raises `StateError`."""
    path = directory / index.FILE
    if not path.exists():
        return None
    with closing(open_beside(path)) as db:
        row = db.execute(
            "SELECT time_ms, id_ms, attempt_ms, attempt FROM seen WHERE fingerprint=?", (fingerprint,)
        ).fetchone()
    return None if row is None else Known(*row)
