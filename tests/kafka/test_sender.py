"""The sender against a real broker: every record arrives once and in order, and what is at fault disturbs nobody.

What breaks on the way is in `test_sender_outages`. What no real broker does on demand comes from a script:
`test_sender_answers`, `test_sender_scheduling`, `test_sender_lifecycle`, `test_sender_renewal`.
"""

import asyncio
from time import time_ns

import pytest

from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.produce_protocol import murmur2
from tests.kafka.records import make_record
from tests.kafka.sending import EVENT, PATIENCE, Journal, Running, client_of, numbers, running, stored
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import create_topics, delete_topics, read_all, topic_names

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
    assert [result.offset for _, result in journal.told] == [0, 0, 0, 3]  # that of the first of those told together


async def test_without_idempotence_no_producer_id_is_asked_for(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str
) -> None:
    journal = Journal()
    async with running(client_of(kafka.bootstrap), prefix, EVENT, idempotence=False) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        for name in numbers(3):
            run.submit(*journal.hear([make_record(name)]))
            await journal.ended(int(name) + 1)
        assert run.metrics.producer_ids[()] == 0
    assert numbers(3) == await stored(kafka.bootstrap, topic)


async def test_a_record_arrives_whole(kafka: KafkaCluster | NamedKafka, topic: str, sending: Running) -> None:
    journal, record = Journal(), make_record("é", size=10_000)
    before_ms = time_ns() // 1_000_000
    sending.submit(*journal.hear([record]))
    await journal.ended(1)
    (found,) = await asyncio.to_thread(read_all, kafka.bootstrap, [topic])
    assert (found.key, found.value, found.timestamp) == (record.key, record.value, record.timestamp_ms)
    assert before_ms <= found.timestamp <= time_ns() // 1_000_000
    assert found.headers == dict(record.headers)


@pytest.mark.proves("the subject chooses the partition")
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
    assert journal.ends("0011") == [DeliveryStatus.RECORD_REFUSED]
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


async def test_what_waits_for_a_deleted_topic_goes_into_the_one_recreated_with_fewer_partitions(
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
