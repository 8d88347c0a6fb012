"""Reads events back from their topics, for people: `cli.tail` prints them, `cli.find` searches for one.

There is no consumer group: nothing is committed, and no other consumer is disturbed. Events are ordered within a
partition, but not between partitions. `partition_consumer` does the reading.
"""

import logging
from collections.abc import Iterable

from aiokafka.errors import KafkaError

from aurora_bridge.kafka.client import COMMAND_TIMEOUT_MS, CheckCluster, make_client
from aurora_bridge.kafka.partition_consumer import CaughtUp, PartitionConsumer, ReadError, Show, Tell, listed
from aurora_bridge.kafka.problem_reasons import REASONS, explain
from aurora_bridge.kafka.stored_events import Stored
from aurora_bridge.settings import KafkaSettings

__all__ = ["ReadError", "Stored", "read_topics", "unreadable"]

log = logging.getLogger(__name__)


def unreadable(settings: KafkaSettings, error: BaseException) -> ReadError:
    """Return the error to raise if Kafka does not answer, or not as it should."""
    return ReadError(f"Kafka at {settings.bootstrap_servers} cannot be read: {explain(error, '').words}.")


async def read_topics(  # noqa: PLR0913 - what to read, and callbacks
    settings: KafkaSettings,
    events: Iterable[str],
    show: Show,
    *,
    tell: Tell = log.warning,
    follow: bool = False,
    since_ms: int = 0,
    check_cluster: CheckCluster | None = None,
    caught_up: CaughtUp = lambda: None,
) -> None:
    """Pass the events in the topics of `events` to `show`, in groups as they come, and what is skipped to `tell`.

    With `since_ms`, it begins at the first record with this timestamp or a later one, and leaves out older ones. It
    returns where the topics ended when it began; with `follow`, it calls `caught_up` there, and continues for ever.
    Raises `ReadError`, after everything readable was read.
    """
    topics = [settings.topic_prefix + event for event in events]
    client = make_client(settings, timeout_ms=COMMAND_TIMEOUT_MS, check_cluster=check_cluster)
    try:
        await client.bootstrap()
        client.set_topics(topics)
        await client.refresh()
        denied = client.cluster.unauthorized_topics
        hidden = f"Kafka does not show {listed(denied)}: {REASONS['describe_denied']}." if denied else ""
        if not any(map(client.cluster.partitions_for_topic, topics)):
            raise ReadError(hidden or _none_of(topics))
        consumer = PartitionConsumer(client, topics, tell, follow=follow, since_ms=since_ms)
        if hidden:
            consumer.fail(hidden)
        try:
            await consumer.run(show, caught_up)
        finally:
            consumer.tell_skipped()
    except KafkaError as error:
        raise unreadable(settings, error) from error
    finally:
        await client.close()


def _none_of(topics: list[str]) -> str:
    return (
        f"Kafka has none of the topics {', '.join(topics)}. The daemon creates them when it starts; if it writes to "
        "others, correct AURORA_BRIDGE_KAFKA__TOPIC_PREFIX."
    )
