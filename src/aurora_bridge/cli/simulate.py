"""`aurora-bridge simulate`: an Aurora in one process, to try the daemon and to test consumers.

`trigger` sends one webhook and prints the answer. `run` plays stories, delivers their webhooks with retries, and serves
Aurora's API. Standard output gets one JSON object per line: each attempt with its answer, then a summary.
"""

import argparse
import asyncio
import os
from math import inf
from random import Random
from time import time
from typing import Final

import orjson

from aurora_bridge.cli.arguments import no_event
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_config
from aurora_bridge.cli.output import put, tell
from aurora_bridge.cli.simulate_options import (
    add_target,
    attribute,
    beginning,
    events,
    named,
    number_from_0,
    port,
    speed,
    subscription_to,
    times,
)
from aurora_bridge.cli.simulate_run import run
from aurora_bridge.settings import Settings
from aurora_bridge.simulator.api import TOKEN
from aurora_bridge.simulator.deliveries import Delivery, request, shown_attempt
from aurora_bridge.simulator.fill_template import Spaces
from aurora_bridge.simulator.init_file import InitFileError
from aurora_bridge.simulator.scenarios import Scenario
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.subscriptions import RefusedError, Subscription
from aurora_bridge.simulator.values import plausible
from aurora_bridge.webhook.catalogue import CATALOGUE, todays_name

_A_DAY_A_MINUTE: Final = 1440.0

_EXAMPLES = """\
  aurora-bridge simulate trigger agreement_status_changed --set status=signed
  aurora-bridge simulate run --days 7 --seed 1             a week in seven minutes, to the daemon here
"""
_TRIGGER_EXAMPLES = """\
  aurora-bridge simulate trigger agreement_status_changed --set status=signed
  aurora-bridge simulate trigger lead_created --to https://hooks.example.com --header 'X-Aurora-Webhook-Token: secret'
  aurora-bridge simulate trigger lead_created --to 'http://127.0.0.1:8080/hooks?lead=<LEAD_ID>' --times 2
"""
_RUN_EXAMPLES = """\
  aurora-bridge simulate run --days 7 --seed 1                 a week in seven minutes
  aurora-bridge simulate run --days 3 --scenario outage        nothing reaches the daemon on the second day
  aurora-bridge simulate run --events agreement_status_changed,lead_created | jq -c .status
  aurora-bridge simulate run --port 8090 --rate 0 --speed 1    only the API: subscribe, then POST /_trigger
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and its subcommands."""
    parser = subparsers.add_parser(
        "simulate",
        help="simulate Aurora: send webhooks, retry them, serve its API",
        description="Simulates Aurora, to try the daemon and to test what calls Aurora.",
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
        description="Sends one webhook with plausible values and prints the answer. Exit 1 unless the answer is a 2xx.",
        examples=_TRIGGER_EXAMPLES,
    )
    trigger.add_argument("event", metavar="EVENT", help="name of the event; an unknown one is sent, too")
    trigger.add_argument(
        "--set", action="append", type=attribute, metavar="NAME=VALUE", help="value of an attribute; can be repeated"
    )
    trigger.add_argument("--subscription", metavar="NAME", help="use this subscription of the --init file")
    trigger.add_argument("--times", type=times, default=1, metavar="N", help="send it N times")
    add_target(trigger)
    running = add_command(
        below,
        "run",
        run,
        help="play stories, deliver their webhooks, serve the API",
        description="Plays stories of leads, projects, designs and agreements, and delivers their webhooks as Aurora "
        "does, with its retries. Prints a JSON line for each attempt, or a progress line on a terminal.",
        examples=_RUN_EXAMPLES,
    )
    running.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed plays the same stories again")
    running.add_argument(
        "--rate",
        type=number_from_0,
        default=20.0,
        metavar="N",
        help="stories that begin per simulated day; default 20",
    )
    running.add_argument(
        "--speed",
        type=speed,
        default=_A_DAY_A_MINUTE,
        metavar="N",
        help="simulated seconds per second; default 1440, a day in a minute",
    )
    running.add_argument(
        "--days",
        type=number_from_0,
        default=inf,
        metavar="N",
        help="end after N simulated days, once nothing is pending",
    )
    running.add_argument("--events", type=events, metavar="NAME,...", help="subscribe to these only; default: to all")
    running.add_argument(
        "--scenario",
        action="append",
        choices=list(Scenario),
        metavar="NAME",
        help=f"what goes wrong: {', '.join(Scenario)}; can be repeated",
    )
    running.add_argument("--port", type=port, default=0, metavar="PORT", help="port of the API; default: any")
    running.add_argument("--host", default="127.0.0.1", help="address of the API; default: %(default)s")
    running.add_argument("--token", default=TOKEN, help="bearer token of the API; default: %(default)s")
    add_target(running)


def _trigger(arguments: argparse.Namespace, settings: Settings) -> int:
    event, given = todays_name(arguments.event), dict(arguments.set or [])
    if event not in CATALOGUE:
        tell(f"{no_event(arguments.event, list(CATALOGUE))} It is sent anyway.")
        event = arguments.event
    attributes = plausible(event, Random(), given)  # noqa: S311 - no cryptography
    try:
        if arguments.subscription is None:
            subscription = subscription_to(event, arguments, settings, tuple(given))
        else:
            subscription = named(arguments.subscription, beginning(arguments).subscriptions)
    except (InitFileError, RefusedError) as error:
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
