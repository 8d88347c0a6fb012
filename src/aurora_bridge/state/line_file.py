"""A file of one line in the state directory, written on a separate thread, because the disk may hang."""

import asyncio
import threading
from pathlib import Path

from aurora_bridge.state.directory import write_durably
from aurora_bridge.state.thread import on_thread


class LineFile:
    """The file. Writes run one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, line: str) -> "asyncio.Future[None]":
        """Replace the line, durably. The future raises `OSError` if that fails."""

        def write() -> None:
            with self._lock:
                write_durably(self.path, line)

        return on_thread(self.path.name, write)
