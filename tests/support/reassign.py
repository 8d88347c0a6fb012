"""Partitions that are moved to other brokers while they are written.

What `kafka-reassign-partitions.sh` asks for (KIP-455). librdkafka has no call for it, so aiokafka sends it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest

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
