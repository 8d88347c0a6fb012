"""The topics: those that are missing are created at start, and nothing is done to the others."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import (
    BrokerResponseError,
    InvalidTopicError,
    KafkaConnectionError,
    NotControllerError,
    RequestTimedOutError,
    UnknownError,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from aurora_bridge import tasks
from aurora_bridge.kafka import create_topics as module
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.create_topics import Creation, create_at_start, create_missing
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings
from tests.kafka.sending import PATIENCE
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST, free_ports
from tests.support.topics import create_topics, delete_topics, topic_names, wait_until_writable

DAY_MS = 86_400_000


def settings(bootstrap: str, prefix: str, **more: Any) -> KafkaSettings:  # noqa: ANN401 - any setting
    return KafkaSettings(bootstrap_servers=bootstrap, topic_prefix=prefix, **more)


async def at_start(chosen: KafkaSettings, *events: str, problems: Problems | None = None) -> None:
    problems = problems or Problems(Metrics(kafka_problems=tuple(REASONS)))
    await create_at_start(chosen, events, Security(chosen), problems)


async def assert_there(bootstrap: str, prefix: str, *events: str) -> None:
    """Check that there are the topics of these events and no others; a broker hears of a change a moment later."""
    expected = [prefix + event for event in events]
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(topic_names, bootstrap, prefix) != expected:
            pass


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
    names = [f"{prefix}a", f"{prefix}b"]
    assert await create_missing(chosen, names) == (names, {})
    await assert_there(kafka.bootstrap, prefix, "a", "b")
    assert shape(kafka.bootstrap, f"{prefix}a") == (5, str(7 * DAY_MS))


async def test_by_default_a_topic_has_three_partitions_and_keeps_events_for_30_days(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    await create_missing(settings(kafka.bootstrap, prefix), [f"{prefix}a"])
    assert shape(kafka.bootstrap, f"{prefix}a") == (3, str(30 * DAY_MS))


async def test_a_topic_that_exists_stays_as_it_is(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}a", partitions=2, config={"retention.ms": "60000"})
    chosen, names = settings(kafka.bootstrap, prefix), [f"{prefix}a", f"{prefix}b"]
    assert await create_missing(chosen, names) == ([f"{prefix}b"], {})
    assert shape(kafka.bootstrap, f"{prefix}a") == (2, "60000")
    assert await create_missing(chosen, names) == ([], {})


async def test_a_topic_that_cannot_be_created_is_named_and_the_others_are_created(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    long = prefix + "x" * 250
    created, failed = await create_missing(settings(kafka.bootstrap, prefix), [f"{prefix}a", long])
    assert (created, {topic: type(error) for topic, error in failed.items()}) == (
        [f"{prefix}a"],
        {long: InvalidTopicError},
    )


class Rounds:
    """Counts the attempts to create topics, which follow each other at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._changed = asyncio.Event()
        monkeypatch.setattr(module, "create_missing", self._create_missing)
        monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
        monkeypatch.setattr(module, "_LASTING_SECONDS", 0)

    async def _create_missing(self, *args: Any) -> Creation:  # noqa: ANN401 - its arguments
        creation = await create_missing(*args)
        self.count += 1
        self._changed.set()
        return creation

    async def more(self, number: int = 2) -> None:
        """Return after so many more attempts."""
        end = self.count + number
        async with asyncio.timeout(PATIENCE):
            while self.count < end:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(monkeypatch)


@pytest.fixture
def problems() -> Problems:
    return Problems(Metrics(kafka_problems=tuple(REASONS)))


