"""A week of Aurora against the daemon and real Kafka: everything that goes wrong in one, and no event lost or made up.

Aurora's clock is put forward from one attempt to the next, and the daemon's wall clock with it, so that what either
makes of hours and days is what it would be. The week lies in the past: Kafka refuses records of the future.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from heapq import merge
from itertools import pairwise, takewhile
from pathlib import Path
from time import monotonic, time
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from aurora_bridge.simulator.api import TOKEN as TOKEN_OF_API
from aurora_bridge.simulator.api import serving
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import Answer, Delivery, Request, State
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.fill_template import suggested
from aurora_bridge.simulator.sender import sending
from aurora_bridge.simulator.stories import STORIES, occurrences
from aurora_bridge.webhook.catalogue import CATALOGUE, Recurrence
from tests.e2e.stores import Place, Stored
from tests.faults.clock import WallClock
from tests.faults.scenario import UnavailableError
from tests.simulator.acting import OWNER, subscription
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, command
from tests.support.missing import unavailable
from tests.support.ports import HOST, free_ports

pytestmark = pytest.mark.slow

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
STORIES_PER_DAY: Final = 12
LEADS_PER_DAY: Final = 24
"""Beside these stories, from the third day on: so that Aurora has its 100 attempts in 48 h."""
TENANT: Final = OWNER.removeprefix("tenants/")
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
        (port,) = free_ports(1)
        self.url = f"http://{HOST}:{port}"
        self.daemon = place.daemon(folder, ingress__port=port, config=self._config, kafka__partitions=None, **PATIENT)
        self.daemon.surroundings = self._clock.surroundings

    def set_clock(self, at: float) -> None:
        """Put the daemon's clock forward; it is never set back, not by the part of a second that is cut off."""
        self._fast = max(self._fast, int(at - time()))
        self._clock.jump_to(self._fast)

    def write(self, template: str, api_url: str) -> None:
        """Let the next start have this template of its own, and everything else by Aurora's suggestion."""
        token = self._config.with_name("api-token")
        token.write_text(TOKEN_OF_API)
        self._config.write_text(
            f'[ingress]\npublic_url = "{self.url}"\n[auth]\ntokens_file = "{self._tokens}"\n'
            f'[aurora]\napi_url = "{api_url}"\napi_token_file = "{token}"\ntenant_id = "{TENANT}"\n'
            f"[[subscriptions]]\nevents = {json.dumps(EVENTS)}\n"
            f'[[routes]]\ntemplate = "{template}"\nevent = "agreement_status_changed"\n'
        )

    def accept(self, *tokens: str) -> None:
        """Let these credentials hold, and no others."""
        self._tokens.write_text("\n".join(tokens))

    def start(self) -> None:
        self.daemon.start()
        self.place.settle(self.daemon)

    async def run(self, *arguments: str) -> str:
        """Return what a command says, which must succeed."""
        ended = await asyncio.to_thread(
            command,
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
async def aurora_beside(bridge: Bridge, begin: float) -> AsyncIterator[tuple[Engine, str]]:
    """Yield an Aurora without subscriptions, whose clock the daemon's follows, and the URL of its API."""
    async with sending() as send:

        async def send_in_time(asked: Request) -> Answer:
            bridge.set_clock(asked.at)
            return await send(asked)

        leads = {"lead": STORIES["sale"][:1]}
        streams = occurrences(1, begin, STORIES_PER_DAY), occurrences(2, begin + 2 * DAY, LEADS_PER_DAY, leads)
        stories = takewhile(lambda one: one.at < begin + 6 * DAY, merge(*streams))
        engine = Engine(lambda: World(Aurora(), begin, stories), Clock(begin, monotonic), send_in_time)
        async with serving(engine, HOST, 0, requests_a_minute=1000) as api_url:
            yield engine, api_url


async def subscribe_by_hand(bridge: Bridge, aurora: Aurora) -> None:
    """Subscribe to every event, as in the dashboard; one leads to a path that no route has."""
    pasted = await bridge.run("templates")
    templates = dict(line.split("\t") for line in pasted.splitlines())
    templates["lead_created"] = templates["lead_created"].replace("/lead_created?", "/leads/lead_created?")
    templates["agreement_status_changed"] = bridge.url + CONTRACTS
    for event in EVENTS:
        auth = {"header_auth_key": TOKEN, "header_auth_value": "old"}
        aurora.change(subscription(event, event, url_template=templates[event], **auth))


async def rotate(bridge: Bridge) -> None:
    """Change the credential without a refusal: both hold while Aurora changes over."""
    bridge.accept("old", "new")
    with_new = [(TOKEN, "new")]
    bridge.daemon.wait_until("it is read", lambda it: it.get("/lead_changed?lead_id=%FF", with_new).status != 401)
    await bridge.run("subscriptions", "apply", "--yes", "--resend-credentials")
    bridge.accept("new")


def enabled(aurora: Aurora) -> set[str]:
    """Return the subscriptions that Aurora has not switched off."""
    return {one.id for one in aurora.subscriptions if one.enabled}


def lines(deliveries: Iterable[Delivery]) -> Counter[str]:
    """Return what was sent, a line for each event."""
    return Counter(_line(one.event, _query(one.attempts[-1][1])) for one in deliveries)


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


def _query(url: str) -> dict[str, str | None]:
    return {name: value or None for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True)}


