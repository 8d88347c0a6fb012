"""Topics, read and written by a client that shares no code with the daemon: confluent-kafka, that is librdkafka."""

import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    PartitionMetadata,
    ResourceType,
    TopicMetadata,
)

REQUEST_SECONDS: Final = 30.0
"""Bound of one request to the cluster's controller."""

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 10.0
"""What a broker that can be reached takes at most to say what it knows, unless it is frozen. Just started on a busy
machine, it takes seconds."""

ANY_TIME: Final = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
"""Configuration of a topic that takes and keeps records of any timestamp, whatever the clock says."""

REFRESH_MS = 1000
"""A broker may name a leader that has just died; librdkafka would go on asking that one for five minutes."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in Kafka. `timestamp` is in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str | bytes | None]
    timestamp: int


def read_all(bootstrap: str, topics: Iterable[str], timeout: float = 60.0) -> list[Record]:
    """Return every record of the topics, up to the ends that their partitions have now, by topic, partition and offset.

    Raises `LookupError` for a topic that does not exist and `TimeoutError` after `timeout` seconds.
    """
    deadline = monotonic() + timeout
    partitions = _partitions(bootstrap, sorted(set(topics)))
    starts = _offsets(bootstrap, partitions, OffsetSpec.earliest(), deadline)
    ends = _offsets(bootstrap, partitions, OffsetSpec.latest(), deadline)
    unread = {partition for partition in partitions if starts[partition] < ends[partition]}
    records: list[Record] = []
    options = {"group.id": "reader", "enable.auto.commit": False, "topic.metadata.refresh.interval.ms": REFRESH_MS}
    consumer = Consumer(_client(bootstrap) | options)
    try:
        consumer.assign([TopicPartition(*partition, OFFSET_BEGINNING) for partition in unread])
        while unread:
            record = _record(consumer.poll(max(0.0, deadline - monotonic())))
            end = ends[record.topic, record.partition]
            if record.offset < end:
                records.append(record)
            if record.offset >= end - 1:
                unread.discard((record.topic, record.partition))
    finally:
        consumer.close()
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


def end_of(bootstrap: str, topic: str, partition: int) -> int:
    """Return the offset behind the last record of a partition. Raises `TimeoutError`."""
    place = (topic, partition)
    return _offsets(bootstrap, [place], OffsetSpec.latest(), monotonic() + REQUEST_SECONDS)[place]


def count_records(bootstrap: str, topics: Iterable[str]) -> int:
    """Return how many records were written to the topics, control records among them. Raises `TimeoutError`."""
    ends = _offsets(
        bootstrap, _partitions(bootstrap, sorted(topics)), OffsetSpec.latest(), monotonic() + REQUEST_SECONDS
    )
    return sum(ends.values())


def unique_prefix() -> str:
    """Return a prefix for topic names that no other test uses."""
    return f"test-{uuid4().hex[:12]}."


def topic_names(bootstrap: str, prefix: str = "") -> list[str]:
    """Return the names of the topics that begin with the prefix."""
    names = AdminClient(_client(bootstrap)).list_topics(timeout=REQUEST_SECONDS).topics
    return sorted(name for name in names if name.startswith(prefix))


def partition_of(bootstrap: str, topic: str, number: int) -> PartitionMetadata:
    """Return what a broker knows of a partition now: leader and replicas in sync. Raises `KafkaException`."""
    return AdminClient(_client(bootstrap)).list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions[number]


def create_topics(
    bootstrap: str,
    *names: str,
    partitions: int = 3,
    config: Mapping[str, str] | None = None,
    replicas: list[list[int]] | None = None,
) -> None:
    """Create topics with the cluster's own replication; return when they can be written.

    `replicas` are the nodes of each partition instead, the one that is to lead it first. Raises `KafkaException`, and
    `TimeoutError` where their partitions get no leaders.
    """
    placed: dict[str, Any] = {"replica_assignment": replicas} if replicas else {}
    count = len(replicas) if replicas else partitions
    topics = [NewTopic(name, num_partitions=count, config=dict(config or {}), **placed) for name in names]
    admin = AdminClient(_client(bootstrap))  # has to live until the futures are done
    _wait(admin.create_topics(topics, operation_timeout=REQUEST_SECONDS))
    wait_until_writable(bootstrap, *names)


def wait_until_writable(bootstrap: str, *names: str) -> None:
    """Return once topics that were created are known, with leaders, to each broker that answers. Raises `TimeoutError`.

    A node takes note of its own cluster's topics a moment after another, or itself, has said that they are created.
    """
    deadline = monotonic() + REQUEST_SECONDS
    while True:
        known = {_knows(address, names) for address in bootstrap.split(",")}
        if True in known and False not in known:
            return
        if monotonic() > deadline:
            message = f"no leaders for {names}"
            raise TimeoutError(message)


def configure_topic(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Change a topic's configuration. Raises `KafkaException`."""
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    admin = AdminClient(_client(bootstrap))
    _wait(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)]))


def produce(bootstrap: str, *records: Record) -> None:
    """Write records as they are, but for their offsets, which Kafka gives. Raises `KafkaException`."""
    producer = Producer(_client(bootstrap))
    for record in records:
        producer.produce(
            record.topic,
            record.value,
            record.key,
            record.partition,
            timestamp=record.timestamp,
            headers=list(record.headers.items()),
        )
    unsent = producer.flush(REQUEST_SECONDS)
    if unsent:
        message = f"{unsent} records could not be written"
        raise TimeoutError(message)


