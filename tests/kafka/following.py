"""A follower of one topic of one partition, with the deduplicator that it tells, and what it asks of Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import time
from typing import Any, Final
from unittest.mock import patch

from aiokafka.structs import TopicPartition

from aurora_bridge.kafka import fetch as fetching
from aurora_bridge.kafka import follower as module
from aurora_bridge.kafka import partitions
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.fetch import LATEST, Fetched, Nodes
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.webhook.event import Event
from tests.dedup.events import OTHER, entry_of, outbox_record
from tests.dedup.life import Life, until
from tests.kafka.sending import EVENT, client_of
from tests.support.topics import Record, produce

NOW: Final = int(time() * 1000)


class Following:
    """A follower that runs."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        directory: Path,
        connect: Callable[[], Client] | None = None,
        **options: Any,  # noqa: ANN401 - those of Life
    ) -> None:
        """Follow with clients that `connect` makes; `options` are those of Life."""
        self._bootstrap = bootstrap
        self.directory = directory
        self.topic = prefix + EVENT
        self.life = Life(directory, kafka=True, **options)
        self.fetches = 0
        self.polls = 0
        self._polling = asyncio.Lock()
        self.client: Any = None
        """The one that polled last."""
        self._stored: list[tuple[TopicPartition, int, int]] = []
        self.follower = Follower(
            connect or client_of(bootstrap),
            prefix,
            [EVENT],
            self.life.log,
            stored=self._take_stored,
            window_days=30,
            problems=Problems(self.life.metrics),
            metrics=self.life.metrics,
        )

    runs: "asyncio.Task[None]"

    def _take_stored(self) -> list[tuple[TopicPartition, int, int]]:
        """Return where records of ours were stored since the last call."""
        taken, self._stored = self._stored, []
        return taken

    async def fetch(self, *args: Any) -> list[Fetched]:  # noqa: ANN401 - those of `fetch`
        """Count what is fetched."""
        self.fetches += 1
        return await fetching.fetch(*args)

    async def offsets(self, client: Client, nodes: Nodes, when: int) -> dict[TopicPartition, int]:
        """Count the polls: each looks for the ends."""
        self.client = client
        async with self._polling:
            ends = await fetching.offsets(client, nodes, when)
        self.polls += when == LATEST
        return ends

    def before_a_poll(self) -> asyncio.Lock:
        """Return the lock within which no poll looks for the ends."""
        return self._polling

    async def polled(self, times: int = 3) -> None:
        """Return after so many more polls."""
        end = self.polls + times
        await until(lambda: self.polls >= end)

    @property
    def place(self) -> TopicPartition:
        """The topic's partition."""
        return TopicPartition(self.topic, 0)

    @property
    def known(self) -> int:
        """Up to which offset all is known."""
        return self.life.log.current.positions.get((self.client.cluster_id, *self.place), 0)

    @property
    def followed(self) -> int:
        """How many records were taken over."""
        return int(self.life.metrics.followed_records[()])

    @property
    def lag(self) -> float:
        """How many offsets are not known, as the metric has it."""
        assert self.life.metrics.follower_lag_records.source is not None
        return self.life.metrics.follower_lag_records.source()

    async def reached(self, offset: int) -> None:
        """Return when all below an offset is known."""
        await until(lambda: self.client is not None and self.known >= offset)

    async def complete(self) -> None:
        """Return when nothing of today can be unknown."""
        await self.life.complete(NOW)

    # What others write, and what we do.

    async def write(self, *records: Record) -> None:
        """Append records."""
        await asyncio.to_thread(produce, self._bootstrap, *records)

    def record(self, event: Event, at: int = NOW, instance: str = OTHER) -> Record:
        """Return the record of an event."""
        return record_of(self.topic, event, at, instance)

    def acknowledge(self, offset: int, count: int = 1) -> None:
        """Let records of ours have been stored at an offset."""
        self._stored.append((self.place, offset, offset + count))

    async def publish(self, event: Event, at: int, offset: int) -> None:
        """Take a delivery, and have its event acknowledged at an offset before the next poll."""
        decision = await self.life.claim(event, at)
        entry = decision.entry
        made = outbox_record(event, entry)
        async with self._polling:
            await self.write(Record(self.topic, 0, -1, made.key, made.value, dict(made.headers), at))
            self.acknowledge(offset)
        self.life.dedup.stored(entry)
        self.life.answer(decision, at)


def record_of(topic: str, event: Event, at: int = NOW, instance: str = OTHER) -> Record:
    """Return the record of an event, which has the id of its day."""
    made = outbox_record(event, entry_of(event, at), instance)
    return Record(topic, 0, -1, made.key, made.value, dict(made.headers), at)


@asynccontextmanager
async def running(
    bootstrap: str,
    prefix: str,
    directory: Path,
    connect: Callable[[], Client] | None = None,
    **options: Any,  # noqa: ANN401 - those of Life
) -> AsyncIterator[Following]:
    """Run a follower; it and its deduplicator end in order."""
    made = Following(bootstrap, prefix, directory, connect, **options)
    with (
        patch.object(module, "fetch", made.fetch),
        patch.object(partitions, "offsets", made.offsets),
        patch.object(module, "POLL_SECONDS", 0.02),
        patch.object(module, "_RETRY_SECONDS", 0.02),
    ):
        made.runs = asyncio.create_task(made.follower.run())
        try:
            yield made
        finally:
            made.runs.cancel()
            await asyncio.gather(made.runs, return_exceptions=True)
            await made.life.close()


Follow = Callable[..., AbstractAsyncContextManager[Following]]
"""What runs a follower, of a cluster and a topic that are chosen."""
