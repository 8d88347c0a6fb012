"""Reading below aiokafka's consumer, from a real broker: this is where a new version of aiokafka shows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer

from aurora_bridge.kafka import fetch as module
from aurora_bridge.kafka.client import Client, make_client
from aurora_bridge.kafka.fetch import EARLIEST, LATEST, Fetched, UnreadableError, fetch, leaders, offsets
from aurora_bridge.settings import KafkaSettings
from tests.dedup.events import HOUR, OTHER, A, entry_of, once, outbox_record
from tests.kafka.following import NOW, record_of
from tests.kafka.sending import PATIENCE, client_of
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import Record, configure_topic, produce

ENOUGH = 2**20


@pytest.fixture
async def client(kafka: KafkaCluster | NamedKafka) -> AsyncIterator[Client]:
    made = client_of(kafka.bootstrap)()
    await made.bootstrap()
    yield made
    await made.close()


@pytest.fixture
async def place(kafka: KafkaCluster | NamedKafka, client: Client, topic: str) -> TopicPartition:
    """The partition of a topic with three records of ours: an hour old, half an hour, and of now."""
    client.set_topics([topic])
    await client.force_metadata_update()
    for number, ago in enumerate((HOUR, HOUR // 2, 0)):
        await asyncio.to_thread(produce, kafka.bootstrap, record_of(topic, once(f"{number}"), NOW - ago))
    return TopicPartition(topic, 0)


def leader(client: Client, place: TopicPartition) -> dict[TopicPartition, int]:
    """Return who leads a partition."""
    nodes, missing, leaderless = leaders(client, [place.topic])
    assert (missing, leaderless) == (set(), set())
    return {place: nodes[place]}


async def get(client: Client, place: TopicPartition, begin: int, max_bytes: int = ENOUGH) -> Fetched:
    """Return what one answer gives of a partition."""
    (fetched,) = await fetch(client, leader(client, place), {place: begin}, max_bytes)
    assert fetched.place == place
    return fetched


def events(fetched: Fetched) -> list[str]:
    """Return the fingerprints of what was fetched."""
    return [record.fingerprint for record in fetched.records]


def of(*names: str) -> list[str]:
    """Return the fingerprints of events."""
    return [once(name).fingerprint for name in names]


# Where partitions are, begin and end.


async def test_a_topic_that_is_not_there_has_no_leader(client: Client, place: TopicPartition) -> None:
    assert leaders(client, ["nowhere", place.topic])[1:] == ({"nowhere"}, set())


@pytest.mark.parametrize(
    ("when", "offset"),
    [(EARLIEST, 0), (LATEST, 3), (NOW - HOUR * 3 // 4, 1), (NOW + HOUR, -1)],
    ids=["the first", "the end", "the first since a time", "none is so young"],
)
async def test_a_broker_tells_where_its_partitions_begin_and_end(
    client: Client, place: TopicPartition, when: int, offset: int
) -> None:
    assert await offsets(client, leader(client, place), when) == {place: offset}


async def test_a_partition_that_its_leader_does_not_have_is_left_out(client: Client, place: TopicPartition) -> None:
    nodes = leader(client, place)
    nodes |= {TopicPartition(place.topic, 9): nodes[place]}
    assert await offsets(client, nodes, LATEST) == {place: 3}


# Records.


async def test_records_come_from_the_offset_that_was_asked_for(client: Client, place: TopicPartition) -> None:
    fetched = await get(client, place, 1)
    assert (events(fetched), fetched.next, fetched.error, fetched.gap) == (of("1", "2"), 3, None, False)


async def test_an_attempt_counts_from_when_the_record_was_handed_over(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    entry = entry_of(A, NOW - HOUR)
    entry.attempt = 3
    made = outbox_record(A, entry, OTHER)
    record = Record(place.topic, 0, -1, made.key, made.value, dict(made.headers), NOW - 7)
    await asyncio.to_thread(produce, kafka.bootstrap, record)
    (told,) = (await get(client, place, 3)).records
    assert (told.time_ms, told.attempt, told.attempt_ms) == (NOW - HOUR, 3, NOW - 7)


async def test_what_is_more_than_one_answer_comes_by_several(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    for burst in range(5):
        batch = [record_of(place.topic, once(f"{burst}-{number}")) for number in range(100)]
        await asyncio.to_thread(produce, kafka.bootstrap, *batch)
    found, begin = [], 0
    while begin < 503:
        fetched = await get(client, place, begin, max_bytes=1000)
        assert fetched.next > begin
        found += events(fetched)
        begin = fetched.next
    assert found == of("0", "1", "2", *(f"{burst}-{number}" for burst in range(5) for number in range(100)))


async def test_the_middle_of_a_batch_is_a_place_to_begin_also_where_it_is_compressed(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    batch = [record_of(place.topic, once(f"of the batch {number}")) for number in range(10)]
    await asyncio.to_thread(produce_with, kafka.bootstrap, {"compression.type": "gzip"}, *batch)
    fetched = await get(client, place, 8)
    assert events(fetched) == of(*(f"of the batch {number}" for number in range(5, 10)))
    assert (fetched.next, fetched.gap) == (13, False)


async def test_what_strangers_wrote_is_no_record_of_ours_and_takes_its_offset(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    await asyncio.to_thread(produce, kafka.bootstrap, Record(place.topic, 0, -1, None, None, {}, NOW))
    fetched = await get(client, place, 3)
    assert (fetched.records, fetched.next, fetched.error, fetched.gap) == ([], 4, None, False)


async def test_the_marks_of_transactions_take_offsets_and_are_no_records(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    record = record_of(place.topic, once("in a transaction"))

    def transact() -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": place.topic})
        producer.init_transactions()
        producer.begin_transaction()
        producer.produce(place.topic, record.value, record.key, 0, headers=list(record.headers.items()))
        producer.commit_transaction()

    await asyncio.to_thread(transact)
    async with asyncio.timeout(PATIENCE):  # the mark comes a moment after the commit was promised
        while await offsets(client, leader(client, place), LATEST) != {place: 5}:  # noqa: ASYNC110 - the broker tells
            await asyncio.sleep(0.01)
    fetched = await get(client, place, 3)
    assert (events(fetched), fetched.next, fetched.gap) == (of("in a transaction"), 5, False)


@pytest.mark.parametrize("lacking", [0, 1, 2], ids=["at the beginning", "in the middle", "at the end"])
async def test_records_that_are_missing_in_between_are_noticed(
    client: Client, place: TopicPartition, lacking: int
) -> None:
    """A topic that is compacted; what lies behind the last batch was not missing when it was fetched."""
    (fetched,) = await fetch(without_batch(client, lacking), leader(client, place), {place: 0}, ENOUGH)
    assert events(fetched) == of(*(name for number, name in enumerate("012") if number != lacking))
    assert fetched.gap is (lacking < 2)


async def test_a_fetch_waits_for_what_is_on_its_way(
    kafka: KafkaCluster | NamedKafka, place: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that has its records in object storage answers nothing to a fetch that does not wait."""
    monkeypatch.setattr(module, "_WAIT_MS", int(2 * PATIENCE * 1000))
    patient = make_client(KafkaSettings(bootstrap_servers=kafka.bootstrap), timeout_ms=int(3 * PATIENCE * 1000))
    try:
        await patient.bootstrap()
        patient.set_topics([place.topic])
        await patient.force_metadata_update()
        fetching = asyncio.create_task(get(patient, place, 3))
        await asyncio.to_thread(produce, kafka.bootstrap, record_of(place.topic, once("on its way")))
        async with asyncio.timeout(PATIENCE):
            assert events(await fetching) == of("on its way")
    finally:
        await patient.close()


