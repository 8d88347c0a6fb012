"""Reads events back out of their topics, for people who look: `cli.tail` prints them, `cli.find` looks for one.

No consumer group: nothing is committed, and nobody else's reading is disturbed. Each partition is read in its order;
between partitions there is none. `partition_consumer` does the reading.
"""

import logging
from collections.abc import Iterable

from aiokafka.errors import KafkaError

from aurora_bridge.kafka.client import CheckCluster
from aurora_bridge.kafka.partition_consumer import CaughtUp, PartitionConsumer, ReadError, Show, Tell, listed
from aurora_bridge.kafka.reasons import REASONS, explain
from aurora_bridge.kafka.stored import Stored
from aurora_bridge.kafka.topics import make_client
from aurora_bridge.settings import KafkaSettings

__all__ = ["ReadError", "Stored", "read_topics", "unreadable"]

log = logging.getLogger(__name__)


def unreadable(settings: KafkaSettings, error: BaseException) -> ReadError:
    """Return the words for a Kafka that does not answer, or not as it should."""
    return ReadError(f"Kafka at {settings.bootstrap_servers} cannot be read: {explain(error, '').words}.")


async def read_topics(  # noqa: PLR0913 - what to read and whom to tell
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
    """Hand the events in the topics of `events` to `show`, in groups as they come, and to `tell` what is skipped.

    With `since_ms`, those whose timestamp is not before it; what lies before the first of them is not read. Ends where
    the topics ended when it began; with `follow`, never, but there `caught_up` is called. Raises `ReadError`, once all
    else was read.
    """
    topics = [settings.topic_prefix + event for event in events]
    client = make_client(settings, check_cluster=check_cluster)
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
