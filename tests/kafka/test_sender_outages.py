"""The sender when answers, connections, brokers or its own client are lost: still every record once and in order."""

import asyncio
import shutil
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from aurora_bridge.kafka import sender
from aurora_bridge.kafka.client import Client, OnConnection
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from tests.kafka.records import make_record
from tests.kafka.sending import (
    EVENT,
    Journal,
    Running,
    client_of,
    connections_of,
    end_metadata_task,
    eventually,
    numbers,
    running,
    stored,
    stored_at_last,
)
from tests.support.admin import elect_preferred
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.proxy import Proxy
from tests.support.reassign import reassign
from tests.support.topics import create_topics

DAY_NS = 24 * 3600 * 10**9

RENEWED_WITHIN = 10.0
"""A client that hears nothing is recreated after 5 s; the rest is for a busy machine."""


@pytest.mark.proves("a record that is sent again makes no second copy while the process lives")
async def test_a_lost_acknowledgement_makes_no_second_copy(
    kafka: KafkaCluster | NamedKafka, topic: str, proxy: Proxy, proxied: Running
) -> None:
    journal = Journal()
    proxied.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    proxy.lose_answers()
    proxied.submit(*journal.hear([make_record("in doubt"), make_record("in doubt too")]))
    await proxy.answer_lost()
    await stored_at_last(kafka.bootstrap, topic, "in doubt too")
    proxied.submit(*journal.hear([make_record("behind")]))
    proxy.cut()
    await journal.ended(4)
    proxied.submit(*journal.hear([make_record("after")]))
    await journal.ended(5)
    assert journal.ends("in doubt") == [DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED]
    assert journal.ends("behind") == [DeliveryStatus.STALLED, DeliveryStatus.ACKNOWLEDGED]
    assert await stored(kafka.bootstrap, topic) == ["before", "in doubt", "in doubt too", "behind", "after"]
    assert proxied.metrics.producer_ids[()] == 1
    assert proxied.errors()["connection_lost"] == 1


async def test_the_answer_that_came_back_may_be_lost_again_and_again(
    kafka: KafkaCluster | NamedKafka, topic: str, proxy: Proxy, proxied: Running
) -> None:
    journal = Journal()
    proxied.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    for count, name in enumerate(numbers(3)):
        proxy.lose_answers()
        proxied.submit(*journal.hear([make_record(name)]))
        await proxy.answer_lost()
        await stored_at_last(kafka.bootstrap, topic, name)
        proxy.cut()
        proxy.lose_answers()
        await proxy.answer_lost()
        proxy.cut()
        await journal.ended(count + 2)
    assert await stored(kafka.bootstrap, topic) == ["before", *numbers(3)]


