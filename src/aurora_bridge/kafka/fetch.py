"""Reading below aiokafka's consumer: where partitions begin and end, and what lies in them, key and headers only.

aiokafka's consumer fetches ahead and decodes whole records; `follower` wants to know of a gap here and there, and no
value. Like `wire`, this leans on aiokafka's protocol classes: `tests/kafka/test_fetch.py` fails when they change.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka.errors import for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.wire import Client
from aurora_bridge.webhook.event import Headers

LATEST = -1
EARLIEST = -2
_CONSUMER = -1
_READ_UNCOMMITTED = 0
_MAGIC_WITH_HEADERS = 2


class UnreadableError(Exception):
    """A batch cannot be decoded. The message says why."""


class Head(NamedTuple):
    """A record without its value."""

    offset: int
    key: bytes | None
    headers: Headers


class Fetched(NamedTuple):
    """What a broker gave of one partition."""

    place: TopicPartition
    error: Exception | None
    heads: list[Head]
    next: int
    """Offset to go on from."""


async def offsets(
    client: Client, node: int, wanted: Mapping[TopicPartition, int]
) -> Iterator[tuple[TopicPartition, int, type[Exception] | None]]:
    """Return an offset for each partition that `node` leads: `LATEST`, `EARLIEST`, or the first since a time in ms.

    -1 where no record is so young. Raises `KafkaError`, `OSError`, `TimeoutError`.
    """
    request = OffsetRequest(_CONSUMER, _READ_UNCOMMITTED, _by_topic((place, (when,)) for place, when in wanted.items()))
    answer: Any = await client.send(node, request)
    return (
        (TopicPartition(topic, partition), offset, for_code(code) if code else None)
        for topic, partitions in answer.topics
        for partition, code, _, offset, *_ in partitions
    )


async def fetch(client: Client, node: int, wanted: Mapping[TopicPartition, int], max_bytes: int) -> list[Fetched]:
    """Return what `node` has from these offsets on, about `max_bytes` of it. Raises like `offsets`."""
    topics = _by_topic((place, (offset, max_bytes)) for place, offset in wanted.items())
    answer: Any = await client.send(node, FetchRequest(0, 0, max_bytes, _READ_UNCOMMITTED, topics))
    return [
        _fetched(TopicPartition(topic, partition), code, data, wanted[TopicPartition(topic, partition)])
        for topic, partitions in answer.topics
        for partition, code, *_, data in partitions
    ]


def _by_topic(places: Iterable[tuple[TopicPartition, tuple[int, ...]]]) -> list[tuple[str, list[Any]]]:
    topics: dict[str, list[Any]] = {}
    for place, more in places:
        topics.setdefault(place.topic, []).append((place.partition, *more))
    return list(topics.items())


def _fetched(place: TopicPartition, code: int, data: bytes | None, offset: int) -> Fetched:
    heads: list[Head] = []
    if code:
        return Fetched(place, for_code(code)(), heads, offset)
    batches = MemoryRecords(data or b"")
    try:
        while batches.has_next():
            batch: Any = batches.next_batch()
            if not batch.is_control_batch:
                heads += _heads(batch, offset)
            offset = max(offset, batch.next_offset)
    except Exception as error:  # noqa: BLE001 - a codec that is not there, or what aiokafka trips over
        if not heads:  # else they come first, and it again
            return Fetched(place, UnreadableError(f"the batch at offset {offset}: {error!r}"), heads, offset)
    return Fetched(place, None, heads, offset)


def _heads(batch: Iterable[Any], begin: int) -> list[Head]:
    try:
        return [Head(record.offset, record.key, record.headers) for record in batch if record.offset >= begin]
    except UnicodeDecodeError:
        return []  # the name of a header is no text: of a batch no replica wrote
