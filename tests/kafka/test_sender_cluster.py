"""A sender whose next client comes to another cluster starts over there: nothing of the former one is known to it."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError, KafkaConnectionError
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka.delivery_report import DeliveryStatus
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, keys_of
from tests.kafka.sending import EVENT, Journal, eventually, running

pytestmark = [
    pytest.mark.usefixtures("quick"),
    pytest.mark.proves("nothing goes to another cluster than the remembered one"),
]


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    return dict.fromkeys(batches, 0)


def numbered(batch: bytes) -> tuple[int, int, int]:
    """Return producer id, epoch and first sequence of a batch."""
    only: Any = MemoryRecords(batch).next_batch()
    return only.producer_id, only.producer_epoch, only.base_sequence


def client_of(cluster_id: str, topics: dict[str, int], answers: Callable[..., object] = all_stored) -> ScriptedClient:
    """Return a client of a cluster that has these topics."""
    client = ScriptedClient(topics, answers)  # type: ignore[arg-type]
    client.cluster_id = cluster_id
    return client


def connecting(*clients: ScriptedClient) -> Callable[..., ScriptedClient]:
    """Return what makes these clients, one after the other, and the last ones for ever."""
    left: Iterator[ScriptedClient] = chain(clients, repeat(clients[-1]))
    return lambda on_connection: next(left).connect(on_connection)


async def test_what_was_in_doubt_in_the_former_cluster_is_given_back_and_sent_again() -> None:
    sent, never = asyncio.Event(), asyncio.Event()

    async def stores_one_and_falls_silent(batches: Batches) -> dict[tuple[str, int], int]:
        if len(first.sent) > 1:
            sent.set()
            await never.wait()
        return dict.fromkeys(batches, 0)

    first, second = client_of("home", {EVENT: 1}, stores_one_and_falls_silent), client_of("away", {EVENT: 1})
    second.producer_id = 10  # its cluster has given out others
    journal, before, doubtful, waiting = Journal(), *(make_record(name) for name in ("before", "doubtful", "waiting"))
    async with running(connecting(first, second), "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([before]))
        await journal.ended(1)
        run.submit(*journal.hear([doubtful]))
        await sent.wait()
        run.submit(*journal.hear([waiting]))
        run.sender.reconnect()
        await journal.ended(3)
        assert journal.ends("doubtful") == [DeliveryStatus.IN_DOUBT, DeliveryStatus.TOPIC_REFUSED]
        assert journal.ends("waiting")[-1] is DeliveryStatus.TOPIC_REFUSED
        assert (run.sender.idle, list(run.sender.take_stored())) == (True, [])
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([doubtful, waiting]))
        await journal.ended(5)
    (batch,) = (sent[EVENT, 0] for sent in second.sent)
    assert (keys_of(batch), numbered(batch)) == (["doubtful", "waiting"], (11, 0, 0))
    assert run.metrics.producer_ids[()] == 2


async def test_the_same_cluster_over_another_client_goes_on_as_before() -> None:
    async def loses_the_second(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        return KafkaConnectionError() if len(first.sent) > 1 else dict.fromkeys(batches, 0)

    first, second = client_of("home", {EVENT: 1}, loses_the_second), client_of("home", {EVENT: 1})
    journal = Journal()
    async with running(connecting(first, second), "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
        run.submit(*journal.hear([make_record("b")]))
        await journal.until(lambda: journal.ends("b") == [DeliveryStatus.IN_DOUBT])
        run.sender.reconnect()
        await journal.ended(2)
    assert journal.ends("b") == [DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED]
    assert {numbered(batches[EVENT, 0]) for batches in [*first.sent[1:], *second.sent]} == {(1, 0, 1)}


async def test_partitions_that_the_former_cluster_had_are_nothing_to_wait_for() -> None:
    first, second = client_of("home", {EVENT: 3}), client_of("away", {EVENT: 1})
    journal = Journal()
    async with running(connecting(first, second), "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.sender.reconnect()
        await eventually(lambda: bool(second.asked_for_producer_id.is_set()))
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear(make_record(str(n), subject=f"lead/{n}") for n in range(9)))
        await journal.ended(9)
    assert {place for batches in second.sent for place in batches} == {(EVENT, 0)}


async def test_a_client_that_gets_no_producer_id_is_replaced_all_the_same() -> None:
    class NoIds(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            del node_id, request, options
            self.asked_for_producer_id.set()
            raise GroupLoadInProgressError

    first, second = NoIds({EVENT: 1}, all_stored), client_of("away", {EVENT: 1})
    async with running(connecting(first, second), "", EVENT) as run:
        await first.asked_for_producer_id.wait()
        run.sender.reconnect()
        await run.until(lambda: run.sender.writable(EVENT))
