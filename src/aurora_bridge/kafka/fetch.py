"""Fetches offsets and records, below aiokafka's consumer.

aiokafka's consumer always fetches ahead. `follower` only reads a gap now and then, and must know whether records are
missing in it; `partition_consumer` must know where a partition ends. Like `client`, this depends on aiokafka's protocol
classes: `tests/kafka/test_fetch.py` fails when they change.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.errors import for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from aurora_bridge.dedup.log_record import LogRecord, read
from aurora_bridge.kafka.client import Client

LATEST = -1
EARLIEST = -2
READ_UNCOMMITTED = 0
READ_COMMITTED = 1
"""Isolation levels. With this one, a partition ends at its last stable offset: where the first open transaction begins.
"""
_CONSUMER = -1
_WAIT_MS = 500
"""How long a broker may wait for records; the default of Kafka's own consumer (`fetch.max.wait.ms`).

A broker with tiered or object storage returns nothing to a fetch that does not wait. While it waits it answers nothing
else on this connection; if a record is at hand, it answers at once.
"""

Nodes = Mapping[TopicPartition, int]
"""The leader's node, by partition."""


class UnreadableError(Exception):
    """A batch cannot be decoded. The message says why."""


class PartitionData(NamedTuple):
    """One partition's part of a fetch response."""

    place: TopicPartition
    code: int
    """Kafka's error code, 0 if none."""
    end: int
    """The last stable offset."""
    aborted: list[tuple[int, int]]
    """Aborted transactions among the records: producer id and first offset of each."""
    data: bytes | None
    """Record batches."""


class Fetched(NamedTuple):
    """What was read from one partition."""

    place: TopicPartition
    error: Exception | None
    records: list[LogRecord]
    """Records that a replica wrote."""
    next: int
    """Offset to continue from."""
    gap: bool = False
    """Whether records are missing between them: the topic is compacted."""


def leaders(client: Client, topics: Iterable[str]) -> tuple[dict[TopicPartition, int], set[str], set[str]]:
    """Return the leader's node by partition, the missing topics, and the topics with a partition without a leader.

    What such a partition holds cannot be known.
    """
    nodes: dict[TopicPartition, int] = {}
    missing: set[str] = set()
    leaderless: set[str] = set()
    for topic in topics:
        partitions = client.cluster.partitions_for_topic(topic)
        if not partitions:
            missing.add(topic)
        for partition in partitions or ():
            place = TopicPartition(topic, partition)
            leader = client.cluster.leader_for_partition(place)
            if leader is None or leader < 0:
                leaderless.add(topic)
            else:
                nodes[place] = leader
    return nodes, missing, leaderless


async def offsets(
    client: Client, nodes: Nodes, when: int, *, isolation: int = READ_UNCOMMITTED
) -> dict[TopicPartition, int]:
    """Return an offset by partition: `LATEST`, `EARLIEST`, or the first since a time in ms (-1: none is that recent).

    Leaves out partitions for which the leader returns an error. Raises `KafkaError`, `OSError`, `TimeoutError`.
    """
    requests = []
    for node in set(nodes.values()):
        places = _by_topic((place, (when,)) for place, leader in nodes.items() if leader == node)
        requests.append(client.send(node, OffsetRequest(_CONSUMER, isolation, places)))
    answers: list[Any] = await asyncio.gather(*requests)
    return {
        TopicPartition(topic, partition): offset
        for answer in answers
        for topic, partitions in answer.topics
        for partition, code, _, offset, *_ in partitions
        if not code
    }


async def fetch(client: Client, nodes: Nodes, begins: Mapping[TopicPartition, int], max_bytes: int) -> list[Fetched]:
    """Return what each of `nodes` has from these offsets on, about `max_bytes` of it. Raises like `offsets`.

    Use it for offsets that are known to exist: a broker that has nothing at all delays its response.
    """
    requests = []
    for node in set(nodes.values()):
        places = {place: begins[place] for place, leader in nodes.items() if leader == node}
        requests.append(fetch_from(client, node, places, max_bytes, wait_ms=_WAIT_MS))
    answers = await asyncio.gather(*requests)
    return [_fetched(part, begins[part.place]) for parts in answers for part in parts]


async def fetch_from(  # noqa: PLR0913 - the fields of the request
    client: Client,
    node: int,
    begins: Mapping[TopicPartition, int],
    max_bytes: int,
    *,
    wait_ms: int,
    isolation: int = READ_UNCOMMITTED,
) -> list[PartitionData]:
    """Return what a broker has from these offsets on, once it has something or `wait_ms` have passed.

    Returns nothing if the broker throttles us, which `Client.send` obeys. Raises like `offsets`.
    """
    places = _by_topic((place, (begin, max_bytes)) for place, begin in begins.items())
    answer: Any = await client.send(node, FetchRequest(wait_ms, 1, max_bytes, isolation, places))
    return [
        PartitionData(TopicPartition(topic, partition), code, end, _aborted(more), data)
        for topic, partitions in answer.topics
        for partition, code, _, end, *more, data in partitions
    ]


def _aborted(fields: Iterable[Any]) -> list[tuple[int, int]]:
    """Return the aborted transactions: the only list among these fields. Its position depends on the version."""
    return next((field for field in fields if isinstance(field, list)), [])


def _by_topic(places: Iterable[tuple[TopicPartition, tuple[int, ...]]]) -> list[tuple[str, list[Any]]]:
    topics: dict[str, list[Any]] = {}
    for place, more in places:
        topics.setdefault(place.topic, []).append((place.partition, *more))
    return list(topics.items())


def _fetched(part: PartitionData, offset: int) -> Fetched:
    records: list[LogRecord] = []
    place = part.place
    if part.code:
        return Fetched(place, for_code(part.code)(), records, offset)
    gap = False
    batches = MemoryRecords(part.data or b"")
    try:
        while batches.has_next():
            batch: Any = batches.next_batch()
            if not batch.is_control_batch:
                for record in batch:
                    if record.offset < offset:
                        continue
                    gap |= record.offset > offset
                    offset = record.offset + 1
                    told = read(record.value or b"", record.headers, record.timestamp)
                    if told is not None:
                        records.append(told)
                gap |= batch.next_offset > offset
            offset = max(offset, batch.next_offset)
    except UnicodeDecodeError:
        """A header's name is not UTF-8: no replica wrote this batch."""
        return Fetched(place, None, records, max(offset, batch.next_offset), gap)
    except Exception as error:  # noqa: BLE001 - a missing codec, or anything else that aiokafka raises
        if not records:  # else return these first; the error comes again
            return Fetched(place, UnreadableError(f"the batch at offset {offset}: {error!r}"), records, offset)
    return Fetched(place, None, records, offset, gap)
