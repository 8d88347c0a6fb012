"""aiohttp's low-level server on a free port, and a blocking client beside it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web

from aurora_bridge.bridge import Answer, Bridge, DeadLetter, GarbledTemplate
from aurora_bridge.refusal import Outcome
from aurora_bridge.webhook.delivery import Delivery
from tests.support.http import Connection
from tests.support.ports import HOST

T = TypeVar("T")
PATIENCE = 30.0


@asynccontextmanager
async def listening(server: web.Server) -> AsyncIterator[str]:
    """Serve on a free port of loopback; yield the URL."""
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def talk(url: str, conversation: Callable[[Connection], T]) -> T:
    """Have a conversation over one connection, in a thread of its own; return what came of it."""

    def blocking() -> T:
        with Connection(url) as connection:
            return conversation(connection)

    async with asyncio.timeout(PATIENCE):
        return await asyncio.to_thread(blocking)


def ready() -> bool:
    """Have deliveries be accepted durably."""
    return True


class BridgeDouble(Bridge):
    """Answers every delivery alike, and remembers what it was asked and told."""

    def __init__(self) -> None:
        self.answer: Answer | Exception = Answer(200, Outcome.PUBLISHED, "lead_changed", "the-id")
        self.deliveries: list[Delivery] = []
        self.handed: list[bool] = []
        self.told = asyncio.Event()
        """Set when an answer was handed over, or could not be."""
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.stopping = False
        self.dead_letters: deque[DeadLetter] = deque()
        self.garbled_templates: dict[tuple[str, str], GarbledTemplate] = {}

    async def accept(self, delivery: Delivery) -> Answer:
        self.deliveries.append(delivery)
        self.asked.set()
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def answered(self, delivery: Delivery, answer: Answer, *, handed: bool) -> None:
        del delivery, answer
        self.handed.append(handed)
        self.told.set()
