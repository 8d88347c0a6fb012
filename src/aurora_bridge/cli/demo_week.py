"""The week of the demo: stories, a day on which the daemon is stopped, Aurora's retries, and a re-send at the end.

The simulated clock only advances in small steps, and each attempt is answered before the next one is sent: the week is
the same at any speed, on any machine.
"""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from secrets import randbits
from time import monotonic
from typing import Final
from uuid import UUID

from aurora_bridge.cli.demo_check import Sums
from aurora_bridge.cli.demo_programs import Daemon, Program, Programs
from aurora_bridge.cli.demo_screen import Screen, closing, opening
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Delivery
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.fill_template import suggested
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.simulator.subscriptions import created
from aurora_bridge.simulator.world import DAY_SECONDS, Plan, make_world
from aurora_bridge.webhook.catalogue import CATALOGUE

_DAYS: Final = 7
_BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
"""A Monday."""
_END: Final = _BEGIN + _DAYS * DAY_SECONDS
_OUTAGE: Final = (_BEGIN + 3 * DAY_SECONDS, _BEGIN + 4 * DAY_SECONDS)
_STORIES_PER_DAY: Final = 5.0
_SEED: Final = 0
"""Not every seed will do: with one in three, the outage delays a state between two equal ones, which the bridge then
takes for one, and the sums differ."""
_TICK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 30.0
"""How long to wait for late events in the log or in Kafka."""


async def play(programs: Programs, seconds: float, screen: Screen) -> Sums:
    """Play the week in about `seconds`; return the sums. Raises `ProgramError`, `OutputError`, `OSError`."""
    daemon, sums, speed = Daemon(programs), Sums(), _DAYS * DAY_SECONDS / seconds
    async with AsyncExitStack() as stack:
        if programs.kafka:  # `tail` needs existing topics
            await programs.run("topics", "--apply")
        async with daemon.running() as serving:
            since = datetime.now(UTC).isoformat()
            tail = await stack.enter_async_context(programs.running("tail", "--follow", "--since", since))
            stack.callback(asyncio.create_task(_store(tail, sums)).cancel)
            send = await stack.enter_async_context(sending())
            engine = Engine(lambda: _world(daemon.url, sums), Clock(_BEGIN, lambda: 0.0), send)
            stack.push_async_callback(engine.stop)
            week = _Week(engine, sums, screen, speed)
            screen.say(*opening(programs, daemon, seconds))
            await week.live(_OUTAGE[0], serving, tail)
        screen.headline(_OUTAGE[0], "The daemon is stopped for a day. Aurora gets no answer, and will retry.")
        await week.live(_OUTAGE[1], tail)
        async with daemon.running() as serving:
            screen.headline(_OUTAGE[1], "The daemon is started again. Aurora's retries arrive, hours late.")
            await week.live(_END, serving, tail)
            screen.headline(_END, "The outage outlasted Aurora's retries: it is asked to re-send all since then.")
            begun = await programs.run("resend", "begin")
            screen.say("$ aurora-bridge resend begin", *begun.splitlines()[:1])
            resent = await week.resend(_OUTAGE[0])
            screen.say("$ aurora-bridge resend end", await programs.run("resend", "end"))
            await week.catch_up(serving, tail)
    screen.say(*closing(engine.aurora, sums, resent, speed))
    return sums


class _Week:
    def __init__(self, engine: Engine, sums: Sums, screen: Screen, speed: float) -> None:
        self._engine = engine
        self._sums = sums
        self._screen = screen
        self._speed = speed
        self._lines: list[str] = []
        engine.on_answer = self._answered

    async def live(self, until: float, *needed: Program) -> None:
        """Advance the clock until then. Raises `ProgramError` if one of the `needed` programs ends."""
        while (now := self._engine.clock.now()) < until:
            began = monotonic()
            await self._advance(min(_TICK_SECONDS * self._speed, until - now))
            for program in needed:
                program.check()
            await asyncio.sleep(_TICK_SECONDS - (monotonic() - began))

    async def resend(self, since: float) -> int:
        """Re-send what was first sent since then, until nothing is pending; return the number of deliveries."""
        resent = self._engine.aurora.resend(since, self._engine.clock.now())
        await self._advance(2 * DAY_SECONDS)
        return resent

    async def catch_up(self, *needed: Program) -> None:
        """Wait until everything is stored, but no longer than `_PATIENCE_SECONDS`."""
        deadline = monotonic() + _PATIENCE_SECONDS
        while self._sums.problems() and monotonic() < deadline:
            await self.live(self._engine.clock.now() + self._speed * _TICK_SECONDS, *needed)

    async def _advance(self, seconds: float) -> None:
        await self._engine.advance(seconds)
        self._screen.say(*self._lines)
        self._lines.clear()
        self._screen.progress(self._engine.clock.now(), self._engine.aurora, self._sums)

    def _answered(self, delivery: Delivery) -> None:
        outcome = self._sums.answer(delivery.attempts[-1][2])
        self._lines += self._screen.attempt(delivery, outcome)


async def _store(tail: Program, sums: Sums) -> None:
    async for line in tail.lines():
        sums.store(line)


def _world(url: str, sums: Sums) -> World:
    """Return the week, with new identifiers: topics may hold those of an earlier demo."""
    subscriptions = tuple(
        created(event, "tenants/demo", {"event": event, "url_template": suggested(url, event)}) for event in CATALOGUE
    )
    plan = Plan(subscriptions, _SEED, stories_per_day=_STORIES_PER_DAY, days=_DAYS)
    world = make_world(plan, lambda: _BEGIN)
    salt = randbits(128)

    def own(occurrence: Occurrence) -> Occurrence:
        attributes = {
            name: str(UUID(int=UUID(value).int ^ salt)) if name.endswith("_id") and value else value
            for name, value in occurrence.attributes.items()
        }
        mine = occurrence._replace(attributes=attributes)
        sums.happen(mine)
        return mine

    return world._replace(occurrences=map(own, world.occurrences))
