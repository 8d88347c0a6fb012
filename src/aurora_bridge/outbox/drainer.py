"""Empties the spool into Kafka, topic by topic, strictly in order, through the same sender.

One task per topic takes a window of records from the head of the queue, and waits until Kafka has answered for each of
them. The first window probes whether Kafka is back. Once a window was accepted, a later one that holds everything that
waits makes the topic direct (`outbox.backlog`).
"""

import asyncio
import logging
from collections.abc import Iterable

from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.outbox.backlog import Backlog
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool

log = logging.getLogger(__name__)

WINDOW = 300
"""Records of a topic that are in flight at once."""
_RETRY_SECONDS = 1.0


class Drainer:
    """Drains every topic's backlog."""

    def __init__(self, publisher: Publisher, sender: Sender, spool: Spool) -> None:
        """Drain `spool` through `sender`; `publisher` keeps the order and handles the acknowledgements."""
        self._publisher = publisher
        self._sender = sender
        self._spool = spool
        self._reading = asyncio.Semaphore()
        """One window is read at a time, so that a delivery that waits for the spool waits for one at most."""

    async def run(self) -> None:
        """Drain until cancelled."""
        async with asyncio.TaskGroup() as group:
            for event, backlog in self._publisher.backlogs.items():
                group.create_task(self._drain(event, backlog), name=f"drain {event}")

    async def _drain(self, event: str, backlog: Backlog[OutboxRecord]) -> None:
        flowing, told = False, False
        while True:
            if backlog.direct or not self._sender.writable(event):
                flowing = False
                await backlog.changed.wait()
            backlog.changed.clear()
            if backlog.direct or not self._sender.writable(event) or backlog.handed_over(0):
                continue
            async with self._reading:
                window = self._adopt(await self._spool.head(event, WINDOW, after=backlog.taken))
            if not window:
                if backlog.taken:
                    backlog.taken = 0
                    backlog.changed.set()
                elif backlog.waiting:
                    await backlog.changed.wait()  # the events are still on their way into the spool
                else:
                    backlog.changed.set()  # it was acknowledged while it was read
                continue
            taken = all(record.in_sender or self._publisher.submit(record) for record in window)
            if flowing and taken:
                backlog.handed_over(len(window))
            backlog.taken = window[-1].seq or 0
            flowing = await self._ended(window)
            if not flowing:
                backlog.taken = 0
                if not told:
                    log.warning("%s: Kafka does not accept its events; retrying, its backlog waits", event)
                await asyncio.sleep(_RETRY_SECONDS)
            told = not flowing

    def _adopt(self, records: Iterable[OutboxRecord]) -> list[OutboxRecord]:
        """Return the window, with the sender's own objects for records that it still has."""
        window = [self._publisher.doubtful.get(record.seq or 0, record) for record in records]
        loop = asyncio.get_running_loop()
        for record in window:
            record.drained = loop.create_future()
        return window

    async def _ended(self, window: list[OutboxRecord]) -> bool:
        """Wait until a send of each record has ended; return whether Kafka accepted the topic's records."""
        refused = False
        for record in window:
            if record.drained is not None and (record.in_sender or record.drained.done()):
                refused |= await record.drained is DeliveryStatus.TOPIC_REFUSED
            else:
                refused = True
        return not refused
