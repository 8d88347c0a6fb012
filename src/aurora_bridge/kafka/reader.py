"""Reads events back out of their topics, for people who look: `cli.tail` prints them.

No consumer group: nothing is committed, and nobody else's reading is disturbed. Each partition is read in its order;
between partitions there is none.
"""

from collections.abc import Callable, Iterable
from time import monotonic

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

Show = Callable[[list[bytes]], None]


class ReadError(Exception):
    """The topics cannot be read. The message says why and what to do."""


async def read_topics(settings: KafkaSettings, events: Iterable[str], show: Show, *, follow: bool) -> None:
    """Hand the values of all records in the topics of `events` to `show`, in groups as they come.

    Ends where the topics ended when it began; with `follow`, never. Raises `ReadError`.
    """
    topics = [settings.topic_prefix + event for event in events]
    client = make_client(settings)
    consumer = _consumer(client)
    try:
        await consumer.start()
        await client.set_topics(topics)
        partitions = _partitions(client, topics)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        consumer.assign(partitions)
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
                show([record.value for record in records if record.value and (follow or record.offset < end)])
                if records[-1].offset >= end - 1:
                    unread.discard(partition)
    except (KafkaError, OSError, TimeoutError) as error:
        msg = f"Kafka at {settings.bootstrap_servers} cannot be read: {explain(error, '').words}."
        raise ReadError(msg) from error
    finally:
        await consumer.stop()


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