def transact(bootstrap: str, topic: str, *values: bytes, commit: bool) -> None:
    """Write values to the first partition in a transaction; return once its marker is there. Raises `TimeoutError`.

    The marker comes a moment after the transaction's end was promised.
    """
    producer = begin_transaction(bootstrap, topic, *values)
    end = end_of(bootstrap, topic, 0)
    (producer.commit_transaction if commit else producer.abort_transaction)(REQUEST_SECONDS)
    deadline = monotonic() + REQUEST_SECONDS
    while end_of(bootstrap, topic, 0) == end:
        if monotonic() > deadline:
            message = f"no marker in {topic}"
            raise TimeoutError(message)


def begin_transaction(bootstrap: str, topic: str, *values: bytes) -> Producer:
    """Write values to the first partition in a transaction; return its producer, which is to end it."""
    producer = Producer(_client(bootstrap) | {"transactional.id": topic})
    producer.init_transactions(REQUEST_SECONDS)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    unsent = producer.flush(REQUEST_SECONDS)
    if unsent:
        message = f"{unsent} records could not be written"
        raise TimeoutError(message)
    return producer


def add_partitions(bootstrap: str, name: str, count: int) -> None:
    """Let a topic have so many partitions; return when they can be written. Raises `KafkaException`."""
    admin = AdminClient(_client(bootstrap))
    _wait(admin.create_partitions([NewPartitions(name, count)], operation_timeout=REQUEST_SECONDS))
    wait_until_writable(bootstrap, name)


def delete_topics(bootstrap: str, *names: str) -> None:
    """Delete topics; return when no broker that answers knows them. Raises `TimeoutError`.

    Each time with a new client: one that began while a frozen node came back was seen to wait for half a minute.
    """
    deadline = monotonic() + REQUEST_SECONDS
    left = set(names)
    while left:
        if monotonic() > deadline:
            message = f"not deleted: {', '.join(sorted(left))}"
            raise TimeoutError(message)
        admin = AdminClient(_client(bootstrap))
        with suppress(KafkaException):  # one that was deleted before, or no controller yet
            _wait(admin.delete_topics(list(left), request_timeout=ANSWER_SECONDS))
        known = [_topics(address) or {} for address in bootstrap.split(",")]
        left = {name for name in left if any(name in topics for topics in known)}


def delete_records(bootstrap: str, name: str, before: int) -> None:
    """Delete what lies below an offset of a topic's only partition, as age would. Raises `KafkaException`."""
    admin = AdminClient(_client(bootstrap))
    for future in admin.delete_records([TopicPartition(name, 0, before)]).values():
        future.result(REQUEST_SECONDS)


def _client(bootstrap: str) -> dict[str, str | int | float | bool]:
    # A test may have the broker down on purpose: come back quickly, and leave the terminal to the test runner.
    return {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0}


def _knows(address: str, names: Iterable[str]) -> bool | None:
    """Tell whether a broker knows topics with their leaders; None if it does not answer."""
    topics = _topics(address)
    if topics is None:
        return None
    found = [topics[name].partitions.values() if name in topics else () for name in names]
    return all(partitions and all(partition.leader >= 0 for partition in partitions) for partitions in found)


def _topics(address: str) -> dict[str, TopicMetadata] | None:
    """Return the topics that a broker knows; None if it does not answer.

    The client is new each time: only its first question is sure to go to this broker and no other.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        return AdminClient(_client(address)).list_topics(timeout=ANSWER_SECONDS).topics
    except (OSError, KafkaException):
        return None


def _partitions(bootstrap: str, topics: list[str]) -> list[tuple[str, int]]:
    known = AdminClient(_client(bootstrap)).list_topics(timeout=REQUEST_SECONDS).topics
    if missing := [topic for topic in topics if topic not in known]:
        message = f"no such topic: {', '.join(missing)}"
        raise LookupError(message)
    return [(topic, partition) for topic in topics for partition in known[topic].partitions]


def _offsets(
    bootstrap: str, partitions: list[tuple[str, int]], which: OffsetSpec, deadline: float
) -> dict[tuple[str, int], int]:
    """Ask for an offset of each partition, if need be until a dead leader has a successor.

    Each time with a new client: one whose leader has died goes on asking the dead one.
    """
    while monotonic() < deadline:
        admin = AdminClient(_client(bootstrap))
        wanted = {TopicPartition(*partition): which for partition in partitions}
        futures = admin.list_offsets(wanted, request_timeout=1.0).items() if wanted else ()
        with suppress(KafkaException):
            found = {(where.topic, where.partition): future.result().offset for where, future in futures}
            if all(offset >= 0 for offset in found.values()):
                return found
    message = f"no offsets of {partitions}"
    raise TimeoutError(message)


def _record(message: Message | None) -> Record:
    if message is None:
        silence = "no further record, though the end is not reached"
        raise TimeoutError(silence)
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if message.error() or topic is None or partition is None or offset is None:
        raise KafkaException(message.error())
    _, timestamp = message.timestamp()
    headers = dict(message.headers() or ())
    return Record(topic, partition, offset, message.key(), message.value(), headers, timestamp)


def _wait(futures: Mapping[Any, Future[None]]) -> None:
    for future in futures.values():
        future.result(REQUEST_SECONDS)
