"""One client after the other: what a quota asked of one, the next one heeds."""

import asyncio
from time import monotonic

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.client_keeper import keep_client
from aurora_bridge.kafka.problems import Problems
from tests.kafka.sending import sender_metrics

PAUSE_SECONDS = 0.2


class Answer:
    """Of a broker whose quota is used up."""

    throttle_time_ms = int(PAUSE_SECONDS * 1000)


async def test_a_quotas_pause_outlives_the_client_that_was_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Client, float]] = []

    async def send(client: Client, *_: object, **__: object) -> Answer:
        sent.append((client, monotonic()))
        return Answer()

    async def use(client: Client) -> None:
        await client.send(1, MetadataRequest([]))
        if len(sent) == 2:
            raise asyncio.CancelledError
        raise KafkaConnectionError

    monkeypatch.setattr(AIOKafkaClient, "send", send)
    with pytest.raises(asyncio.CancelledError):
        await keep_client(lambda: Client(bootstrap_servers="127.0.0.1:1"), use, Problems(sender_metrics()), 0.0)
    (first, began), (second, again) = sent
    assert first is not second
    assert again - began >= PAUSE_SECONDS
