"""Creates missing topics, at start only.

A topic that is deleted while the daemon runs is not created again: somebody may have meant to delete it. Its events
wait in the spool until it exists.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple

from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.metadata import MetadataRequest

from aurora_bridge.kafka.client import CheckCluster, Client, make_client
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.settings import KafkaSettings
from aurora_bridge.tasks import keep_running

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_BROKERS_DEFAULT = -1
"""Replication factor that stands for the brokers' default (KIP-464)."""
_ADMIN_TIMEOUT_MS = 30_000
_RETRY_SECONDS = 1.0
_LASTING_SECONDS = 5.0
"""Pause between attempts once a topic has failed twice in a row."""
_LEADER_NOT_AVAILABLE = 5
"""Error code in the metadata of a topic that is being created."""


class Creation(NamedTuple):
    """Result of creating the missing topics."""

    created: list[str]
    failed: dict[str, BrokerResponseError]
    """Kafka's error, by topic."""


async def create_at_start(
    settings: KafkaSettings,
    events: Iterable[str],
    security: Security,
    problems: Problems,
    check_cluster: CheckCluster | None = None,
) -> None:
    """Create the missing topics; retry until each topic has existed once.

    Creates none in a cluster that `check_cluster` refuses.
    """
    problems.creating = True
    wanted = {settings.topic_prefix + event for event in events}
    create = partial(create_missing, settings, wanted, security, check_cluster)
    await keep_running("creating the topics", partial(_create_all, create, wanted, problems))


async def _create_all(create: Callable[[], Awaitable[Creation]], wanted: set[str], problems: Problems) -> None:
    """Remove existing topics from `wanted` until it is empty. A topic that fails twice in a row is a problem."""
    failed_before: Collection[str] = ()
    count = 0
    while wanted:
        pause = _RETRY_SECONDS
        try:
            created, failed = await create()
        except (KafkaError, OSError, TimeoutError) as error:
            log.debug("the topics cannot be checked yet: %s", error)  # the sender reports why
        else:
            count += len(created)
            wanted.intersection_update(failed)
            lasting = {topic: error for topic, error in failed.items() if topic in failed_before}
            failed_before = failed.keys()
            problems.not_created(lasting)
            if lasting or not wanted:
                problems.creating = False
            if lasting:
                pause = _LASTING_SECONDS
        if wanted:
            await asyncio.sleep(problems.pause(pause))
    log.info("topics checked, %d created", count)


async def create_missing(
    settings: KafkaSettings,
    topics: Iterable[str],
    security: Security | None = None,
    check_cluster: CheckCluster | None = None,
) -> Creation:
    """Create those of `topics` that are missing. Raises `KafkaError`, `OSError`, `TimeoutError` if Kafka is away."""
    names = sorted(topics)
    client = make_client(settings, security, timeout_ms=_ADMIN_TIMEOUT_MS, check_cluster=check_cluster)
    try:
        await client.bootstrap()
        metadata = await client.send_to_any(MetadataRequest(names, allow_auto_topic_creation=False))
        there = {
            topic["topic"]
            for topic in metadata.to_object()["topics"]
            if topic["error_code"] in {NoError.errno, _LEADER_NOT_AVAILABLE}
        }
        # A topic that we may not see counts as missing: creating it shows whether it exists.
        missing = [name for name in names if name not in there]
        return await _create(client, settings, missing) if missing else Creation([], {})
    finally:
        await client.close()


async def _create(client: Client, settings: KafkaSettings, names: Iterable[str]) -> Creation:
    """Request these topics. A broker of a KRaft cluster forwards that to the controller (KIP-590), others do not."""
    config = [("retention.ms", str(settings.retention_days * _DAY_MS))]
    replicas = settings.replication_factor or _BROKERS_DEFAULT
    topics: list[Any] = [(name, settings.partitions, replicas, [], config) for name in names]
    request = CreateTopicsRequest(topics, _ADMIN_TIMEOUT_MS, validate_only=False)
    controller = client.cluster.controller
    answer = await (client.send_to_any(request) if controller is None else client.send(controller.nodeId, request))
    creation = Creation([], {})
    for name, code, *message in answer.topic_errors:
        if code == NoError.errno:
            creation.created.append(name)
        elif code != TopicAlreadyExistsError.errno:
            creation.failed[name] = for_code(code)(*filter(None, message))
    return creation
