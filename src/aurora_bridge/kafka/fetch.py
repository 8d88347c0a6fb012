"""Reading below aiokafka's consumer: where partitions begin and end, and what lies in them.

aiokafka's consumer fetches ahead, for as long as it lives; `follower` wants to know of a gap here and there, and
whether records are missing in it. Like `wire`, this leans on aiokafka's protocol classes: `tests/kafka/test_fetch.py`
fails when they change.
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
from aurora_bridge.kafka.wire import Client

LATEST = -1
EARLIEST = -2
_CONSUMER = -1
_READ_UNCOMMITTED = 0

Nodes = Mapping[TopicPartition, int]
"""Partitions, with the node that leads each."""


class UnreadableError(Exception):
    """A batch cannot be decoded. The message says why."""


class Fetched(NamedTuple):
    """What a broker gave of one partition."""

    place: TopicPartition
    error: Exception | None
    records: list[LogRecord]
    """Those that a replica wrote."""
    next: int
    """Offset to go on from."""
    gap: bool = False
    """Whether records are missing between them: the topic is compacted."""


def leaders(client: Client, topics: Iterable[str]) -> tuple[dict[TopicPartition, int], set[str], set[str]]:
    """Return every partition that has a leader, with its node; the topics that are not there; and the dark ones.

    Those have a partition without a leader: what lies in it cannot be known.
    """
    nodes: dict[TopicPartition, int] = {}
    missing: set[str] = set()
    dark: set[str] = set()
    for topic in topics:
        partitions = client.cluster.partitions_for_topic(topic)
        if not partitions:
            missing.add(topic)
        for partition in partitions or ():
            place = TopicPartition(topic, partition)
            leader = client.cluster.leader_for_partition(place)
            if leader is None or leader < 0:
                dark.add(topic)
            else:
                nodes[place] = leader
    return nodes, missing, dark


async def offsets(client: Client, nodes: Nodes, when: int) -> dict[TopicPartition, int]:
    """Return an offset of each partition whose leader knows it: `LATEST`, `EARLIEST`, or the first since a time in ms.

    -1 where no record is so young. Raises `KafkaError`, `OSError`, `TimeoutError`.
    """
    requests = []
    for node in set(nodes.values()):
        places = _by_topic((place, (when,)) for place, leader in nodes.items() if leader == node)
        requests.append(client.send(node, OffsetRequest(_CONSUMER, _READ_UNCOMMITTED, places)))
    answers: list[Any] = await asyncio.gather(*requests)
    return {
        TopicPartition(topic, partition): offset
        for answer in answers
        for topic, partitions in answer.topics
        for partition, code, _, offset, *_ in partitions
        if not code
    }


async def fetch(client: Client, nodes: Nodes, begins: Mapping[TopicPartition, int], max_bytes: int) -> list[Fetched]:
    """Return what each of `nodes` has from these offsets on, about `max_bytes` of it. Raises like `offsets`."""
    requests = []
    for node in set(nodes.values()):
        places = _by_topic((place, (begins[place], max_bytes)) for place, leader in nodes.items() if leader == node)
        requests.append(client.send(node, FetchRequest(0, 0, max_bytes, _READ_UNCOMMITTED, places)))
    answers: list[Any] = await asyncio.gather(*requests)
    return [
        _fetched(TopicPartition(topic, partition), code, data, begins[TopicPartition(topic, partition)])
        for answer in answers
        for topic, partitions in answer.topics
        for partition, code, *_, data in partitions
    ]


def _by_topic(places: Iterable[tuple[TopicPartition, tuple[int, ...]]]) -> list[tuple[str, list[Any]]]:
    topics: dict[str, list[Any]] = {}
    for place, more in places:
        topics.setdefault(place.topic, []).append((place.partition, *more))
    return list(topics.items())


def _fetched(place: TopicPartition, code: int, data: bytes | None, offset: int) -> Fetched:
    records: list[LogRecord] = []
    if code:
        return Fetched(place, for_code(code)(), records, offset)
    gap = False
    batches = MemoryRecords(data or b"")
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
        """The name of a header is no text: a batch that no replica wrote."""
        return Fetched(place, None, records, max(offset, batch.next_offset), gap)
    except Exception as error:  # noqa: BLE001 - a codec that is not there, or what aiokafka trips over
        if not records:  # else they come first, and it again
            return Fetched(place, UnreadableError(f"the batch at offset {offset}: {error!r}"), records, offset)
    return Fetched(place, None, records, offset, gap)