async def test_records_in_doubt_cannot_be_withdrawn_and_those_behind_them_can(
    kafka: KafkaCluster | NamedKafka, topic: str, proxy: Proxy, proxied: Running
) -> None:
    journal = Journal()
    proxied.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    first, second, third = journal.hear(make_record(name) for name in "abc")
    proxy.lose_answers()
    proxied.submit(first)
    await proxy.answer_lost()
    await stored_at_last(kafka.bootstrap, topic, "a")
    proxied.submit(second, third)
    assert proxied.sender.withdraw([first, third]) == {third}
    proxy.cut()
    await journal.ended(3)
    assert await stored(kafka.bootstrap, topic) == ["before", "a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 2], ids=["once", "twice where the broker forgot us"])
async def test_a_head_in_doubt_outlives_a_killed_broker(
    days: int, kafka1: KafkaCluster, topic: str, proxy: Proxy, proxied: Running
) -> None:
    """A broker forgets a producer whose newest record is a day old by its timestamp (`producer.id.expiration.ms`)."""
    with patch.object(sender, "time_ns", lambda: time.time_ns() - days * DAY_NS):
        journal = Journal()
        proxied.submit(*journal.hear([make_record("before")]))
        await journal.ended(1)
        proxy.lose_answers()
        proxied.submit(*journal.hear([make_record("in doubt")]))
        await proxy.answer_lost()
        await stored_at_last(kafka1.bootstrap, topic, "in doubt")
        kafka1.nodes[0].kill()
        proxy.cut()
        await journal.until(lambda: journal.ends("in doubt") == [DeliveryStatus.IN_DOUBT])
        await asyncio.to_thread(kafka1.nodes[0].restart)
        await journal.until(lambda: "in doubt" in journal.acknowledged())
        await proxied.until(lambda: proxied.sender.writable(EVENT))
        proxied.submit(*journal.hear([make_record("after")]))
        await journal.until(lambda: "after" in journal.acknowledged())
    assert await stored(kafka1.bootstrap, topic) == ["before", *["in doubt"] * (2 if days else 1), "after"]


@pytest.mark.slow
async def test_what_was_sent_to_a_frozen_broker_is_in_doubt_and_arrives_once_it_goes_on(
    kafka1: KafkaCluster, topic: str, sending: Running
) -> None:
    journal = Journal()
    sending.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    kafka1.nodes[0].pause()
    sending.submit(*journal.hear(make_record(name) for name in numbers(3)))
    await journal.until(lambda: journal.ends("0000") == [DeliveryStatus.IN_DOUBT])
    kafka1.nodes[0].resume()
    await journal.ended(4)
    assert await stored(kafka1.bootstrap, topic) == ["before", *numbers(3)]


@pytest.mark.slow
async def test_a_broker_whose_log_was_cut_off_gets_a_new_producer_id_which_is_counted(
    kafka1: KafkaCluster, topic: str, sending: Running, tmp_path: Path
) -> None:
    """An unclean election or a restored volume can do so: the broker's next number is then lower than ours."""
    journal = Journal()
    (node,) = kafka1.nodes
    log = node.directory / "data" / f"{topic}-0"
    sending.submit(*journal.hear([make_record("kept")]))
    await journal.ended(1)
    shutil.copytree(log, tmp_path / "log")
    sending.submit(*journal.hear([make_record("cut off")]))
    await journal.ended(2)
    node.kill()
    shutil.rmtree(log)
    shutil.copytree(tmp_path / "log", log)
    await asyncio.to_thread(node.restart)
    await sending.until(lambda: sending.sender.writable(EVENT))
    for count, name in enumerate(numbers(3)):
        sending.submit(*journal.hear([make_record(name)]))
        await journal.ended(count + 3)
    assert await stored(kafka1.bootstrap, topic) == ["kept", *numbers(3)]
    assert sending.errors()["out_of_order_sequence_number"] > 0
    assert sending.metrics.producer_ids[()] == 2


async def test_a_partition_whose_replicas_lag_puts_no_other_in_doubt(kafka3: KafkaCluster, prefix: str) -> None:
    """The broker says so before the request is given up, and with it the answer for all others."""
    lagging, alone = f"{prefix}lead_created", f"{prefix}{EVENT}"
    await asyncio.to_thread(create_topics, kafka3.bootstrap, lagging, replicas=[[1, 2]])
    await asyncio.to_thread(create_topics, kafka3.bootstrap, alone, replicas=[[1]], config={"min.insync.replicas": "1"})
    journal = Journal()
    async with running(client_of(kafka3.bootstrap), prefix, EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("before", "lead_created"), make_record("before")]))
        await journal.ended(2)
        kafka3.nodes[1].pause()
        run.submit(*journal.hear([make_record("lagging", "lead_created"), make_record("alone")]))
        await journal.until(lambda: bool(journal.ends("lagging")))
        assert journal.ends("lagging") == [DeliveryStatus.IN_DOUBT]
        assert journal.ends("alone") == [DeliveryStatus.ACKNOWLEDGED]
        assert run.errors() == {"request_timed_out": 1}
        kafka3.nodes[1].resume()
        await journal.ended(4)
    assert await stored(kafka3.bootstrap, lagging) == ["before", "lagging"]


