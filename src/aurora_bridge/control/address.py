"""The daemon's control socket: a Unix socket in the state directory, and its limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET = "control.sock"
MAX_LINE_BYTES = 262_144
"""Limit of a request or response: the longest is a dead letter with a target of 64 KiB, all percent-encoded."""
MAX_ROWS = 1000
"""Limit of spool rows in one request: so many row numbers fit into a line."""
_LONGEST = 100
"""Bytes of a path that every system accepts as a Unix socket's address: Linux takes 107, others 103."""


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """Yield a path of the directory's socket that is short enough for a socket address.

    If the ordinary path is too long, it goes through an open directory, which Linux shows under /proc.
    """
    path = str(directory / SOCKET)
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
