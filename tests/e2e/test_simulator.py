"""The simulated Aurora and the daemon on its embedded log: all that it sends is accepted, kept, and kept once."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import RETRY_SECONDS, Delivery, State
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.fill_template import Spaces
from aurora_bridge.simulator.scenarios import Disturbances, Scenario
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.stories import Occurrence, occurrences
from aurora_bridge.simulator.values import plausible
from aurora_bridge.webhook.catalogue import CATALOGUE, Recurrence
from tests.e2e.stores import spooled
from tests.simulator.acting import BEGIN, DAY, subscription
from tests.support.daemon import PROGRAM, SECONDS, Daemon, command, environment
from tests.support.ports import HOST, free_ports

RESEND_AT = BEGIN + 3 * DAY
STORIES = 600
"""Occurrences, in which every event is there."""


@asynccontextmanager
async def simulated(
    url: str,
    stories: Iterable[Occurrence] = (),
    spaces: Spaces = Spaces.PERCENT,
    disturbances: Disturbances | None = None,
) -> AsyncIterator[Engine]:
    """Yield an Aurora on a clock that only a test moves, with a subscription of each event to `url`."""
    aurora = Aurora(spaces=spaces, disturbances=disturbances)
    for event in CATALOGUE:
        aurora.change(subscription(event, event, url))
    async with sending() as send:
        world = World(aurora, BEGIN, iter(stories))
        if disturbances is not None:
            world = world._replace(resend_at=RESEND_AT, resend_since=BEGIN)
        yield Engine(lambda: world, Clock(BEGIN, monotonic), send)


def kept(daemon: Daemon) -> Counter[str]:
    """Return what the daemon has, as topic and attributes."""
    return Counter(_line(stored.topic, stored.event["data"]) for stored in spooled(daemon.state))


def ledger(deliveries: list[Delivery]) -> Counter[str]:
    """Return what was sent, in the same form."""
    return Counter(_line(one.event, one.attributes) for one in deliveries)


def _line(event: str, attributes: Any) -> str:  # noqa: ANN401 - JSON
    return f"{event} {json.dumps({name: value or None for name, value in attributes.items()}, sort_keys=True)}"


@pytest.mark.parametrize("spaces", list(Spaces))
async def test_every_event_of_the_catalogue_is_accepted_and_ends_under_its_name(tmp_path: Path, spaces: Spaces) -> None:
    with Daemon(tmp_path) as daemon:
        async with simulated(daemon.url, spaces=spaces) as engine:
            for event in CATALOGUE:
                for delivery in engine.happen(Occurrence(BEGIN, event, plausible(event, Random(event)))):
                    await engine.advance(0)
                    assert [answer.status for _, _, answer in delivery.attempts] == [200]
            assert kept(daemon) == ledger(list(engine.aurora.ledger))
        assert {stored.topic for stored in spooled(daemon.state)} == CATALOGUE.keys()


async def test_stories_leave_exactly_what_happened(tmp_path: Path) -> None:
    stories = islice(occurrences(1, BEGIN, stories_per_day=50), STORIES)
    with Daemon(tmp_path) as daemon:
        async with simulated(daemon.url, stories) as engine:
            await engine.advance(90 * DAY)
            assert engine.aurora.totals == {
                "happened": STORIES,
                "attempts": STORIES,
                "delivered": STORIES,
                "refused": 0,
            }
            assert kept(daemon) == ledger(list(engine.aurora.ledger))


async def test_an_outage_duplicates_and_a_resend_leave_each_event_that_was_accepted(tmp_path: Path) -> None:
    stories = islice(occurrences(2, BEGIN, stories_per_day=50), STORIES)
    scenarios = frozenset({Scenario.OUTAGE, Scenario.DUPLICATES})
    disturbances = Disturbances(scenarios, BEGIN + DAY, BEGIN + 1.25 * DAY)
    with Daemon(tmp_path) as daemon:
        async with simulated(daemon.url, stories, disturbances=disturbances) as engine:
            await engine.advance(90 * DAY)
            aurora = engine.aurora
            accepted = ledger([one for one in aurora.ledger if one.state is State.DELIVERED])
            assert aurora.totals["refused"] > 0
            assert aurora.totals["attempts"] > aurora.totals["refused"] + STORIES
            assert kept(daemon).keys() == accepted.keys()
            once = [name for name, one in CATALOGUE.items() if one.recurrence is Recurrence.ONCE]
            assert all(count == 1 for line, count in kept(daemon).items() if line.split()[0] in once)


def refusing(folder: Path) -> Daemon:
    """Return a daemon that will answer 503, once its spool is full."""
    (nobody,) = free_ports(1)
    return Daemon(folder, kafka__bootstrap_servers=f"{HOST}:{nobody}", spool__max_bytes=200_000)


def fill(daemon: Daemon) -> None:
    """Send until the spool is full."""
    while daemon.get(f"/lead_changed?lead_id={uuid4()}&note={'x' * 8000}").status != 503:
        pass


async def test_a_refused_delivery_is_retried_at_its_times_and_its_subscription_switched_off(tmp_path: Path) -> None:
    with refusing(tmp_path) as daemon:
        fill(daemon)
        async with simulated(daemon.url) as engine:
            for number in range(17):
                long = {"project_id": f"p-{number}", "status": "x" * 12_000}
                engine.happen(Occurrence(BEGIN, "project_status_changed", long))
            await engine.advance(24 * 3600)
            aurora = engine.aurora
            assert aurora.totals["attempts"] == 100, "the hundredth is the sixth of its delivery, and the last of all"
            assert Counter(one.state for one in aurora.ledger) == {State.FAILED: 15, State.ENDED: 2}
            for delivery in aurora.ledger:
                if delivery.state is not State.FAILED:
                    continue
                assert [answer.status for _, _, answer in delivery.attempts] == [503] * 6
                intervals = [after[0] - before[0] for before, after in pairwise(delivery.attempts)]
                assert intervals == pytest.approx(RETRY_SECONDS, rel=0.015, abs=2)
            off = [one.event for one in aurora.subscriptions if not one.enabled]
            assert off == ["project_status_changed"]


async def test_a_retry_goes_by_the_latest_definition_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "refusing").mkdir()
    with refusing(tmp_path / "refusing") as full, Daemon(tmp_path) as daemon:
        fill(full)
        async with simulated(full.url) as engine:
            (delivery,) = engine.happen(
                Occurrence(BEGIN, "project_status_changed", {"project_id": "p-1", "status": "x" * 12_000})
            )
            await engine.advance(0)
            before = engine.aurora.subscriptions["project_status_changed"]
            fixed = before.url_template.replace(full.url, daemon.url)
            engine.aurora.change(replace(before, url_template=fixed))
            await engine.advance(60)
            assert [answer.status for _, _, answer in delivery.attempts] == [503, 200]
            assert kept(daemon) == ledger([delivery])


def test_the_commands_send_print_and_sum_up(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        given = ("agreement_status_changed", "--set", "status=signed", "--to", daemon.url, "--times", "2")
        triggered = command("simulate", "trigger", *given, cwd=tmp_path)
        outcomes = [json.loads(json.loads(line)["answer"])["outcome"] for line in triggered.stdout.splitlines()]
        assert (triggered.returncode, outcomes) == (0, ["spooled", "duplicate"])
        events = "lead_created,project_created,design_created"  # in any order, since a day takes a moment
        options = ("--days", "2", "--speed", "1e6", "--seed", "3", "--to", daemon.url, "--events", events)
        ran = command("simulate", "run", *options, cwd=tmp_path)
        *attempts, last = map(json.loads, ran.stdout.splitlines())
        assert ran.returncode == 0
        assert {attempt["status"] for attempt in attempts} == {200}
        assert last["summary"]["delivered"] == len(attempts) == len(spooled(daemon.state)) - 1
        assert last["summary"]["pending"] == 0


@pytest.mark.parametrize("by", ["reader", "signal"])
def test_a_run_ends_with_its_reader_or_by_a_signal(tmp_path: Path, by: str) -> None:
    with Daemon(tmp_path) as daemon:
        program = [str(PROGRAM), "simulate", "run", "--to", daemon.url, "--seed", "1", "--rate", "1e5"]
        with subprocess.Popen(program, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            assert json.loads(run.stdout.readline())["status"] == 200
            if by == "reader":
                run.stdout.close()
            else:
                run.send_signal(signal.SIGINT)
                *_, last = run.stdout.read().splitlines()
                assert json.loads(last)["summary"]["refused"] == 0
            assert run.wait(SECONDS) == 0
            assert run.stderr.read().startswith(b"Aurora's API: http://127.0.0.1:")
