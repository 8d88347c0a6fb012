"""`aurora-bridge simulate`: an Aurora in one process, for trying the daemon and for testing consumers.

`trigger` sends one webhook and prints the answer. `run` lives through stories, delivers their webhooks with retries and
serves Aurora's API. Standard output gets one JSON object a line: each attempt with its answer, then a summary.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from functools import partial
from math import inf
from random import Random
from time import monotonic, time
from typing import Final

import orjson
import uvloop

from aurora_bridge.cli.arguments import no_event
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_config
from aurora_bridge.cli.output import put, tell
from aurora_bridge.event_types import todays_name
from aurora_bridge.settings import Settings
from aurora_bridge.simulator.api import TOKEN, serving
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Delivery, request, shown_attempt
from aurora_bridge.simulator.engine import Engine
from aurora_bridge.simulator.scenarios import Scenario
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.subscriptions import RefusedError, Subscription, created
from aurora_bridge.simulator.template import Spaces, is_template, suggested
from aurora_bridge.simulator.values import plausible
from aurora_bridge.simulator.world import DAY_SECONDS, Plan, make_world
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.text import canonical_name

_OWNER: Final = "tenants/simulated"
_TICK_SECONDS: Final = 0.5
_A_DAY_A_MINUTE: Final = 1440.0

_EXAMPLES = """\
  aurora-bridge simulate trigger agreement_status_changed --set status=signed
  aurora-bridge simulate run --days 7 --seed 1             a week in seven minutes, against the daemon here
"""
_TRIGGER_EXAMPLES = """\
  aurora-bridge simulate trigger agreement_status_changed --set status=signed
  aurora-bridge simulate trigger lead_created --to https://hooks.example.com --header 'X-Aurora-Webhook-Token: secret'
  aurora-bridge simulate trigger lead_created --to 'http://127.0.0.1:8080/hooks?lead=<LEAD_ID>' --times 2
