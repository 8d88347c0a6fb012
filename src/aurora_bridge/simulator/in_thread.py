"""A simulated Aurora in a thread of its own, for synchronous programs, such as most tests."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from random import Random
from time import monotonic, time
from typing import Any, Final, TypeVar

from aurora_bridge.simulator.api import TOKEN, serving
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.fill_template import is_template, suggested
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.simulator.subscriptions import created
from aurora_bridge.simulator.values import new_id, plausible

_SECONDS: Final = 120.0
"""Timeout of one call: an advance through many deliveries that time out takes 10 s for each."""
_OWNER: Final = "tenants/simulated"

Result = TypeVar("Result")


class Simulator:
    """What the fixture `aurora_simulator` provides. Nothing happens unless it is triggered; calls wait for answers."""

    def __init__(self, engine: Engine, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.url: Final = url
        """URL of the API, for a consumer that calls Aurora."""
        self.token: Final = TOKEN
        """The API's bearer token."""
        self._engine = engine
        self._loop = loop
        self._random = Random(0)  # noqa: S311 - no cryptography

    def subscribe(self, event: str, to: str, **fields: object) -> str:
        """Subscribe to an event, with the API's fields; `to` is a base URL or a whole template. Return the id.

        Raises `RefusedError` for what the API would refuse.
        """
        body = {"event": event, "url_template": to if is_template(to) else suggested(to, event), **fields}
        subscription = created(new_id(self._random), _OWNER, body)

        async def add() -> None:
            self._engine.aurora.change(subscription)

        self._call(add())
        return subscription.id

    def trigger(self, event: str, **attributes: str) -> list[dict[str, Any]]:
        """Make an event happen now, with plausible values for missing attributes; return its deliveries."""

        async def happen() -> list[dict[str, Any]]:
            values = plausible(event, self._random, attributes)
            deliveries = self._engine.happen(Occurrence(self._engine.clock.now(), event, values))
            await self._engine.advance(0)
            return [one.shown() for one in deliveries]

        return self._call(happen())

    def advance(self, *, hours: float = 0, seconds: float = 0) -> None:
        """Advance Aurora's clock, through every retry that is due until then."""
        self._call(self._engine.advance(hours * 3600 + seconds))

    def resend(self, *, hours: float) -> int:
        """Re-send what was sent in the last `hours`; return the number of deliveries."""

        async def again() -> int:
            now = self._engine.clock.now()
            count = self._engine.aurora.resend(now - hours * 3600, now)
            await self._engine.advance(0)
            return count

        return self._call(again())

    def ledger(self) -> list[dict[str, Any]]:
        """Return every delivery so far, with its attempts and their answers."""

        async def shown() -> list[dict[str, Any]]:
            return [one.shown() for one in self._engine.aurora.ledger]

        return self._call(shown())

    def reset(self) -> None:
        """Forget everything."""

        async def anew() -> None:
            self._engine.reset()

        self._call(anew())

    def _call(self, work: Coroutine[None, None, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)


@contextmanager
def running() -> Iterator[Simulator]:
    """Yield a simulated Aurora without subscriptions, with its API on a free loopback port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="aurora-simulator", daemon=True)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> Simulator:
        send = await stack.enter_async_context(sending())
        engine = Engine(lambda: World(Aurora(), time()), Clock(time(), monotonic), send)
        stack.push_async_callback(engine.stop)
        return Simulator(engine, await stack.enter_async_context(serving(engine, "127.0.0.1", 0)), loop)

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(_SECONDS)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
