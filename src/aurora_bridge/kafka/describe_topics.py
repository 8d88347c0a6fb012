"""Describes topics for `cli.topics`: whether they exist, and the configuration that decides whether data can be lost.

Describing a topic never creates it. Where the user lacks permission, the missing ACL is named.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from aurora_bridge.kafka.client import COMMAND_TIMEOUT_MS, CheckCluster, Client, make_client
from aurora_bridge.kafka.create_topics import Creation, create_missing
from aurora_bridge.kafka.topic_consumer import unreadable
from aurora_bridge.settings import KafkaSettings

CONFIGS = (
    *("min.insync.replicas", "retention.ms", "max.message.bytes", "unclean.leader.election.enable"),
    "cleanup.policy",
)
"""The topic configuration that is requested."""
_TOPIC = 2
"""Resource type in a DescribeConfigs request."""
_UNKNOWN_TOPIC = 3
_FORBIDDEN = 29
_WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.2


class Topic(NamedTuple):
    """A topic as Kafka describes it."""

    name: str
    partitions: int = 0
    """0 if it is missing."""
    replicas: int = 0
    """Replicas of the partition that has the fewest."""
    config: Mapping[str, str] = {}
    """Effective values, by name in `CONFIGS`; empty if the user may not see them."""
    missing_acl: str = ""
    """The operation that an ACL must allow the user, as Kafka calls it; empty if none is missing."""

    @property
    def exists(self) -> bool:
        """Whether it exists, as far as the user may see."""
        return self.partitions > 0


async def describe_topics(settings: KafkaSettings, events: Iterable[str], check_cluster: CheckCluster) -> list[Topic]:
    """Return the topics of `events`. Raises `ReadError`, also for a cluster that `check_cluster` refuses."""
    names = [settings.topic_prefix + event for event in events]
    client = make_client(settings, timeout_ms=COMMAND_TIMEOUT_MS, check_cluster=check_cluster)
    try:
        await client.bootstrap()
        topics = await _described(client, names)
        configs = await _configs(client, [topic.name for topic in topics if topic.exists])
        return [_with_config(topic, *configs[topic.name]) if topic.exists else topic for topic in topics]
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreadable(settings, error) from error
    finally:
        await client.close()


async def cluster_id(settings: KafkaSettings) -> str:
    """Return the cluster's id, empty if its brokers report none. Raises `ReadError`."""
    client = make_client(settings, timeout_ms=COMMAND_TIMEOUT_MS)
    try:
        await client.bootstrap()
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreadable(settings, error) from error
    finally:
        await client.close()
    return client.cluster_id


async def create_and_wait(settings: KafkaSettings, events: Sequence[str], check_cluster: CheckCluster) -> Creation:
    """Create missing topics; return once Kafka lists them, after 15 s at most. Raises like `describe_topics`."""
    wanted = [settings.topic_prefix + event for event in events]
    try:
        creation = await create_missing(settings, wanted, check_cluster=check_cluster)
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreadable(settings, error) from error
    deadline = monotonic() + _WAIT_SECONDS
    while monotonic() < deadline:
        there = {topic.name for topic in await describe_topics(settings, events, check_cluster) if topic.exists}
        if there.issuperset(creation.created):
            break
        await asyncio.sleep(_POLL_SECONDS)
    return creation


async def _described(client: Client, names: list[str]) -> list[Topic]:
    answer = await client.send_to_any(MetadataRequest(names, allow_auto_topic_creation=False))
    described = {topic["topic"]: topic for topic in answer.to_object()["topics"]}
    return [_topic(name, described[name]) for name in names]


def _topic(name: str, described: Mapping[str, Any]) -> Topic:
    code, partitions = described["error_code"], described["partitions"]
    if code == _FORBIDDEN:
        return Topic(name, missing_acl="Describe")
    if code == _UNKNOWN_TOPIC or not partitions:
        return Topic(name)
    return Topic(name, len(partitions), min(len(partition["replicas"]) for partition in partitions))


async def _configs(client: Client, names: list[str]) -> dict[str, tuple[int, dict[str, str]]]:
    """Return each topic's error code and configuration, by name."""
    if not names:
        return {}
    answer = await client.send_to_any(DescribeConfigsRequest([(_TOPIC, name, list(CONFIGS)) for name in names]))
    return {
        resource["resource_name"]: (
            resource["error_code"],
            {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]},
        )
        for resource in answer.to_object()["resources"]
    }


def _with_config(topic: Topic, code: int, config: Mapping[str, str]) -> Topic:
    if code == _FORBIDDEN:
        return topic._replace(missing_acl="DescribeConfigs")
    if code:
        raise for_code(code)
    return topic._replace(config=config)