# What cannot be read.


async def test_offsets_that_are_not_there_are_out_of_range(client: Client, place: TopicPartition) -> None:
    fetched = await get(client, place, 99)
    assert (type(fetched.error), fetched.records, fetched.next) == (OffsetOutOfRangeError, [], 99)


async def test_a_header_whose_name_is_no_text_is_of_nobody_we_know_and_in_nobodys_way(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    """Who writes is librdkafka, which writes text only: the name is changed on its way back."""
    await asyncio.to_thread(produce, kafka.bootstrap, Record(place.topic, 0, -1, None, b"v", {"a": b"1"}, NOW))
    await asyncio.to_thread(produce, kafka.bootstrap, record_of(place.topic, once("after")))
    client_of_strangers = changed(client, lambda data: data.replace(b"\x02a\x02", b"\x02\xff\x02"))
    (fetched,) = await fetch(client_of_strangers, leader(client, place), {place: 3}, ENOUGH)
    assert (fetched.error, fetched.next) == (None, 4)
    (fetched,) = await fetch(client_of_strangers, leader(client, place), {place: 4}, ENOUGH)
    assert events(fetched) == of("after")


async def test_a_codec_that_is_not_there_is_told_and_what_lies_before_comes_first(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    await asyncio.to_thread(configure_topic, kafka.bootstrap, place.topic, {"compression.type": "zstd"})
    await asyncio.to_thread(produce_with, kafka.bootstrap, {}, record_of(place.topic, A))
    before, at = await get(client, place, 0), await get(client, place, 3)
    assert (before.error, before.next) == (None, 3)
    assert (type(at.error), at.records, at.next) == (UnreadableError, [], 3)


def produce_with(bootstrap: str, options: dict[str, str | int], *records: Record) -> None:
    """Write records as one batch."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 200} | options)
    for record in records:
        producer.produce(record.topic, record.value, record.key, record.partition, headers=list(record.headers.items()))
    assert producer.flush(30) == 0


def changed(client: Client, change: Callable[[bytes], bytes]) -> Client:
    """Return a client in whose answers the data is changed."""

    async def send(node: int, request: object) -> object:
        answer = await client.send(node, request)
        topics = [(topic, [(*rest, change(data)) for *rest, data in partitions]) for topic, partitions in answer.topics]
        answer.topics = topics
        return answer

    return SimpleNamespace(send=send)  # type: ignore[return-value]  # as much of one as is asked for


def without_batch(client: Client, number: int) -> Client:
    """Return a client in whose answers a batch is missing, as where a topic is compacted."""

    def drop(data: bytes) -> bytes:
        batches, at = [], 0
        while at < len(data):
            end = at + 12 + int.from_bytes(data[at + 8 : at + 12])  # KIP-98: base offset, length of what follows
            batches.append(data[at:end])
            at = end
        del batches[number]
        return b"".join(batches)

    return changed(client, drop)
