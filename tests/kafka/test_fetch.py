"""Reading below aiokafka's consumer, from a real broker: this is where a new version of aiokafka shows."""

import asyncio
from collections.abc import AsyncIterator
from time import time

import pytest
from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer

from aurora_bridge.kafka.fetch import EARLIEST, LATEST, UnreadableError, fetch, offsets
from aurora_bridge.kafka.wire import Client
from tests.kafka.sending import PATIENCE, client_of
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import Record, configure_topic, produce

HOUR_MS = 3_600_000
NOW_MS = int(time() * 1000)
ENOUGH = 2**20


@pytest.fixture
async def client(kafka: KafkaCluster | NamedKafka) -> AsyncIterator[Client]:
    made = client_of(kafka.bootstrap)()
    await made.bootstrap()
    yield made
    await made.close()


@pytest.fixture
async def place(kafka: KafkaCluster | NamedKafka, client: Client, topic: str) -> TopicPartition:
    """The partition of a topic with three records: an hour old, half an hour, and of now."""
    client.set_topics([topic])
    await client.force_metadata_update()
    for number, ago in enumerate((HOUR_MS, HOUR_MS // 2, 0)):
        await asyncio.to_thread(produce, kafka.bootstrap, of(topic, f"k{number}", NOW_MS - ago))
    return TopicPartition(topic, 0)


def of(topic: str, key: str | None, timestamp: int = NOW_MS) -> Record:
    return Record(topic, 0, -1, key.encode() if key else None, b"v", {"a": b"1", "b": None}, timestamp)


def leader(client: Client, place: TopicPartition) -> int:
    node = client.cluster.leader_for_partition(place)
    assert isinstance(node, int)
    return node


async def read(client: Client, place: TopicPartition, begin: int, max_bytes: int = ENOUGH) -> list[tuple[int, object]]:
    """Return offsets and keys from an offset to the end, by as many answers as it takes."""
    found: list[tuple[int, object]] = []
    while True:
        (fetched,) = await fetch(client, leader(client, place), {place: begin}, max_bytes)
        assert (fetched.place, fetched.error) == (place, None)
        if fetched.next == begin:
            return found
        found += [(head.offset, head.key) for head in fetched.heads]
        begin = fetched.next


@pytest.mark.parametrize(
    ("when", "offset"),
    [(EARLIEST, 0), (LATEST, 3), (NOW_MS - HOUR_MS * 3 // 4, 1), (NOW_MS + HOUR_MS, -1)],
    ids=["the first", "the end", "the first since a time", "none is so young"],
)
async def test_a_broker_tells_where_its_partitions_begin_and_end(
    client: Client, place: TopicPartition, when: int, offset: int
) -> None:
    assert list(await offsets(client, leader(client, place), {place: when})) == [(place, offset, None)]


async def test_a_partition_that_is_not_there_has_an_error_and_no_offset(client: Client, place: TopicPartition) -> None:
    other = TopicPartition(place.topic, 9)
    told = dict.fromkeys((place, other), LATEST)
    answers = {where: error for where, _, error in await offsets(client, leader(client, place), told)}
    assert answers == {place: None, other: UnknownTopicOrPartitionError}


async def test_keys_and_headers_come_from_the_offset_that_was_asked_for(client: Client, place: TopicPartition) -> None:
    (fetched,) = await fetch(client, leader(client, place), {place: 1}, ENOUGH)
    assert [(head.offset, head.key, list(head.headers)) for head in fetched.heads] == [
        (number, b"k%d" % number, [("a", b"1"), ("b", None)]) for number in (1, 2)
    ]
    assert fetched.next == 3


async def test_what_is_more_than_one_answer_comes_by_several(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    for burst in range(5):
        batch = [of(place.topic, f"{burst}-{number}") for number in range(100)]
        await asyncio.to_thread(produce, kafka.bootstrap, *batch)
    found = await read(client, place, 0, max_bytes=1000)
    assert [offset for offset, _ in found] == list(range(503))


async def test_the_middle_of_a_batch_is_a_place_to_begin_also_where_it_is_compressed(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    await asyncio.to_thread(produce_with, kafka.bootstrap, {"compression.type": "gzip", "linger.ms": 200}, place, 10)
    assert [offset for offset, _ in await read(client, place, 8)] == [8, 9, 10, 11, 12]


async def test_the_marks_of_transactions_take_offsets_and_are_no_records(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    def transact() -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": place.topic})
        producer.init_transactions()
        producer.begin_transaction()
        producer.produce(place.topic, b"v", b"in a transaction", 0)
        producer.commit_transaction()

    await asyncio.to_thread(transact)
    async with asyncio.timeout(PATIENCE):  # the mark comes a moment after the commit was promised
        while list(await offsets(client, leader(client, place), {place: LATEST})) != [(place, 5, None)]:
            pass
    (fetched,) = await fetch(client, leader(client, place), {place: 3}, ENOUGH)
    assert ([(head.offset, head.key) for head in fetched.heads], fetched.next) == ([(3, b"in a transaction")], 5)


async def test_offsets_that_are_not_there_are_out_of_range(client: Client, place: TopicPartition) -> None:
    (fetched,) = await fetch(client, leader(client, place), {place: 99}, ENOUGH)
    assert (type(fetched.error), fetched.heads, fetched.next) == (OffsetOutOfRangeError, [], 99)


async def test_a_header_whose_name_is_no_text_is_of_nobody_we_know_and_in_nobodys_way(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    """Who writes is librdkafka, which writes text only: the name is changed on its way back."""
    await asyncio.to_thread(produce, kafka.bootstrap, of(place.topic, "after"))
    spoilt = Spoilt(client)
    (fetched,) = await fetch(spoilt, leader(client, place), {place: 2}, ENOUGH)  # type: ignore[arg-type]
    assert (fetched.error, fetched.heads, fetched.next) == (None, [], 4)


class Spoilt:
    """A client in whose answers no header's name is text."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, node: int, request: object) -> object:
        answer = await self._client.send(node, request)
        topics = [
            (topic, [(*rest, data.replace(b"\x02a\x02", b"\x02\xff\x02")) for *rest, data in partitions])
            for topic, partitions in answer.topics
        ]
        answer.topics = topics
        return answer


async def test_a_codec_that_is_not_there_is_told_and_what_lies_before_comes_first(
    kafka: KafkaCluster | NamedKafka, client: Client, place: TopicPartition
) -> None:
    await asyncio.to_thread(configure_topic, kafka.bootstrap, place.topic, {"compression.type": "zstd"})
    await asyncio.to_thread(produce_with, kafka.bootstrap, {"linger.ms": 200}, place, 3)
    node = leader(client, place)
    (before,) = await fetch(client, node, {place: 0}, ENOUGH)
    (at,) = await fetch(client, node, {place: 3}, ENOUGH)
    assert (before.error, before.next) == (None, 3)
    assert (type(at.error), at.heads, at.next) == (UnreadableError, [], 3)


def produce_with(bootstrap: str, options: dict[str, str | int], place: TopicPartition, count: int) -> None:
    """Write records as one batch."""
    producer = Producer({"bootstrap.servers": bootstrap} | options)
    for number in range(count):
        producer.produce(place.topic, b"v" * 100, b"%d" % number, place.partition)
    assert producer.flush(30) == 0