def _line(event: str, attributes: object) -> str:
    return f"{event} {json.dumps(attributes, sort_keys=True)}"


async def test_a_week_with_all_that_goes_wrong_leaves_exactly_what_aurora_sent(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    bridge = Bridge(tmp_path, Place(prefix, kafka.bootstrap))
    begin = time() - WEEK - HOUR
    bridge.set_clock(begin)
    bridge.accept("old")
    async with aurora_beside(bridge, begin) as (engine, api_url):
        bridge.write(BROKEN, api_url)
        with bridge.daemon as daemon:
            bridge.place.settle(daemon)
            aurora = engine.aurora

            async def until(day: float) -> None:
                await engine.advance(begin + day * DAY - engine.clock.now())
                bridge.set_clock(engine.clock.now())

            await subscribe_by_hand(bridge, aurora)

            # The operator's own route has a broken template: what comes for it becomes dead letters.
            await until(2)
            bridge.write(CONTRACTS, api_url)
            daemon.terminate()
            bridge.start()
            letters = [json.loads(line) for line in (await bridge.run("dead-letters", "replay", "--yes")).splitlines()]
            assert {letter["outcome"] for letter in letters} == {"published"}

            # Aurora switches off what fails all the time, and not before the guard has warned.
            daemon.wait_until("the guard warns", lambda _: bridge.at_risk("lead_created"))
            assert "lead_created" in enabled(aurora)
            while "lead_created" in enabled(aurora):
                await engine.advance(HOUR)
            await bridge.run("subscriptions", "apply", "--yes")
            await bridge.run("subscriptions", "reenable", "--yes", "lead_created")

            # An outage of a day.
            await until(3.5)
            daemon.terminate()
            await until(4.5)
            bridge.start()

            # The credential is rotated, as the documentation has it.
            await until(5)
            await rotate(bridge)
            assert "Nothing to change" in await bridge.run("subscriptions", "plan")

            await until(7)
            assert [one for one in aurora.ledger if one.state is State.PENDING] == []
            sent, alike = lines(aurora.ledger), told_apart_by_nothing(aurora.ledger)
            assert any(one.state is State.FAILED for one in aurora.ledger), "the outage was too short"
            await bridge.run("resend", "begin")
            aurora.resend(begin, engine.clock.now())
            await engine.advance(0)
            assert aurora.pending() == 0
            stored = kept(bridge.place.read(daemon))
            assert not stored - sent
            assert (sent - stored).keys() <= alike
