"""The sender against a real broker: every record once and in order, whatever breaks.

What a broker answers only by chance comes from a script.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from aurora_bridge.kafka.lane import ANSWERS, Answer
from aurora_bridge.kafka.wire import Client, murmur2
from aurora_bridge.webhook.record import End
from tests.kafka.scripted import Batches, ScriptedClient, keys_of
from tests.kafka.sending import (
    PATIENCE,
    Journal,
    Running,
    client_of,
    client_through,
    eventually,
    running,
    stored,
    stored_at_last,
)
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.proxy import Proxy
from tests.support.topics import create_topics, delete_topics, read_all, topic_names
from tests.webhook.records import make_record

EVENT = "lead_changed"
RENEWED_WITHIN = 10.0
"""A client that hears nothing is made anew after 5 s; the rest is for a busy machine."""


def numbers(count: int, first: int = 0) -> list[str]:
    return [f"{number:04}" for number in range(first, first + count)]


@pytest.fixture
async def topic(kafka: KafkaCluster | NamedKafka, prefix: str) -> str:
    """One topic with one partition, so that what arrives has one order."""
    name = prefix + EVENT
    await asyncio.to_thread(create_topics, kafka.bootstrap, name, partitions=1)
    return name


@pytest.fixture
async def sending(kafka: KafkaCluster | NamedKafka, prefix: str, topic: str) -> AsyncIterator[Running]:
    del topic
    async with running(client_of(kafka.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        yield run


# The ordinary way


async def test_records_arrive_once_in_order_over_many_bursts(
    kafka: KafkaCluster | NamedKafka, topic: str, sending: Running
) -> None:
    journal = Journal()
    for name in numbers(1000):
        sending.submit(*journal.hear([make_record(name)]))
        if int(name) % 7 == 0:
            await asyncio.sleep(0)
    await journal.ended(1000)
    assert numbers(1000) == await stored(kafka.bootstrap, topic)
    assert numbers(1000) == journal.acknowledged()
    assert (sending.errors(), sending.metrics.producer_ids[()]) == ({}, 1)


async def test_an_acknowledgement_tells_the_offset(sending: Running) -> None:
    journal = Journal()
    sending.submit(*journal.hear(make_record(name) for name in numbers(3)))
    await journal.ended(3)
    sending.submit(*journal.hear([make_record("last")]))
    await journal.ended(4)
    assert [result.offset for _, result in journal.told] == [0, 1, 2, 3]


async def test_a_record_arrives_whole(kafka: KafkaCluster | NamedKafka, topic: str, sending: Running) -> None:
    journal, record = Journal(), make_record("é", size=10_000)
    sending.submit(*journal.hear([record]))
    await journal.ended(1)
    (found,) = await asyncio.to_thread(read_all, kafka.bootstrap, [topic])
    assert (found.key, found.value, found.timestamp) == (record.key, record.value, record.timestamp_ms)
    assert found.headers == dict(record.headers)


async def test_the_subject_chooses_the_partition_as_kafkas_default_partitioner_does(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    await asyncio.to_thread(create_topics, kafka.bootstrap, prefix + EVENT, partitions=3)
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        subjects = [f"lead/{number}" for number in range(30)] * 3
        records = [make_record(f"{index:03}", subject=subject) for index, subject in enumerate(subjects)]
        run.submit(*journal.hear(records))
        await journal.ended(len(records))
    found = await asyncio.to_thread(read_all, kafka.bootstrap, [prefix + EVENT])
    expected = {record.key: murmur2(record.partition_key) % 3 for record in records}
    assert expected == {record.key: record.partition for record in found}
    for partition in range(3):
        keys = [record.key for record in found if record.partition == partition]
        assert keys == sorted(keys, key=lambda key: key or b"")


async def test_many_topics_share_a_burst(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    events = [f"event_{number}" for number in range(10)]
    await asyncio.to_thread(create_topics, kafka.bootstrap, *(prefix + event for event in events), partitions=2)
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, *events) as run:
        await run.until(lambda: not run.sender.missing())
        assert run.metrics.kafka_connected[()] == 1
        run.submit(*journal.hear(make_record(event, event) for event in events * 5))
        await journal.ended(50)
        await run.sender.flush(PATIENCE)
        assert run.sender.idle
    found = await asyncio.to_thread(read_all, kafka.bootstrap, [prefix + event for event in events])
    assert [prefix + event for event in events for _ in range(5)] == [record.topic for record in found]


# Records and topics at fault


async def test_a_record_too_large_is_refused_alone_and_its_neighbours_arrive_in_order(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    limit = {"max.message.bytes": "4000"}
    await asyncio.to_thread(create_topics, kafka.bootstrap, prefix + EVENT, partitions=1, config=limit)
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(
            *journal.hear(make_record(name, size=5000 if name == "0011" else 100) for name in numbers(40)),
        )
        await journal.ended(40)
        assert run.metrics.producer_ids[()] == 1
        assert set(run.errors()) == {"message_too_large"}
    assert [name for name in numbers(40) if name != "0011"] == await stored(kafka.bootstrap, prefix + EVENT)
    assert journal.ends("0011") == [End.RECORD_REFUSED]
    assert [result.reason for key, result in journal.told if key == "0011"] == ["message_too_large"]


async def test_a_missing_topic_is_named_takes_nothing_and_is_never_created(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str
) -> None:
    async with running(client_of(kafka.bootstrap), prefix, EVENT, "lead_created") as run:
        await run.until(lambda: run.sender.writable(EVENT))
        assert not run.sender.submit(make_record("a", "lead_created"))
        assert not run.sender.writable("lead_created")
        assert run.sender.missing() == [f"{prefix}lead_created"]
        assert run.metrics.kafka_connected[()] == 0
        assert await asyncio.to_thread(topic_names, kafka.bootstrap, prefix) == [topic]


async def test_a_topic_that_somebody_makes_is_noticed(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str
) -> None:
    del topic
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, EVENT, "lead_created") as run:
        await run.until(lambda: run.sender.writable(EVENT))
        await asyncio.to_thread(create_topics, kafka.bootstrap, f"{prefix}lead_created")
        await run.until(lambda: run.sender.writable("lead_created"))
        assert (run.sender.missing(), run.metrics.kafka_connected[()]) == ([], 1)
        run.submit(*journal.hear([make_record("a", "lead_created")]))
        await journal.ended(1)
    assert await stored(kafka.bootstrap, f"{prefix}lead_created") == ["a"]


async def test_what_waits_for_a_deleted_topic_goes_into_the_one_made_anew_with_fewer_partitions(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    name = prefix + EVENT
    await asyncio.to_thread(create_topics, kafka.bootstrap, name, partitions=3)
    subjects = [f"lead/{number}" for number in range(12)]
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear(make_record(f"first {subject}", subject=subject) for subject in subjects))
        await journal.ended(12)
        await asyncio.to_thread(delete_topics, kafka.bootstrap, name)
        assert run.sender.writable(EVENT), "the sender does not know yet"
        run.submit(*journal.hear(make_record(f"second {subject}", subject=subject) for subject in subjects))
        await run.until(lambda: not run.sender.writable(EVENT))
        await asyncio.to_thread(create_topics, kafka.bootstrap, name, partitions=1)
        await journal.ended(24)
        run.submit(*journal.hear(make_record(f"third {subject}", subject=subject) for subject in subjects))
        await journal.ended(36)
    found = await stored(kafka.bootstrap, name)
    assert len(found) == 24
    for subject in subjects:
        assert [key for key in found if key.endswith(f" {subject}")] == [f"second {subject}", f"third {subject}"]


# Lost answers and lost brokers


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
    assert journal.ends("in doubt") == [End.IN_DOUBT, End.ACKNOWLEDGED]
    assert journal.ends("behind") == [End.STALLED, End.ACKNOWLEDGED]
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
async def test_a_head_in_doubt_outlives_a_killed_broker_and_makes_no_second_copy(
    kafka1: KafkaCluster, topic: str, proxy: Proxy, proxied: Running
) -> None:
    journal = Journal()
    proxied.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    proxy.lose_answers()
    proxied.submit(*journal.hear([make_record("in doubt")]))
    await proxy.answer_lost()
    await stored_at_last(kafka1.bootstrap, topic, "in doubt")
    kafka1.nodes[0].kill()
    proxy.cut()
    await journal.until(lambda: journal.ends("in doubt") == [End.IN_DOUBT])
    await asyncio.to_thread(kafka1.nodes[0].restart)
    await journal.until(lambda: "in doubt" in journal.acknowledged())
    await proxied.until(lambda: proxied.sender.writable(EVENT))
    proxied.submit(*journal.hear([make_record("after")]))
    await journal.until(lambda: "after" in journal.acknowledged())
    assert await stored(kafka1.bootstrap, topic) == ["before", "in doubt", "after"]


@pytest.mark.slow
async def test_what_was_sent_to_a_frozen_broker_is_in_doubt_and_arrives_once_it_goes_on(
    kafka1: KafkaCluster, topic: str, sending: Running
) -> None:
    journal = Journal()
    sending.submit(*journal.hear([make_record("before")]))
    await journal.ended(1)
    kafka1.nodes[0].pause()
    sending.submit(*journal.hear(make_record(name) for name in numbers(3)))
    await journal.until(lambda: journal.ends("0000") == [End.IN_DOUBT])
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


@pytest.mark.slow
async def test_a_client_whose_metadata_task_died_is_made_anew(
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

    def connect() -> Client:
        clients.append(Mortal(bootstrap_servers=kafka.bootstrap))  # type: ignore[no-untyped-call]
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
    assert not [connection for connection in dead._conns.values() if connection.connected()]  # noqa: SLF001


# Answers from a script


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    return dict.fromkeys(batches, 0)


@pytest.mark.parametrize(("code", "answer"), [(code, answer) for code, (answer, _) in ANSWERS.items()])
async def test_every_answer_has_its_effect(code: int, answer: Answer) -> None:
    requests = 0

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        nonlocal requests
        requests += 1
        return dict.fromkeys(batches, code if requests == 1 else 0)

    expected = {
        Answer.STORED: ([End.ACKNOWLEDGED], [["a", "b"]]),
        Answer.RETRY: ([End.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.RETRY_IN_DOUBT: ([End.IN_DOUBT, End.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.RENUMBER: ([End.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.SPLIT: ([End.ACKNOWLEDGED], [["a", "b"], ["a"], ["b"]]),
        Answer.REFUSED: ([End.TOPIC_REFUSED], [["a", "b"]]),
    }
    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(lambda: client, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a"), make_record("b")]))
        await journal.ended(2)
    sent = [batches[EVENT, 0] for batches in client.sent]
    assert (journal.ends("a"), [keys_of(batch) for batch in sent]) == expected[answer]
    assert journal.ends("b") == journal.ends("a")
    if answer in {Answer.RETRY, Answer.RETRY_IN_DOUBT}:
        assert sent[0] == sent[1]
    assert run.errors() == ({} if answer is Answer.STORED else {ANSWERS[code][1]: 1})
    assert run.metrics.producer_ids[()] == (2 if answer is Answer.RENUMBER else 1)


@pytest.mark.parametrize(
    ("error", "end", "reason"),
    [
        (NodeNotReadyError(), End.STALLED, "broker_away"),
        (KafkaConnectionError(), End.IN_DOUBT, "connection_lost"),
        (ConnectionResetError(), End.IN_DOUBT, "connection_lost"),
        (TimeoutError(), End.IN_DOUBT, "connection_lost"),
        (KeyError("a bug of a library's"), End.IN_DOUBT, "connection_lost"),
    ],
    ids=repr,
)
async def test_a_request_without_an_answer_goes_out_again(error: Exception, end: End, reason: str) -> None:
    requests = 0

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        nonlocal requests
        requests += 1
        return error if requests == 1 else dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(lambda: client, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert journal.ends("a") == [end, End.ACKNOWLEDGED]
    assert client.sent[0] == client.sent[1]
    assert run.errors() == {reason: 1}


async def test_an_answer_that_leaves_a_partition_out_leaves_it_in_doubt() -> None:
    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return dict.fromkeys(list(batches)[: 1 if len(client.sent) == 1 else 2], 0)

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(lambda: client, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert (journal.ends("a"), journal.ends("b")) == ([End.ACKNOWLEDGED], [End.IN_DOUBT, End.ACKNOWLEDGED])


async def test_one_partitions_no_does_not_hold_up_the_others() -> None:
    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: 29 if where[0] == EVENT else 0 for where in batches}

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(lambda: client, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert (journal.ends("a"), journal.ends("b")) == ([End.TOPIC_REFUSED], [End.ACKNOWLEDGED])


async def test_while_a_new_producer_id_is_awaited_the_others_of_the_burst_are_not_sent_again() -> None:
    """Their answers are there already: a second send would be answered when the next batch is the head."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: 45 if where[0] == EVENT and len(client.sent) == 1 else 0 for where in batches}

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(lambda: client, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        client.asked_for_producer_id.clear()
        client.producer_id_given.clear()
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        async with asyncio.timeout(PATIENCE):
            await client.asked_for_producer_id.wait()
        run.submit(*journal.hear([make_record("c", "lead_created")]))
        for _ in range(3):  # whatever the sender schedules, it has happened after a burst's gap
            await asyncio.sleep(0.003)
        client.producer_id_given.set()
        await journal.ended(3)
    sent = [keys_of(batches["lead_created", 0]) for batches in client.sent if ("lead_created", 0) in batches]
    assert sent == [["b"], ["c"]]
    assert journal.acknowledged().count("b") == 1


class Hanging(ScriptedClient):
    """A client whose broker is silent from the first produce request on, or the second producer id."""

    silent = False

    async def send(self, node_id: int, request: object, **options: object) -> object:
        if self.silent:
            await asyncio.Event().wait()
        return await super().send(node_id, request, **options)

    def force_metadata_update(self) -> None:
        if not self.silent:
            super().force_metadata_update()


async def test_what_was_under_way_when_the_client_is_made_anew_goes_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.sender._RENEW_SECONDS", 0.1)
    clients: list[Hanging] = []

    def connect() -> Client:
        clients.append(Hanging({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        clients[0].silent = True
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert len(clients) == 2
    assert journal.ends("a") == [End.IN_DOUBT, End.ACKNOWLEDGED]


async def test_so_does_what_waited_for_a_new_producer_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.sender._RENEW_SECONDS", 0.1)
    clients: list[Hanging] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        clients[-1].silent = len(clients) == 1
        return dict.fromkeys(batches, 45 if len(clients) == 1 else 0)

    def connect() -> Client:
        clients.append(Hanging({EVENT: 1, "lead_created": 1}, answers))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert sorted(journal.acknowledged()) == ["a", "b"]


async def test_only_one_request_is_under_way_and_what_comes_meanwhile_shares_the_next() -> None:
    release = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        await release.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 2}, answers), Journal()
    records = [make_record(name, subject=f"lead/{name}") for name in numbers(10)]
    async with running(lambda: client, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        first, *others = journal.hear(records)
        run.submit(first)
        await eventually(lambda: bool(client.sent))
        run.submit(*others)
        await asyncio.sleep(0)
        assert len(client.sent) == 1
        release.set()
        await journal.ended(10)
    assert [sum(len(keys_of(batch)) for batch in batches.values()) for batches in client.sent] == [1, 9]


async def test_a_brokers_no_to_the_first_producer_id_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    clients: list[ScriptedClient] = []

    class Loading(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            if len(clients) == 1:
                raise NodeNotReadyError
            return await super().send(node_id, request, **options)

    def connect() -> Client:
        clients.append(Loading({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    with caplog.at_level(logging.WARNING):
        async with running(connect, "", EVENT) as run:
            await run.until(lambda: len(clients) == 2 and run.sender.writable(EVENT))
            run.submit(*journal.hear([make_record("a")]))
            await journal.ended(1)
    assert "Kafka is away" in caplog.text


async def test_stopping_leaves_what_was_under_way_in_doubt() -> None:
    never = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        await never.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(lambda: client, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await eventually(lambda: bool(client.sent))
        assert not run.sender.idle
        await run.sender.flush(0.0)
    assert journal.ends("a") == [End.IN_DOUBT]
    assert not run.sender.writable(EVENT)