async def test_a_topic_that_kafka_cannot_create_is_tried_again_and_told_once_until_it_is_there(
    kafka1: KafkaCluster, prefix: str, rounds: Rounds, problems: Problems, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(kafka1.bootstrap, prefix, replication_factor=3)
    creating = asyncio.create_task(at_start(chosen, "a", problems=problems))
    await rounds.more(1)
    assert (list(problems), problems.creating) == ([], True)  # it may be over at once
    await rounds.more(5)
    (problem,) = problems
    assert (problem.reason, problem.about, problems.creating) == ("too_few_brokers", f"{prefix}a", False)
    assert "lower AURORA_BRIDGE_KAFKA__REPLICATION_FACTOR" in problem.words
    assert "(INVALID_REPLICATION_FACTOR: " in problem.words
    problems.set("topic_missing", [f"{prefix}a", f"{prefix}b"])
    assert [other.about for other in problems if other.reason == "topic_missing"] == [f"{prefix}b"]
    problems.set("topic_missing", [])
    assert len([record for record in caplog.records if "too_few" in str(vars(record).get("fields"))]) == 1
    await asyncio.to_thread(create_topics, kafka1.bootstrap, f"{prefix}a")
    async with asyncio.timeout(PATIENCE):
        await creating
    assert list(problems) == []


async def test_a_topic_that_was_there_and_is_deleted_is_not_created_again_while_another_fails(
    kafka1: KafkaCluster, prefix: str, rounds: Rounds
) -> None:
    creating = asyncio.create_task(at_start(settings(kafka1.bootstrap, prefix), "a", "x" * 250))
    await rounds.more()
    await assert_there(kafka1.bootstrap, prefix, "a")
    await asyncio.to_thread(delete_topics, kafka1.bootstrap, f"{prefix}a")
    await assert_there(kafka1.bootstrap, prefix)
    await rounds.more()
    creating.cancel()
    assert topic_names(kafka1.bootstrap, prefix) == []


@pytest.mark.usefixtures("rounds")
@pytest.mark.parametrize("error", [NotControllerError, RequestTimedOutError, UnknownError])
async def test_a_passing_error_of_one_topic_is_tried_again_and_is_no_problem(
    kafka: KafkaCluster | NamedKafka,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BrokerResponseError],
) -> None:
    passing = iter([error.errno])
    real: Any = Client.send

    async def send(client: Client, node: int, request: Any) -> Any:  # noqa: ANN401 - aiokafka's
        if isinstance(request, CreateTopicsRequest) and (code := next(passing, None)) is not None:
            first, *others = request.create_topic_requests
            answer = await real(client, node, CreateTopicsRequest(others, request.timeout, False))  # noqa: FBT003
            return SimpleNamespace(topic_errors=[(first[0], code, "not now"), *answer.topic_errors])
        return await real(client, node, request)

    monkeypatch.setattr(Client, "send", send)
    async with asyncio.timeout(PATIENCE):
        await at_start(settings(kafka.bootstrap, prefix), "a", "b")
    await assert_there(kafka.bootstrap, prefix, "a", "b")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("rounds")
async def test_without_a_controller_in_the_metadata_any_broker_is_asked(
    kafka1: KafkaCluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = ClusterMetadata.update_metadata

    def without(cluster: ClusterMetadata, metadata: Any) -> None:  # noqa: ANN401 - one class for each version
        metadata.controller_id = -1
        real(cluster, metadata)

    monkeypatch.setattr(ClusterMetadata, "update_metadata", without)
    async with asyncio.timeout(PATIENCE):
        await at_start(settings(kafka1.bootstrap, prefix), "a")
    await assert_there(kafka1.bootstrap, prefix, "a")


@pytest.mark.usefixtures("rounds")
@pytest.mark.parametrize("error", [AttributeError("nodeId"), NotImplementedError("v9"), KafkaConnectionError()])
async def test_whatever_goes_wrong_is_tried_again(
    kafka: KafkaCluster | NamedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, wrong = Client.bootstrap, iter([error])

    async def bootstrap(client: Client) -> None:
        for each in wrong:
            raise each
        await real(client)

    monkeypatch.setattr(Client, "bootstrap", bootstrap)
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0)
    async with asyncio.timeout(PATIENCE):
        await at_start(settings(kafka.bootstrap, prefix), "a")
    await assert_there(kafka.bootstrap, prefix, "a")


@pytest.mark.slow
async def test_while_kafka_is_away_it_is_tried_again(kafka1: KafkaCluster, prefix: str) -> None:
    kafka1.nodes[0].kill()
    creating = asyncio.create_task(at_start(settings(kafka1.bootstrap, prefix), "a"))
    await asyncio.to_thread(kafka1.nodes[0].restart)
    async with asyncio.timeout(PATIENCE):
        await creating
    await assert_there(kafka1.bootstrap, prefix, "a")


async def test_without_a_broker_there_is_an_error(prefix: str) -> None:
    (port,) = free_ports(1)
    with pytest.raises(KafkaConnectionError):
        await create_missing(settings(f"{HOST}:{port}", prefix), [f"{prefix}a"])
