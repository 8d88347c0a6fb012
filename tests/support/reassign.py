"""Partitions that are moved to other brokers while they are written: their replicas, and who leads them.

What `kafka-reassign-partitions.sh` and `kafka-leader-election.sh` ask for (KIP-455, KIP-460). librdkafka has no call
for the first, so aiokafka sends it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient

REQUEST_SECONDS: Final = 30.0


def reassign(bootstrap: str, topics: Sequence[str], replicas: Sequence[Sequence[int]]) -> None:
    """Have the partitions of each topic move to these nodes; it goes on for a while. Raises `ValueError`."""
    asyncio.run(_reassign(bootstrap, topics, replicas))


async def _reassign(bootstrap: str, topics: Sequence[str], replicas: Sequence[Sequence[int]]) -> None:
    tags: Any = {}  # none, as its classes write them
    partitions: Any = [(number, list(nodes), tags) for number, nodes in enumerate(replicas)]
    moves = [(topic, partitions, tags) for topic in topics]
    request = AlterPartitionReassignmentsRequest(int(REQUEST_SECONDS * 1000), moves, tags)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer: Any = await admin._send_to_controller(request)  # noqa: SLF001 - it has no call for this either
    finally:
        await admin.close()
    errors = [error for _, parts, _ in answer.responses for _, error, _, _ in parts if error]
    if answer.error_code or errors:
        message = f"the partitions cannot be reassigned: {answer}"
        raise ValueError(message)


def elect_preferred(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Have the first of each partition's replicas lead it, where it is in sync. Raises `KafkaException`."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    admin.elect_leaders(ElectionType.PREFERRED, wanted).result(REQUEST_SECONDS)
