"""Keeps a client connected, for `producer_client` and `follower`.

A client is used until it is lost or its user returns; then it is closed, and the next one starts from the bootstrap
list. aiokafka does not start over there by itself, even if all brokers have moved. `problems` reports an outage once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from aiokafka.errors import KafkaError

from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.logs import Quota, fields

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 0.5
_LINES_A_MINUTE = 5


async def keep_client(
    connect: Callable[[], Client], use: Callable[[Client], Awaitable[None]], problems: Problems, pause_seconds: float
) -> None:
    """Call `use` with one client after the other, made by `connect`, until cancelled.

    `KafkaError`, `OSError` and `TimeoutError` mean that Kafka is away. Raises whatever else `use` raises.
    """
    quota = Quota(_LINES_A_MINUTE, monotonic)
    open_at: dict[int, float] = {}  # a quota outlasts the client that it throttled
    while True:
        client = connect()
        client.open_at = open_at
        try:
            await use(client)
        except (KafkaError, OSError, TimeoutError) as error:
            if not any(problems) and (left_out := quota.take()) is not None:  # else it was logged
                more = {"left_out": left_out} if left_out else {}
                log.info("not connected to Kafka yet: %r; retrying", error, extra=fields(**more))
            await asyncio.sleep(problems.pause(pause_seconds))
        finally:
            await _close(client)


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    except Exception as error:  # noqa: BLE001 - raises whatever ended the client's own tasks
        log.info("a Kafka client did not close cleanly: %r", error)
