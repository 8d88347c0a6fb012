"""Reads events back out of their topics, for people who look: `cli.tail` prints them, `cli.find` looks for one.

No consumer group: nothing is committed, and nobody else's reading is disturbed. Each partition is read in its order;
between partitions there is none.
"""

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.problems import REASONS, explain
from aurora_bridge.kafka.topics import make_client
from aurora_bridge.kafka.wire import Client
from aurora_bridge.settings import KafkaSettings

_POLL_MS = 1000
_PATIENCE_SECONDS = 15.0
"""Silence, before the end is reached, after which reading is given up."""
_FETCH_BYTES = 2**20
"""Of one answer: small enough to arrive within the client's time-out over a slow line."""


class Stored(NamedTuple):
    """A record as it lies in Kafka. Its key is left out, since nothing is told by it (`webhook.event.identity_of`)."""

    topic: str
    partition: int
    offset: int
    value: bytes
    headers: Sequence[tuple[str, bytes]]


Show = Callable[[list[Stored]], None]


class ReadError(Exception):
    """The topics cannot be read. The message says why and what to do."""


def unreadable(settings: KafkaSettings, error: BaseException) -> ReadError:
    """Return the words for a Kafka that does not answer, or not as it should."""
    return ReadError(f"Kafka at {settings.bootstrap_servers} cannot be read: {explain(error, '').words}.")


async def read_topics(
    settings: KafkaSettings, events: Iterable[str], show: Show, *, follow: bool = False, since_ms: int = 0
) -> None:
    """Hand all records in the topics of `events` to `show`, in groups as they come.

    With `since_ms`, those whose timestamp is not before it; what lies before the first of them is not read. Ends where
    the topics ended when it began; with `follow`, never. Raises `ReadError`.
    """
    topics = [settings.topic_prefix + event for event in events]
    client = make_client(settings)
    consumer = _consumer(client)
    try:
        await consumer.start()
        await client.set_topics(topics)
        partitions = _partitions(client, topics)
        ends = await consumer.end_offsets(partitions)
        begins = await _begins(consumer, partitions, ends, since_ms)
        consumer.assign(partitions)
        for partition, begin in begins.items():
            consumer.seek(partition, begin)
        unread = {partition for partition in partitions if begins[partition] < ends[partition]}
        heard_at = monotonic()
        while unread or follow:
            groups = await consumer.getmany(timeout_ms=_POLL_MS)
            if groups:
                heard_at = monotonic()
            elif unread and monotonic() - heard_at > _PATIENCE_SECONDS:
                raise KafkaTimeoutError
            for partition, records in groups.items():
                end = ends[partition]
                show(
                    [
                        Stored(*partition, record.offset, record.value, record.headers)
                        for record in records
                        if record.value and record.timestamp >= since_ms and (follow or record.offset < end)
                    ]
                )
                if records[-1].offset >= end - 1:
                    unread.discard(partition)
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreadable(settings, error) from error
    finally:
        await consumer.stop()


async def _begins(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], ends: dict[TopicPartition, int], since_ms: int
) -> dict[TopicPartition, int]:
    """Return where to begin in each partition: at its first record that is not older."""
    if not since_ms:
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        return begins
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    return {partition: found[partition].offset if found[partition] else ends[partition] for partition in partitions}


def _consumer(client: Client) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        request_timeout_ms=int(_PATIENCE_SECONDS * 1000),
        fetch_max_bytes=_FETCH_BYTES,
    )
    consumer._client = client  # noqa: SLF001 - its own would create a topic that is deleted while it reads
    return consumer


def _partitions(client: Client, topics: list[str]) -> list[TopicPartition]:
    """Return the partitions of those topics that exist. Raises `ReadError` if none does."""
    found = [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in sorted(client.cluster.partitions_for_topic(topic) or ())
    ]
    denied = client.cluster.unauthorized_topics
    if denied and not found:
        msg = f"Kafka does not show {', '.join(sorted(denied))}: {REASONS['describe_denied']}."
        raise ReadError(msg)
    if not found:
        msg = (
            f"Kafka has none of the topics {', '.join(topics)}. The daemon creates them when it starts; if it writes "
            "to others, correct AURORA_BRIDGE_KAFKA__TOPIC_PREFIX."
        )
        raise ReadError(msg)
    return found
