"""Looks at a daemon's process from outside, as the system shows it, and at its files."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.daemon import Daemon


def resident_bytes(daemon: Daemon) -> int:
    """Return how much memory the process has."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def descriptors(daemon: Daemon) -> int:
    """Return how many files the process has open, connections among them."""
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def threads(daemon: Daemon) -> int:
    """Return how many threads the process has."""
    return len(list(Path(f"/proc/{daemon.process.pid}/task").iterdir()))


def bytes_of(daemon: Daemon, database: str) -> int:
    """Return the size of one of the daemon's databases, its write-ahead log included."""
    return sum(path.stat().st_size for path in daemon.state.glob(f"{database}.db*"))


def remembered(daemon: Daemon) -> int:
    """Return how many events the index remembers."""
    with closing(sqlite3.connect(f"file:{daemon.state / 'index.db'}?mode=ro", uri=True, timeout=10)) as index:
        (count,) = index.execute("SELECT count(*) FROM seen").fetchone()
        return int(count)
