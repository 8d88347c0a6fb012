"""Polls the index file for deliveries that did not get in (`outstanding`), for metrics and the status page."""

import asyncio
import sqlite3
from functools import partial
from time import time

from aurora_bridge.dedup import outstanding
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.outstanding import Found, Outstanding
from aurora_bridge.metrics import Metrics

_EVERY_SECONDS = 5.0


class OutstandingPoll:
    """Polls the file, and keeps the last result. Not thread-safe: call it from the event loop only."""

    def __init__(self, file: IndexFile, metrics: Metrics) -> None:
        """Start a run of the daemon now."""
        self._file = file
        self._began_ms = int(time() * 1000)
        self._found = Found()
        events = dict.fromkeys(map(str, metrics.missed_deliveries), 0)
        metrics.retry_pending_deliveries.sources = lambda: {**events, **self.now().pending}
        metrics.missed_deliveries.sources = lambda: {**events, **self.now().missed}
        metrics.retry_pending_until.source = lambda: self.now().latest_ms / 1000

    def now(self) -> Outstanding:
        """Return the refused deliveries that are outstanding now."""
        return outstanding.outstanding(self._found, int(time() * 1000))

    def note_alive(self) -> None:
        """Note in the file that the daemon is alive."""
        self._file.post(partial(outstanding.note_alive, began_ms=self._began_ms, now_ms=int(time() * 1000)))

    async def run(self) -> None:
        """Poll until cancelled. A file that fails is polled again."""
        while True:
            if self._file.usable:
                self.note_alive()
                try:
                    self._found = await self._file.call(outstanding.read)
                except (sqlite3.Error, OSError):
                    """The file is reopened; until then, the last result is shown."""
            await asyncio.sleep(_EVERY_SECONDS)
