"""Ports for servers that are told their port before they start, and that come back on it after an outage.

They lie below the range from which the kernel takes the ports of outgoing connections. From inside that range, another
process could be given the port while its owner is down, and a client that keeps trying the dead port can even end up
connected to itself.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import IO, Final

HOST: Final = "127.0.0.1"

BELOW_EPHEMERAL: Final = range(15_000, 32_000)
"""Linux hands out 32768 and up, macOS 49152 and up."""
_SHARE: Final = 250
"""Ports of one process: so many that each is chosen again only when its last owner is long gone."""
_locks: list[IO[str]] = []
"""Held until the process ends."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return that many different free ports, none of which another test process chooses meanwhile."""
    found = list(islice(filter(is_free, islice(_own_ports(), _SHARE)), count))
    if len(found) < count:
        message = f"{count} free ports are needed; {_SHARE} are this process's own, and most are in use"
        raise RuntimeError(message)
    return found


@cache
def _own_ports() -> Iterator[int]:
    """Return the ports that belong to this process, in turn, for ever: by a lock that ends with it."""
    folder = Path(tempfile.gettempdir(), f"aurora-bridge-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    shares = range(BELOW_EPHEMERAL.start, BELOW_EPHEMERAL.stop, _SHARE)
    for start in random.sample(shares, len(shares)):
        lock = (folder / str(start)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            _locks.append(lock)
            return cycle(range(start, start + _SHARE))
    message = f"no ports are left: {len(shares)} test processes have theirs"
    raise RuntimeError(message)
