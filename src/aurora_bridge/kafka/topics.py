"""The topics: made at start where they are missing, never again afterwards.

A topic that is deleted while the daemon runs is not made again by itself: whoever deleted it may have meant it, and its
events wait in the spool until it is there.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.wire import Client, OnConnection
from aurora_bridge.settings import KafkaSettings

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_BROKERS_DEFAULT = -1
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Codec numbers of the batch format, by their names in the settings."""
REQUEST_TIMEOUT_MS = 2500
"""Below the publish deadline: a frozen broker holds up the others for no longer than this."""
_ADMIN_TIMEOUT_MS = 30_000
_RETRY_SECONDS = 1.0
_DENIED_SECONDS = 5.0


class CreateDeniedError(KafkaError):
    """Kafka does not let us create these `topics`; all others are there."""

    def __init__(self, topics: list[str]) -> None:
        super().__init__(", ".join(topics))
        self.topics = topics


def make_client(
    settings: KafkaSettings,
    security: Security | None = None,
    on_connection: OnConnection = lambda *_: None,
    timeout_ms: int = REQUEST_TIMEOUT_MS,
) -> Client:
    """Return a client that is not connected yet; those that are made one after the other have the same `security`."""
    return Client(
        on_connection=on_connection,
        security=(security or Security(settings)).options,
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.client_id,
        request_timeout_ms=timeout_ms,
        metadata_max_age_ms=60_000,
    )


async def create_at_start(
    settings: KafkaSettings, events: Iterable[str], security: Security, problems: Problems
) -> None:
    """Create the topics that are missing, once Kafka is there and lets us."""
    problems.creating = True
    while True:
        try:
            created = await create_missing(settings, events, security)
        except CreateDeniedError as error:
            problems.set("create_denied", error.topics)
            await asyncio.sleep(_DENIED_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            log.debug("the topics cannot be looked at yet: %s", error)  # the sender says why
            await asyncio.sleep(problems.pause(_RETRY_SECONDS))
        else:
            problems.set("create_denied", ())
            problems.creating = False
            log.info("topics checked, %d created", len(created))
            return


async def create_missing(settings: KafkaSettings, events: Iterable[str], security: Security | None = None) -> list[str]:
    """Create the topics that are missing; return their names.

    Raises `KafkaError`, `OSError`: Kafka is away; `CreateDeniedError`: it does not let us create some.
    """
    admin = AIOKafkaAdminClient()
    admin._client = make_client(settings, security, timeout_ms=_ADMIN_TIMEOUT_MS)  # noqa: SLF001 - for the connections of `wire`
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
        created, denied = [], []
        for name, code, message, *_ in answer.topic_errors:
            if not code:
                created.append(name)
            elif for_code(code) is TopicAuthorizationFailedError:
                denied.append(name)
            elif for_code(code) is not TopicAlreadyExistsError:
                log.error("topic %s could not be created: %s %s", name, for_code(code).__name__, message or "")
        if denied:
            raise CreateDeniedError(denied)
        return created
    finally:
        await admin.close()
