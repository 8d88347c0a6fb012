"""A week of Aurora against the daemon and real Kafka: everything that goes wrong in one, and no event lost or made up.

Aurora's clock is put forward from one attempt to the next, and the daemon's wall clock with it, so that what either
makes of hours and days is what it would be. The week lies in the past: Kafka refuses records of the future.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from heapq import merge
from itertools import pairwise, takewhile
from pathlib import Path
from time import monotonic, time
from typing import Final

import pytest

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Answer, Delivery, Request, State
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.stories import STORIES, occurrences
from aurora_bridge.simulator.template import suggested
from aurora_bridge.webhook.catalogue import CATALOGUE, Recurrence
from tests.e2e.stores import Place, Stored
from tests.faults.clock import WallClock
from tests.faults.scenario import UnavailableError
from tests.simulator.acting import subscription
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, command
from tests.support.missing import unavailable
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
STORIES_PER_DAY: Final = 12
LEADS_PER_DAY: Final = 24
"""Beside these stories, from the third day on: so that Aurora has its 100 attempts in 48 h."""
TOKEN: Final = "X-Aurora-Webhook-Token"  # noqa: S105 - a header's name
RISK: Final = "aurora_bridge_auto_disable_risk"

CONTRACTS: Final = suggested("/contracts", "agreement_status_changed")
BROKEN: Final = CONTRACTS.replace("=<AGREEMENT_ID>", "=v-<AGREEMENT_ID>")
EVENTS: Final = [event.name for event in CATALOGUE.values() if event.attributes]
"""Without those of which only the name is known: nothing tells one of them from the next."""


class Bridge:
    """The daemon, its wall clock, and the files that its operator edits."""

    def __init__(self, folder: Path, place: Place) -> None:
        try:
            self._clock = WallClock(folder)
        except UnavailableError as error:
            unavailable(str(error))
        self._fast = -int(WEEK)  # seconds
        self._config, self._tokens = folder / "bridge.toml", folder / "tokens"
        self.place = place
        self.daemon = place.daemon(
            folder, ingress__port=free_ports(1)[0], config=self._config, auth__tokens_file=self._tokens, **PATIENT
        )
        self.daemon.surroundings = self._clock.surroundings

    def set_clock(self, at: float) -> None:
        """Put the daemon's clock forward; it is never set back, not by the part of a second that is cut off."""
        self._fast = max(self._fast, int(at - time()))
        self._clock.jump_to(self._fast)

    def write(self, template: str) -> None:
        self._config.write_text(f'[[routes]]\ntemplate = "{template}"\nevent = "agreement_status_changed"\n')

    def accept(self, *tokens: str) -> None:
        """Let these credentials hold, and no others."""
        self._tokens.write_text("\n".join(tokens))

    def start(self) -> None:
        self.daemon.start()
        self.place.settle(self.daemon)

    def run(self, *arguments: str) -> str:
        """Return what a command says, which must succeed."""
        ended = command(
            *arguments,
            cwd=self.daemon.folder,
            config=self._config,
            state_dir=self.daemon.state,
            kafka__bootstrap_servers=self.place.bootstrap,
            kafka__topic_prefix=self.place.prefix,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def at_risk(self, event: str) -> bool:
        try:
            return self.daemon.metrics().value(RISK, event=event) == 1
        except KeyError:
            return False


@asynccontextmanager
async def aurora_beside(bridge: Bridge, begin: float) -> AsyncIterator[Engine]:
    """Yield an Aurora that nobody has subscribed at, whose clock the daemon's follows."""
    async with sending() as send:

        async def send_in_time(asked: Request) -> Answer:
            bridge.set_clock(asked.at)
            return await send(asked)

        leads = {"lead": STORIES["sale"][:1]}
        streams = occurrences(1, begin, STORIES_PER_DAY), occurrences(2, begin + 2 * DAY, LEADS_PER_DAY, leads)
        stories = takewhile(lambda one: one.at < begin + 6 * DAY, merge(*streams))
        yield Engine(lambda: World(Aurora(), begin, stories), Clock(begin, monotonic), send_in_time)


def subscribe(aurora: Aurora, url: str, token: str) -> None:
    """Subscribe to every event with this credential, or change the subscriptions that there are."""
    for event in EVENTS:
        to = f"{url}/contracts" if event == "agreement_status_changed" else url
        aurora.change(subscription(event, event, to, header_auth_key=TOKEN, header_auth_value=token))


def enabled(aurora: Aurora) -> set[str]:
    """Return the subscriptions that Aurora has not switched off."""
    return {one.id for one in aurora.subscriptions if one.enabled}


def lines(deliveries: Iterable[Delivery]) -> Counter[str]:
    """Return what was sent, a line for each event."""
    return Counter(
        _line(one.event, {name: value or None for name, value in one.attributes.items()}) for one in deliveries
    )


def told_apart_by_nothing(deliveries: Iterable[Delivery]) -> set[str]:
    """Return the states that came back within a day, where the outage kept one of the two from coming at its time.

    What lay between them was not heard either, or not in its order: the same state twice within the repeat window.
    """
    found: dict[str, list[Delivery]] = {}
    for one in deliveries:
        if one.state is State.DELIVERED and CATALOGUE[one.event].recurrence is Recurrence.STATE:
            (line,) = lines([one])
            found.setdefault(line, []).append(one)
    return {
        line
        for line, same in found.items()
        if any(len(one.attempts) > 1 for one in same)
        and any(abs(one.attempts[-1][0] - other.attempts[-1][0]) < DAY for one, other in pairwise(same))
    }


def kept(stored: list[Stored]) -> Counter[str]:
    """Return what a consumer has, who drops all but the first record of an id, in the same form."""
    first = {one.key: one for one in reversed(stored) if one.topic in CATALOGUE}
    return Counter(_line(one.topic, one.event["data"]) for one in first.values())


def _line(event: str, attributes: object) -> str:
    return f"{event} {json.dumps(attributes, sort_keys=True)}"


async def test_a_week_with_all_that_goes_wrong_leaves_exactly_what_aurora_sent(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    bridge = Bridge(tmp_path, Place(prefix, kafka.bootstrap))
    begin = time() - WEEK - HOUR
    bridge.set_clock(begin)
    bridge.write(BROKEN)
    bridge.accept("old")
    with bridge.daemon as daemon:
        bridge.place.settle(daemon)
        async with aurora_beside(bridge, begin) as engine:
            aurora = engine.aurora

            async def until(day: float) -> None:
                await engine.advance(begin + day * DAY - engine.clock.now())
                bridge.set_clock(engine.clock.now())

            subscribe(aurora, daemon.url, "old")
            leads = aurora.subscriptions["lead_created"]
            aurora.change(replace(leads, url_template=f"{daemon.url}/leads/lead_created?lead_id=<LEAD_ID>"))

            # The operator's route has a broken template: what comes for it becomes dead letters.
            await until(2)
            bridge.write(CONTRACTS)
            daemon.terminate()
            bridge.start()
            letters = [json.loads(line) for line in bridge.run("dead-letters", "replay", "--yes").splitlines()]
            assert {letter["outcome"] for letter in letters} == {"published"}

            # A subscription leads to a path that no route has, until Aurora switches it off.
            daemon.wait_until("the guard warns", lambda _: bridge.at_risk("lead_created"))
            assert leads.id in enabled(aurora)
            while leads.id in enabled(aurora):
                await engine.advance(HOUR)
            aurora.change(leads)

            # An outage of a day.
            await until(3.5)
            daemon.terminate()
            await until(4.5)
            bridge.start()

            # A rotation of the credential, as the documentation has it.
            await until(5)
            bridge.accept("new", "old")
            daemon.wait_until(
                "the new one holds",
                lambda daemon: daemon.get("/lead_changed?lead_id=%FF", [(TOKEN, "new")]).status != 401,
            )
            subscribe(aurora, daemon.url, "new")
            bridge.accept("new")

            await until(7)
            assert aurora.owed() == 0
            sent, alike = lines(aurora.ledger), told_apart_by_nothing(aurora.ledger)
            assert any(one.state is State.FAILED for one in aurora.ledger), "the outage was too short"
            bridge.run("resend", "begin")
            aurora.resend(begin, engine.clock.now())
            await engine.advance(0)
            assert aurora.owed() == 0
            stored = kept(bridge.place.read(daemon))
            assert not stored - sent
            assert (sent - stored).keys() <= alike
