"""A topic of one partition, followers of it, and senders: straight, or through a proxy that can lose answers."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.kafka import following as follows
from tests.kafka.following import Follow, Following
from tests.kafka.sending import EVENT, Running, client_of, client_through, running
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.proxy import Proxy
from tests.support.topics import create_topics


@pytest.fixture
async def topic(kafka: KafkaCluster | NamedKafka, prefix: str) -> str:
    """One topic with one partition, so that what arrives has one order."""
    name = prefix + EVENT
    await asyncio.to_thread(create_topics, kafka.bootstrap, name, partitions=1)
    return name


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the sender's pauses, for scripted brokers: a real one takes its time."""
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._WATCH_SECONDS", 0.02)
    monkeypatch.setattr("aurora_bridge.kafka.partition_queue._FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
async def sending(kafka: KafkaCluster | NamedKafka, prefix: str, topic: str) -> AsyncIterator[Running]:
    del topic
    async with running(client_of(kafka.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        yield run


@pytest.fixture
async def proxy(kafka: KafkaCluster | NamedKafka) -> AsyncIterator[Proxy]:
    """A proxy in front of the broker, to which the clients of `proxied` go."""
    async with Proxy(int(kafka.bootstrap.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: Proxy, prefix: str, topic: str) -> AsyncIterator[Running]:
    del topic

    async with running(client_through(proxy), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        yield run


@pytest.fixture
def follow(kafka: KafkaCluster | NamedKafka, prefix: str, topic: str) -> Follow:
    """Return what runs a follower of the topic on a directory; it takes what `following.running` does."""
    del topic
    return partial(follows.running, kafka.bootstrap, prefix)


@pytest.fixture
async def following(follow: Follow, tmp_path: Path) -> AsyncIterator[Following]:
    """A follower that has read the topic, which is empty, to its end."""
    async with follow(tmp_path) as made:
        await made.complete()
        yield made