def controller_of(cluster: KafkaCluster) -> int:
    """Return the node that is the controller, by what the nodes wrote last."""
    became = {}
    for node in cluster.nodes:
        lines = [line for line in node.log.read_text(errors="replace").splitlines() if "the active controller" in line]
        became[node.number] = lines[-1][:30] if lines else ""
    return max(became, key=lambda number: became[number])


def bytes_of(cluster: KafkaCluster, number: int, topic: str) -> int:
    """Return how much a node has of a topic's only partition."""
    return sum(path.stat().st_size for path in cluster.nodes[number - 1].directory.rglob(f"{topic}-0/*.log"))


@pytest.mark.proves("a record that is sent again makes no second copy while the process lives")
async def test_a_record_that_a_leader_appended_before_it_lost_leadership_keeps_its_sequence(
    kafka3: KafkaCluster, prefix: str
) -> None:
    """It waits for a replica that lags, and says that it is no leader; the next leader has the record as well."""
    topic = prefix + EVENT
    lagging = next(number for number in (3, 2) if number != controller_of(kafka3))
    next_leader = 5 - lagging
    await asyncio.to_thread(create_topics, kafka3.bootstrap, topic, replicas=[[1, next_leader, lagging]])
    await asyncio.to_thread(reassign, kafka3.plain, [topic], [[next_leader, 1, lagging]])  # the order alone
    awake = ",".join(node.internal for node in kafka3.nodes if node.number != lagging)
    journal = Journal()
    async with running(client_of(kafka3.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        first, second, third = journal.hear([make_record("before"), make_record("r1"), make_record("r2")])
        run.submit(first)
        await journal.ended(1)
        before = bytes_of(kafka3, next_leader, topic)
        kafka3.nodes[lagging - 1].pause()
        run.submit(second)
        await eventually(lambda: bytes_of(kafka3, next_leader, topic) > before)
        election = asyncio.create_task(asyncio.to_thread(elect_preferred, awake, [topic], 1))
        await eventually(lambda: bool(run.errors()))
        assert run.sender.withdraw([second]) == set()
        run.submit(third)
        kafka3.nodes[lagging - 1].resume()
        await journal.ended(3)
        await election
    assert await stored(kafka3.bootstrap, topic) == ["before", "r1", "r2"]


async def test_a_client_whose_metadata_task_died_is_recreated_while_nothing_is_wrong(sending: Running) -> None:
    """Or it would be noticed only seconds after a leader has moved."""
    journal = Journal()
    sending.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    dead = sending.clients[-1]
    end_metadata_task(dead)
    await sending.until(lambda: sending.clients[-1] is not dead and sending.sender.writable(EVENT))
    sending.submit(*journal.hear([make_record("after")]))
    await journal.ended(2)


async def test_a_client_whose_metadata_task_died_is_recreated(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str
) -> None:
    del topic

    class Mortal(Client):
        """Its metadata task can be made to end as aiokafka's does when something unexpected is raised in it."""

        broken = False

        async def _metadata_update(self, *args: object) -> bool:
            if self.broken:
                raise ZeroDivisionError
            return bool(await super()._metadata_update(*args))  # type: ignore[arg-type]

    clients: list[Mortal] = []

    def connect(_: OnConnection) -> Client:
        clients.append(Mortal(bootstrap_servers=kafka.bootstrap))
        return clients[-1]

    async with running(connect, prefix, EVENT, "lead_created") as run:
        await run.until(lambda: run.sender.writable(EVENT))
        before = len(clients)
        dead = clients[-1]
        dead.broken = True
        await asyncio.to_thread(create_topics, kafka.bootstrap, f"{prefix}lead_created")
        async with asyncio.timeout(RENEWED_WITHIN):
            await run.until(lambda: run.sender.writable("lead_created"))
    assert len(clients) == before + 1
    assert not [connection for connection in connections_of(dead) if connection.connected()]
