"""Where the daemon of a state directory is asked: a Unix socket in it, and lines of JSON."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET = "control.sock"
MAX_LINE_BYTES = 262_144
"""Of a request or an answer: the longest is a dead letter with a target of 64 KiB, all of it percent-encoded."""
MAX_ROWS = 1000
"""Rows of the spool in one request: their numbers fit into a line."""
_LONGEST = 100
"""Bytes of a path that fit into the address of a Unix socket everywhere: Linux takes 107, others 103."""


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """Yield a path of the directory's socket that is short enough for its system call.

    Where the usual one is too long, it goes by way of the open directory, which Linux shows below /proc.
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
