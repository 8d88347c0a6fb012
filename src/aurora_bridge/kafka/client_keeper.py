"""The life of a client, for whoever needs one all the time: `producer_client` and `follower`.

A client is used until it is lost or its user has no more use for it; then it is closed, and the next one begins from
the bootstrap list, as aiokafka's does not when all brokers have moved. That Kafka is away is said once by `problems`.
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
    """Let `use` have one client after the other, until cancelled; `connect` makes them.

    Raises what `use` raises but `KafkaError`, `OSError` and `TimeoutError`: these are Kafka's absence.
    """
    quota = Quota(_LINES_A_MINUTE, monotonic)
    open_at: dict[int, float] = {}  # a quota is not over with the client that it held up
    while True:
        client = connect()
        client.open_at = open_at
        try:
            await use(client)
        except (KafkaError, OSError, TimeoutError) as error:
            if not any(problems) and (left_out := quota.take()) is not None:  # else it was said
                more = {"left_out": left_out} if left_out else {}
                log.info("no client of Kafka's yet: %r; trying again", error, extra=fields(**more))
            await asyncio.sleep(problems.pause(pause_seconds))
        finally:
            await _close(client)


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    except Exception as error:  # noqa: BLE001 - whatever ended the client's own tasks comes out here
        log.info("a client did not close cleanly: %r", error)
