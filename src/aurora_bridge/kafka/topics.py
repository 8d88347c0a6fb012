"""The topics: made at start where they are missing, never again afterwards.

A topic that is deleted while the daemon runs is not made again by itself: whoever deleted it may have meant it, and its
events wait in the spool until it is there.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from aurora_bridge.kafka.wire import Client
from aurora_bridge.settings import KafkaSettings

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_BROKERS_DEFAULT = -1
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Codec numbers of the batch format, by their names in the settings."""
_REQUEST_TIMEOUT_MS = 2500
_RETRY_SECONDS = 1.0


def make_client(settings: KafkaSettings) -> Client:
    """Return a client that is not connected yet."""
    return Client(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.client_id,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=60_000,
    )


async def create_at_start(settings: KafkaSettings, events: Iterable[str]) -> None:
    """Create the topics that are missing, once Kafka is there."""
    while True:
        try:
            created = await create_missing(settings, events)
        except (KafkaError, OSError, TimeoutError) as error:
            log.info("the topics cannot be looked at yet: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            log.info("topics checked, %d created", len(created))
            return


async def create_missing(settings: KafkaSettings, events: Iterable[str]) -> list[str]:
    """Create the topics that are missing; return their names. Raises `KafkaError`, `OSError`: Kafka is away."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap_servers, client_id=settings.client_id, request_timeout_ms=30_000
    )
    await admin.start()
    try:
        wanted = {settings.topic_prefix + event for event in events}
        missing = sorted(wanted - set(await admin.list_topics()))
        if not missing:
            return []
        config = {"retention.ms": str(settings.retention_days * _DAY_MS)}
        replication = settings.replication_factor or _BROKERS_DEFAULT
        topics = []
        for name in missing:
            topic = NewTopic(name, settings.partitions, 1, topic_configs=config)
            topic.replication_factor = replication  # the constructor does not know the broker's default (KIP-464)
            topics.append(topic)
        answer: Any = await admin.create_topics(topics)
        created = []
        for name, code, message, *_ in answer.topic_errors:
            if not code:
                created.append(name)
            elif for_code(code) is not TopicAlreadyExistsError:
                log.error("topic %s could not be created: %s %s", name, for_code(code).__name__, message or "")
        return created
    finally:
        await admin.close()
