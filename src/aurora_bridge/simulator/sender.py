"""Sends webhooks as Aurora does: a GET without a body, 10 seconds for the answer, no redirect followed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from yarl import URL

from aurora_bridge.simulator.deliveries import Answer, Request

BUDGET_SECONDS: Final = 10.0
MOST_IN_FLIGHT: Final = 256
_MOST_BYTES: Final = 300
"""Bytes of an answer's body that are kept."""
_HEADERS: Final = {"User-Agent": "aurora-bridge-simulator"}

Send = Callable[[Request], Awaitable[Answer]]


@asynccontextmanager
async def sending(budget_seconds: float = BUDGET_SECONDS) -> AsyncIterator[Send]:
    """Yield a function that sends one attempt and returns its answer; it raises nothing."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MOST_IN_FLIGHT),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=budget_seconds),
    ) as session:

        async def send(asked: Request) -> Answer:
            if not asked.url:
                return Answer(None, "not reached: the outage of a scenario")
            try:
                url = URL(asked.url, encoded=True)  # sent unchanged, even if malformed
                async with session.get(url, headers=asked.headers, allow_redirects=False) as response:
                    body = await response.content.read(_MOST_BYTES)
                    return Answer(response.status, body.decode("utf-8", "replace").strip())
            except TimeoutError:
                return Answer(None, f"no answer within {budget_seconds:g} s")
            except aiohttp.ClientConnectorError as error:
                return Answer(None, f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error}")
            except (aiohttp.ClientError, OSError, ValueError) as error:
                return Answer(None, f"{type(error).__name__}: {error}")

        yield send
