"""A server on a free port, and a blocking client beside it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aurora_bridge.bridge import Answer, Bridge, DeadLetter
from aurora_bridge.garbled_templates import GarbledTemplates
from aurora_bridge.metrics import Metrics
from aurora_bridge.outcomes import Outcome
from aurora_bridge.web.connection import Server
from aurora_bridge.web.listener import Listener
from aurora_bridge.webhook.delivery import Delivery
from tests.support.http import Connection
from tests.support.ports import HOST

T = TypeVar("T")
PATIENCE = 30.0


@asynccontextmanager
async def listening(server: Server, limit: int = 1000) -> AsyncIterator[str]:
    """Serve on a free port of loopback; yield the URL."""
    listener = Listener(server, "ingress", limit, Metrics())
    port = await listener.start(HOST, 0)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await listener.stop(1)


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
        self.answer: Answer | Exception = Answer(
            200, Outcome.PUBLISHED, "lead_changed", "the-id", subscription=("default", "lead_changed")
        )
        self.deliveries: list[Delivery] = []
        self.in_time: list[bool] = []
        self.seconds = 0.0
        """How long an answer takes."""
        self.told = asyncio.Event()
        """Set when an answer was handed over, or could not be."""
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.known: bytes | None = None
        """The token of a delivery that is known, in whatever header."""
        self.stopping = False
        self.dead_letters: deque[DeadLetter] = deque()
        self.garbled_templates = GarbledTemplates(Metrics())

    async def accept(self, delivery: Delivery) -> Answer:
        self.deliveries.append(delivery)
        self.asked.set()
        await self.may_answer.wait()
        delivery.received -= self.seconds
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def recognizes(self, delivery: Delivery) -> bool:
        return self.known in [value for _, value in delivery.headers]

    def answered(self, delivery: Delivery, answer: Answer, *, in_time: bool) -> None:
        del delivery, answer
        self.in_time.append(in_time)
        self.told.set()
