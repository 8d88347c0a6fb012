"""The sender before it has a producer id or a leader, and at its end; the brokers are scripted."""

import asyncio
import logging
from contextlib import suppress

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NodeNotReadyError,
)

from aurora_bridge.kafka.client import Client, OnConnection
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.produce_protocol import murmur2
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, all_stored
from tests.kafka.sending import EVENT, PATIENCE, Journal, eventually, running

pytestmark = pytest.mark.usefixtures("quick")


async def test_a_broker_that_is_away_when_the_first_producer_id_is_asked_for_is_asked_again() -> None:
    clients: list[ScriptedClient] = []

    class Away(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            if len(clients) == 1:
                raise NodeNotReadyError
            return await super().send(node_id, request, **options)

    def connect(_: OnConnection) -> Client:
        clients.append(Away({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert len(clients) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClusterAuthorizationFailedError(), "producer_id_denied"),
        (GroupLoadInProgressError(), "producer_id_unavailable"),
    ],
    ids=repr,
)
async def test_without_a_producer_id_kafka_is_not_there_and_that_is_said_once(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._ASK_SECONDS", 0.001)
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._PATIENCE_SECONDS", 0.0)
    asked = 0

    class NoIds(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            nonlocal asked
            asked += 1
            if asked <= 20:
                assert not run.sender.writable(EVENT)
                assert not run.metrics.kafka_connected[()]
                assert [problem.reason for problem in run.sender.problems] == ([reason] if asked > 1 else [])
                raise error
            return await super().send(node_id, request, **options)

    client = NoIds({EVENT: 1}, all_stored)
    caplog.set_level(logging.INFO)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        assert list(run.sender.problems) == []
        assert run.metrics.kafka_connected[()] == 1
    assert len([line for line in caplog.records if line.name.startswith("aurora_bridge")]) == 3


async def test_a_broker_that_has_no_producer_id_for_a_moment_is_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    class Starting(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise GroupLoadInProgressError
            return await super().send(node_id, request, **options)

    client = Starting({EVENT: 1}, all_stored)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
    assert (asked, "producer id" in caplog.text) == (2, False)


async def test_partitions_that_a_lagging_broker_does_not_show_are_not_given_up() -> None:
    """What is in doubt there keeps its sequence, and what is new waits in the spool, until they are seen again."""
    lost = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if len(client.sent) == 1:
            client.topics = {EVENT: 1}
            lost.set()
            return KafkaConnectionError()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 2}, answers), Journal()
    subject = next(f"lead/{number}" for number in range(99) if murmur2(f"lead/{number}".encode()) % 2)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        (record,) = journal.hear([make_record("a", subject=subject)])
        run.submit(record)
        await lost.wait()
        await run.until(lambda: not run.sender.writable(EVENT))
        client.learn({EVENT: 1})
        assert run.sender.withdraw([record]) == set()
        client.learn({EVENT: 2})
        await journal.ended(1)
    assert [list(batches) for batches in client.sent] == [[(EVENT, 1)]] * 2
    assert client.sent[0] == client.sent[1]


async def test_what_a_broker_leads_has_no_leader_while_no_connection_to_it_can_be_made() -> None:
    client, journal = ScriptedClient({EVENT: 1}, all_stored), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        client.on_connection("127.0.0.1:1", ConnectionRefusedError())
        assert (run.sender.missing(), run.unreachable) == ([EVENT], [EVENT])
        client.learn({EVENT: 1})  # that it leads is no news, and no use
        assert run.sender.missing() == [EVENT]
        run.submit(*journal.hear([make_record("a")]))
        client.on_connection("127.0.0.1:1", None)
        assert run.sender.missing() == []
        await journal.ended(1)
    assert journal.acknowledged() == ["a"]


async def test_when_the_sender_dies_what_waits_for_kafka_is_told_so_at_once() -> None:
    """Else it waits for its deadline, and the daemon, which ends and is to be started again, waits for it."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        client.broken = True
        return dict.fromkeys(batches, 19)

    class Mortal(ScriptedClient):
        broken = False

        @property
        def alive(self) -> bool:
            if self.broken:
                raise ZeroDivisionError
            return True

    client = Mortal({EVENT: 1}, answers)
    with suppress(ZeroDivisionError):
        async with running(client.connect, "", EVENT) as run:
            await run.until(lambda: run.sender.writable(EVENT))
            run.submit(make_record("a"))
            await run.until(lambda: not run.sender.writable(EVENT))
            assert run.unreachable == [EVENT]


async def test_a_start_that_needs_a_second_try_gives_nothing_up() -> None:
    """Its deliveries wait for the client of the next try, half a second later, instead of going through the spool."""
    tries: list[ScriptedClient] = []

    class Late(ScriptedClient):
        async def bootstrap(self) -> None:
            if len(tries) == 1:
                raise KafkaConnectionError
            await super().bootstrap()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return dict.fromkeys(batches, 0)

    def connect(_: OnConnection) -> ScriptedClient:
        tries.append(Late({EVENT: 1}, answers))
        return tries[-1]

    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        assert (len(tries), run.unreachable) == (2, [])


async def test_stopping_leaves_what_was_under_way_in_doubt() -> None:
    never = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        await never.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await eventually(lambda: bool(client.sent))
        assert not run.sender.idle
        await run.sender.flush(0.0)
    assert journal.ends("a") == [DeliveryStatus.IN_DOUBT]
    assert not run.sender.writable(EVENT)


async def test_the_last_flush_does_not_wait_where_no_client_is_left_to_send_anything() -> None:
    """Else the daemon would be away for longer when its sender, or Kafka, has died."""

    async def fails(batches: Batches) -> KafkaConnectionError:
        del batches
        return KafkaConnectionError()

    client = ScriptedClient({EVENT: 1}, fails)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(make_record("a"))
        await eventually(lambda: bool(client.sent))
    assert not run.sender.idle
    async with asyncio.timeout(PATIENCE / 10):
        await run.sender.flush(PATIENCE)
