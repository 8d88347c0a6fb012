"""A bridge in this process, on the embedded log: everything between the HTTP edge and the disk."""

import asyncio
from typing import Final

from aurora_bridge.bridge import Bridge
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import EVENTS
from aurora_bridge.webhook.routes import Routes
from tests.e2e.stores import Stored, spooled

PATIENCE: Final = 30.0
_ROOM: Final = 2**20


class EmbeddedBridge:
    """Such a bridge, from its start to a clean end, or none."""

    def __init__(self, settings: Settings, routes: Routes, metrics: Metrics) -> None:
        """Keep everything in the state directory of the settings."""
        self._directory = settings.state_dir
        self._spool = Spool(self._directory, _ROOM)
        self.publisher = Publisher(settings.deadlines, EVENTS, None, self._spool, metrics)
        self.dedup = Deduplicator(
            self._directory,
            settings.index,
            PATIENCE,
            metrics,
            instance="test",
            spool=self._spool,
            kafka=False,
            has_backlog=self.publisher.has_backlog,
        )
        self.bridge = Bridge(settings, routes, self.dedup, self.publisher, instance="test", metrics=metrics)

    async def start(self) -> None:
        """Start, as the daemon does."""
        self._spool.start()
        self.dedup.start()
        self._running = asyncio.create_task(self.dedup.run())

    async def stop(self) -> None:
        """End in order."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        assert await self.dedup.stop(PATIENCE)
        assert await self._spool.stop(PATIENCE)

    def stored(self) -> list[Stored]:
        """Return what was stored."""
        return spooled(self._directory)
