"""`aurora-bridge simulate run`: plays stories until they are over, or until Ctrl-C.

Standard output gets a JSON line for each attempt, unless it is a terminal, which has a progress line instead; then the
totals. Once the stories are over, the clock is advanced until nothing is pending.
"""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from shutil import get_terminal_size
from time import monotonic, time
from typing import Final

import orjson
import uvloop

from aurora_bridge.cli.output import OutputError, put, tell
from aurora_bridge.cli.simulate_options import beginning, subscription_to
from aurora_bridge.settings import Settings
from aurora_bridge.simulator.api import serving
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Delivery, shown_attempt
from aurora_bridge.simulator.engine import Engine
from aurora_bridge.simulator.fill_template import Spaces
from aurora_bridge.simulator.init_file import InitFileError
from aurora_bridge.simulator.scenarios import Scenario
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.subscriptions import RefusedError
from aurora_bridge.simulator.world import DAY_SECONDS, Plan, make_world
from aurora_bridge.webhook.catalogue import CATALOGUE

_TICK_SECONDS: Final = 0.5


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Simulate; return the exit code."""
    try:
        begins = beginning(arguments)
        usual = (subscription_to(event, arguments, settings) for event in arguments.events or CATALOGUE)
        plan = Plan(
            begins.subscriptions or tuple(usual),
            stories=begins.stories,
            seed=arguments.seed,
            stories_per_day=arguments.rate,
            days=arguments.days,
            scenarios=frozenset(map(Scenario, arguments.scenario or ())),
            spaces=Spaces(arguments.spaces),
        )
        make_world(plan, time)
    except (InitFileError, RefusedError) as error:
        tell(f"{error}.")
        return os.EX_USAGE
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        totals = runner.run(_simulate(plan, arguments))
    put(orjson.dumps({"summary": totals}))
    return os.EX_OK


async def _simulate(plan: Plan, arguments: argparse.Namespace) -> dict[str, int]:
    """Run until the stories are over or a signal comes; return the totals. Raises `OutputError`."""
    stop, terminal = asyncio.Event(), sys.stdout.isatty()
    printer = _Printer(stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        send = await stack.enter_async_context(sending())
        engine = Engine(partial(make_world, plan, time), Clock(time(), monotonic, arguments.speed), send)
        stack.push_async_callback(engine.stop)
        if not terminal:
            engine.on_answer = printer.show
        url = await stack.enter_async_context(serving(engine, arguments.host, arguments.port, token=arguments.token))
        tell(f"Aurora's API: {url}")
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(engine.run())]
            end = engine.clock.now() + plan.days * DAY_SECONDS
            await _until(stop, engine, end, terminal=terminal)
            working.append(tasks.create_task(_finish(engine, stop)))  # sends what is still pending without waiting
            await stop.wait()
            for task in working:
                task.cancel()
    if printer.error is not None:
        raise printer.error
    return _totals(engine)


async def _until(stop: asyncio.Event, engine: Engine, end: float, *, terminal: bool) -> None:
    begin = engine.clock.now()
    while not stop.is_set() and (left := engine.clock.seconds_until(end)) > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_TICK_SECONDS, left)):
                await stop.wait()
        if terminal:
            day = (engine.clock.now() - begin) / DAY_SECONDS
            words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in _totals(engine).items())
            line = f"day {day:.1f}: {words}"
            sys.stderr.write(f"\r\033[K{line[: get_terminal_size().columns - 1]}")
    if terminal:
        tell("")


async def _finish(engine: Engine, stop: asyncio.Event) -> None:
    await engine.advance(2 * DAY_SECONDS)
    stop.set()


def _totals(engine: Engine) -> dict[str, int]:
    return {**engine.aurora.totals, "pending": engine.aurora.pending()}


class _Printer:
    """Prints attempts, until standard output fails: then stops the simulation."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.error: OutputError | None = None
        self._stop = stop

    def show(self, delivery: Delivery) -> None:
        """Print the last attempt of a delivery."""
        about = {"event": delivery.event, "attempt": len(delivery.attempts)}
        try:
            put(orjson.dumps(about | shown_attempt(*delivery.attempts[-1])))
        except OutputError as error:
            self.error = error
            self._stop.set()