"""
_RUN_EXAMPLES = """\
  aurora-bridge simulate run --days 7 --seed 1                 a week in seven minutes
  aurora-bridge simulate run --days 3 --scenario outage        on the second day, nothing reaches the daemon
  aurora-bridge simulate run --events agreement_status_changed,lead_created | jq -c .status
  aurora-bridge simulate run --port 8090 --rate 0 --speed 1    only the API: subscribe, then POST /_trigger
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and those below it."""
    parser = subparsers.add_parser(
        "simulate",
        help="be an Aurora: send webhooks, retry them, serve its API",
        description="Simulates Aurora, for trying the daemon and for testing what calls Aurora.",
        epilog=f"examples:\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    trigger = add_command(
        below,
        "trigger",
        _trigger,
        help="send one webhook",
        description="Sends one webhook with plausible values and prints the answer. Exit 1 unless it is a 2xx.",
        examples=_TRIGGER_EXAMPLES,
    )
    trigger.add_argument("event", metavar="EVENT", help="name of the event; one that nobody knows is sent, too")
    trigger.add_argument(
        "--set", action="append", type=_pair, metavar="NAME=VALUE", help="value of an attribute; can be given again"
    )
    trigger.add_argument("--times", type=_positive, default=1, metavar="N", help="send the same one N times")
    _add_target(trigger)
    running = add_command(
        below,
        "run",
        _run,
        help="live through stories, deliver their webhooks, serve the API",
        description="Leads, projects, designs and agreements live through stories; their webhooks are delivered as "
        "Aurora does, with its retries. Prints a JSON line for each attempt, or a line of progress on a terminal.",
        examples=_RUN_EXAMPLES,
    )
    running.add_argument("--seed", type=int, default=0, metavar="N", help="the same one tells the same stories again")
    running.add_argument(
        "--rate", type=_number, default=20.0, metavar="N", help="stories that begin on a simulated day; default 20"
    )
    running.add_argument(
        "--speed",
        type=_number,
        default=_A_DAY_A_MINUTE,
        metavar="N",
        help="simulated seconds a second; default 1440, a day in a minute",
    )
    running.add_argument(
        "--days", type=_number, default=inf, metavar="N", help="end after N simulated days, once nothing is owed"
    )
    running.add_argument("--events", type=_events, metavar="NAME,...", help="subscribe to these only; default: to all")
    running.add_argument(
        "--scenario",
        action="append",
        choices=list(Scenario),
        metavar="NAME",
        help=f"what goes wrong: {', '.join(Scenario)}; can be given again",
    )
    running.add_argument("--port", type=int, default=0, metavar="PORT", help="of the API, on loopback; default: any")
    running.add_argument("--token", default=TOKEN, help="bearer token of the API; default: %(default)s")
    _add_target(running)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="URL",
        help="base URL of the receiver, or a whole URL template; default: the daemon of these settings",
    )
    parser.add_argument("--header", type=_header, metavar="'NAME: VALUE'", help="header that authenticates Aurora")
    parser.add_argument("--basic", type=_basic, metavar="USER:PASSWORD", help="HTTP Basic that authenticates Aurora")
    parser.add_argument(
        "--spaces",
        choices=list(Spaces),
        default=Spaces.PERCENT,
        metavar="FORM",
        help="how a space is written: %%20, + or raw; default %%20",
    )


def _trigger(arguments: argparse.Namespace, settings: Settings) -> int:
    event, given = todays_name(arguments.event), dict(arguments.set or [])
    if event not in CATALOGUE:
        tell(f"{no_event(arguments.event, list(CATALOGUE))} It is sent all the same.")
        event = arguments.event
    attributes = plausible(event, Random(), given)  # noqa: S311 - no cryptography
    try:
        subscription = _subscription(event, arguments, settings, tuple(given))
    except RefusedError as error:
        tell(f"{error}.")
        return os.EX_USAGE
    delivery = Delivery(1, subscription.id, event, attributes)
    return asyncio.run(_send(delivery, subscription, arguments.times, Spaces(arguments.spaces)))


async def _send(delivery: Delivery, subscription: Subscription, times: int, spaces: Spaces) -> int:
    succeeded = True
    async with sending() as send:
        for _ in range(times):
            asked = request(delivery, subscription, time(), spaces, Random())  # noqa: S311 - likewise
            answer = await send(asked)
            put(orjson.dumps(shown_attempt(asked.at, asked.url, answer)))
            succeeded &= answer.succeeded
    return os.EX_OK if succeeded else EX_FAILED


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        plan = Plan(
            [_subscription(event, arguments, settings) for event in arguments.events or CATALOGUE],
            arguments.seed,
            arguments.rate,
            arguments.days,
            frozenset(map(Scenario, arguments.scenario or ())),
            Spaces(arguments.spaces),
        )
    except RefusedError as error:
        tell(f"{error}.")
        return os.EX_USAGE
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        totals = runner.run(_simulate(plan, arguments))
    put(orjson.dumps({"summary": totals}))
    return os.EX_OK


async def _simulate(plan: Plan, arguments: argparse.Namespace) -> dict[str, int]:
    """Run until the stories are over or a signal comes; return the totals."""
    stop, terminal = asyncio.Event(), sys.stdout.isatty()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        send = await stack.enter_async_context(sending())
        engine = Engine(partial(make_world, plan, time), Clock(time(), monotonic, arguments.speed), send)
        stack.push_async_callback(engine.stop)
        if not terminal:
            engine.on_answer = _print
        url = await stack.enter_async_context(serving(engine, "127.0.0.1", arguments.port, token=arguments.token))
        tell(f"The API listens at {url}; its bearer token is {arguments.token!r}.")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.run())
            await _until(stop, engine, engine.clock.now() + plan.days * DAY_SECONDS, terminal=terminal)
            if not stop.is_set():  # what is still owed comes at its time, without a wait
                await engine.advance(2 * DAY_SECONDS)
            running.cancel()
        return _totals(engine)


async def _until(stop: asyncio.Event, engine: Engine, end: float, *, terminal: bool) -> None:
    begin = engine.clock.now()
    while not stop.is_set() and (left := engine.clock.seconds_until(end)) > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_TICK_SECONDS, left)):
                await stop.wait()
        if terminal:
            day, totals = (engine.clock.now() - begin) / DAY_SECONDS, _totals(engine)
            words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in totals.items())
            sys.stderr.write(f"\r\033[Kday {day:.1f}: {words}")
    if terminal:
        tell("")


def _totals(engine: Engine) -> dict[str, int]:
    return {**Counter(engine.aurora.totals), "owed": engine.aurora.owed()}


def _print(delivery: Delivery) -> None:
    about = {"event": delivery.event, "attempt": len(delivery.attempts)}
    put(orjson.dumps(about | shown_attempt(*delivery.attempts[-1])))


def _subscription(
    event: str, arguments: argparse.Namespace, settings: Settings, more: tuple[str, ...] = ()
) -> Subscription:
    """Return the subscription that the options describe. Raises `RefusedError`."""
    to = arguments.to or _own_url(settings)
    body = {"event": event, "url_template": to if is_template(to) else suggested(to, event, more)}
    if arguments.header:
        body |= dict(zip(("header_auth_key", "header_auth_value"), arguments.header, strict=True))
    if arguments.basic:
        body |= dict(zip(("basic_auth_username", "basic_auth_password"), arguments.basic, strict=True))
    return created(f"simulated-{event}", _OWNER, body)


def _own_url(settings: Settings) -> str:
    ingress = settings.ingress
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ingress.host, ingress.host)  # noqa: S104 - not to listen on
    scheme = "https" if ingress.tls_certificate_file else "http"
    return f"{scheme}://{host}:{ingress.port}{ingress.base_path}"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = f"{text!r} is no value. It is NAME=VALUE, as in status=signed."
        raise argparse.ArgumentTypeError(msg)
    return canonical_name(name), value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name.strip() or not colon or not value.strip():
        msg = "it is no header. It is 'NAME: VALUE', as in 'X-Aurora-Webhook-Token: secret'."
        raise argparse.ArgumentTypeError(msg)
    return name.strip(), value.strip()


def _basic(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not name or not colon or not password:
        msg = "it is no pair of credentials. It is USER:PASSWORD."
        raise argparse.ArgumentTypeError(msg)
    return name, password


def _events(text: str) -> list[str]:
    names = [todays_name(name) for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CATALOGUE:
            raise argparse.ArgumentTypeError(no_event(name, list(CATALOGUE)))
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is no whole number above 0."
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < inf:
        msg = f"{text!r} is no number from 0 on."
        raise argparse.ArgumentTypeError(msg)
    return number
