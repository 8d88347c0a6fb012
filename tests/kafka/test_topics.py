"""The topics: those that are missing are made at start, and nothing is done to the others."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.record.default_records import DefaultRecordBatch
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from aurora_bridge.kafka.problems import REASONS, Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.topics import CODECS, create_at_start, create_missing, make_client
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings
from tests.kafka.sending import PATIENCE
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST, free_ports
from tests.support.topics import create_topics, topic_names, wait_until_writable

DAY_MS = 86_400_000


def settings(bootstrap: str, prefix: str, **more: Any) -> KafkaSettings:  # noqa: ANN401 - any setting
    return KafkaSettings(bootstrap_servers=bootstrap, topic_prefix=prefix, **more)


async def at_start(chosen: KafkaSettings, event: str) -> None:
    problems = Problems(Metrics(kafka_problems=tuple(REASONS)))
    await create_at_start(chosen, [event], Security(chosen), problems)


def shape(bootstrap: str, topic: str) -> tuple[int, str | None]:
    """Return a topic's number of partitions and its `retention.ms`."""
    wait_until_writable(bootstrap, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partitions = admin.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
    (config,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return len(partitions), config.result(PATIENCE)["retention.ms"].value


async def test_a_missing_topic_is_made_with_its_partitions_and_retention(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    chosen = settings(kafka.bootstrap, prefix, partitions=5, retention_days=7)
    assert await create_missing(chosen, ["a", "b"]) == [f"{prefix}a", f"{prefix}b"]
    assert topic_names(kafka.bootstrap, prefix) == [f"{prefix}a", f"{prefix}b"]
    assert shape(kafka.bootstrap, f"{prefix}a") == (5, str(7 * DAY_MS))


async def test_by_default_a_topic_has_three_partitions_and_keeps_events_for_30_days(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    await create_missing(settings(kafka.bootstrap, prefix), ["a"])
    assert shape(kafka.bootstrap, f"{prefix}a") == (3, str(30 * DAY_MS))


async def test_a_topic_that_exists_stays_as_it_is(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}a", partitions=2, config={"retention.ms": "60000"})
    assert await create_missing(settings(kafka.bootstrap, prefix), ["a", "b"]) == [f"{prefix}b"]
    assert shape(kafka.bootstrap, f"{prefix}a") == (2, "60000")
    assert await create_missing(settings(kafka.bootstrap, prefix), ["a", "b"]) == []


async def test_a_topic_that_cannot_be_made_is_named_and_the_others_are_made(
    kafka: KafkaCluster | NamedKafka, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(kafka.bootstrap, prefix)
    assert await create_missing(chosen, ["a", "x" * 250]) == [f"{prefix}a"]
    assert f"topic {prefix}{'x' * 250} could not be created: InvalidTopicError" in caplog.text


async def test_more_copies_than_brokers_cannot_be_made_and_that_is_said(
    kafka1: KafkaCluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(kafka1.bootstrap, prefix, replication_factor=3)
    assert await create_missing(chosen, ["a"]) == []
    assert f"topic {prefix}a could not be created: InvalidReplicationFactorError" in caplog.text


@pytest.mark.slow
async def test_while_kafka_is_away_it_is_tried_again(kafka1: KafkaCluster, prefix: str) -> None:
    kafka1.nodes[0].kill()
    creating = asyncio.create_task(at_start(settings(kafka1.bootstrap, prefix), "a"))
    await asyncio.to_thread(kafka1.nodes[0].restart)
    async with asyncio.timeout(PATIENCE):
        await creating
    assert topic_names(kafka1.bootstrap, prefix) == [f"{prefix}a"]


async def test_without_a_broker_there_is_an_error(prefix: str) -> None:
    (port,) = free_ports(1)
    with pytest.raises(KafkaConnectionError):
        await create_missing(settings(f"{HOST}:{port}", prefix), ["a"])


async def test_the_client_begins_with_all_the_brokers_of_the_settings() -> None:
    client = make_client(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert sorted((host, port) for host, port, _ in client.hosts) == [("a", 1), ("b", 2)]
    await client.close()


def test_the_codecs_have_the_numbers_of_the_batch_format() -> None:
    assert CODECS == {
        "none": 0,
        "gzip": DefaultRecordBatch.CODEC_GZIP,
        "snappy": DefaultRecordBatch.CODEC_SNAPPY,
        "lz4": DefaultRecordBatch.CODEC_LZ4,
        "zstd": DefaultRecordBatch.CODEC_ZSTD,
    }
