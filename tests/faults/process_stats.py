"""Looks at a daemon's process from outside, as the system shows it, and at its files."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.index_rows import rows_of


def timed_start(daemon: Daemon) -> tuple[float, float]:
    """Start a daemon; return the seconds until it listens, and those without its wait for a processor."""
    before = _delayed("self")
    daemon.start()
    waited = _delayed(daemon.process.pid) + _delayed("self") - before
    return daemon.seconds_to_listen, daemon.seconds_to_listen - waited


def _delayed(pid: int | str) -> float:
    """Return for how many seconds a process has waited for a processor; 0 where the system does not tell (not Linux).

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    path = Path(f"/proc/{pid}/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0


def resident_bytes(daemon: Daemon) -> int:
    """Return how much memory the process has."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def descriptors(daemon: Daemon) -> int:
    """Return how many files the process has open, without the connections of the ingress, which come and go."""
    files = []
    for path in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            files.append(str(path.readlink()))
    connections = {f"socket:[{inode}]" for inode in clients_of(int(daemon.url.rsplit(":", 1)[1].strip("/")))}
    return sum(file not in connections for file in files)


def clients_of(port: int) -> dict[str, int]:
    """Return the ports of the clients whose connections to a port some process on this machine has open, by inode.

    A connection that was closed there while its client read nothing stands in the system's table without a file.
    """
    return {inode: client for inode, server, client in _sockets() if server == port and client}


def connections_to(port: int) -> set[int]:
    """Return the ports of the sockets that some process on this machine has open to a port.

    Whoever listens there may not have noticed yet that others were closed.
    """
    return {client for _, client, server in _sockets() if server == port}


def _sockets() -> list[tuple[str, int, int]]:
    """Return inode, own port and the other's port of the sockets that some process on this machine has open."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(line[9], int(line[1][-4:], 16), int(line[2][-4:], 16)) for line in table if line[9] != "0"]


def threads(daemon: Daemon) -> int:
    """Return how many threads the process has."""
    return len(list(Path(f"/proc/{daemon.process.pid}/task").iterdir()))


def bytes_of(daemon: Daemon, database: str) -> int:
    """Return the size of one of the daemon's databases, its write-ahead log included."""
    return sum(path.stat().st_size for path in daemon.state.glob(f"{database}.db*"))


def remembered(daemon: Daemon) -> int:
    """Return how many events the index remembers."""
    with closing(sqlite3.connect(f"file:{daemon.state / 'index.db'}?mode=ro", uri=True, timeout=10)) as index:
        return len(rows_of(index))
