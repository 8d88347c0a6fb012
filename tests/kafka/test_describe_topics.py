"""What commands ask a cluster about its topics, where `tests.cli.test_topics` has no way to look."""

import asyncio

import pytest

from aurora_bridge.kafka.client import REQUEST_TIMEOUT_MS
from aurora_bridge.kafka.describe_topics import cluster_id, describe_topics
from aurora_bridge.settings import KafkaSettings
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST
from tests.support.proxy import Proxy


@pytest.mark.slow
async def test_a_first_broker_that_takes_seconds_to_answer_is_waited_for(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    async with Proxy(int(kafka.bootstrap.rpartition(":")[2])) as slow:
        slow.delay_seconds = 0.6 * REQUEST_TIMEOUT_MS / 1000
        settings = KafkaSettings(bootstrap_servers=f"{HOST}:{slow.port}", topic_prefix=prefix)
        known, (topic,) = await asyncio.gather(
            cluster_id(settings), describe_topics(settings, ["lead_created"], lambda _: None)
        )
    assert known
    assert not topic.exists
