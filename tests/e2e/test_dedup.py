"""Same event or new one over hours and days, and over the death of the daemon or of Kafka at the worst moment.

What takes hours is tried in this process, on everything between the HTTP edge and the disk: the time of a delivery is
its own. `test_identity.py` has what takes a moment.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from aurora_bridge.bridge import Answer
from aurora_bridge.daemon import make_metrics
from aurora_bridge.outcomes import Outcome
from aurora_bridge.redaction import SecretNames
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes
from tests.e2e.stores import Place, Stored
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.embedded import EmbeddedBridge
from tests.support.http import Connection, request

NOON: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RETRIES: Final = (30 * SECOND, 5 * MINUTE, 30 * MINUTE, 3 * HOUR, 20 * HOUR)
"""Aurora's schedule; each counts from the attempt before."""

STATUS: Final = "/agreement_status_changed?project_id=p&agreement_id=a&status={}"
COMPLETED: Final = "/design_request_completed?design_request_id=d&status=designer_completed"
REJECTED: Final = "/design_request_rejected?design_request_id=d&status=designer_rejected"


class Deliveries(EmbeddedBridge):
    """A bridge that gets deliveries at any time, however they are answered."""

    def __init__(self, directory: Path, *, window: timedelta = DAY) -> None:
        route = Route("default", "default", Anonymous(), Rules(SecretNames(()), window // timedelta(microseconds=1)))
        super().__init__(Settings(state_dir=directory), Routes("/", route), make_metrics())

    async def deliver(self, target: str, at: datetime, *, in_time: bool | None = True) -> Answer:
        """Receive a webhook; its answer reaches Aurora `in_time`, or is never made where that is None."""
        received_us = (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        delivery = Delivery("GET", target.encode(), (), received_us, monotonic())
        answer = await self.bridge.accept(delivery)
        if in_time is not None:
            self.bridge.answered(delivery, answer, in_time=in_time)
        return answer


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Callable[..., "asyncio.Future[Deliveries]"]]:
    """Start bridges on one directory; each is left as a process leaves it that dies, and ends after the test."""
    cores: list[Deliveries] = []

    async def start(**options: timedelta) -> Deliveries:
        core = Deliveries(tmp_path, **options)
        cores.append(core)
        await core.start()
        return core

    yield lambda **options: asyncio.ensure_future(start(**options))
    for core in cores:
        await core.stop()


Begin = Callable[..., "asyncio.Future[Deliveries]"]


def statuses(events: Sequence[Stored]) -> list[str]:
    """Return the statuses of events, in their order."""
    return [event.event["data"]["status"] for event in events]


# Retries whose first attempt was stored.


@pytest.mark.proves("an expected retry is a duplicate, also behind a newer state")
@pytest.mark.parametrize("interval", RETRIES, ids=str)
async def test_a_retry_is_a_duplicate_though_a_newer_state_came(begin: Begin, interval: timedelta) -> None:
    core = await begin()
    first = await core.deliver(STATUS.format("viewed"), NOON, in_time=False)
    await core.deliver(STATUS.format("signed"), NOON + SECOND)
    retry = await core.deliver(STATUS.format("viewed"), NOON + interval)
    assert (retry.outcome, retry.id) == (Outcome.DUPLICATE, first.id)
    assert statuses(core.stored()) == ["viewed", "signed"]


async def test_a_webhook_that_is_never_answered_in_time_is_one_event_over_all_its_attempts(begin: Begin) -> None:
    core, at = await begin(), NOON
    first = await core.deliver(STATUS.format("viewed"), at, in_time=False)
    for number, interval in enumerate(RETRIES):
        await core.deliver(STATUS.format("signed" if number % 2 else "sent"), at + SECOND)
        at += interval + 2 * SECOND
        retry = await core.deliver(STATUS.format("viewed"), at, in_time=False)
        assert (retry.outcome, retry.id) == (Outcome.DUPLICATE, first.id)
    assert statuses(core.stored()) == ["viewed", "sent", "signed", "sent", "signed", "sent"]


@pytest.mark.proves("An attacker can: With a valid credential")
async def test_a_state_that_comes_back_when_no_retry_is_expected_is_published(begin: Begin) -> None:
    core = await begin()
    await core.deliver(STATUS.format("viewed"), NOON)
    await core.deliver(STATUS.format("signed"), NOON + SECOND)
    again = await core.deliver(STATUS.format("viewed"), NOON + 30 * SECOND)
    assert again.outcome is Outcome.SPOOLED
    assert [event.event["repeat"] for event in core.stored()] == [False, False, True]


@pytest.mark.proves("an expected retry is a duplicate, also behind a newer state")
async def test_a_process_that_died_between_storing_and_answering_knows_the_retry(begin: Begin) -> None:
    first = await (await begin()).deliver(STATUS.format("viewed"), NOON, in_time=None)
    core = await begin()
    await core.deliver(STATUS.format("signed"), NOON + SECOND)
    retry = await core.deliver(STATUS.format("viewed"), NOON + 30 * SECOND)
    assert (retry.outcome, retry.id) == (Outcome.DUPLICATE, first.id)
    assert statuses(core.stored()) == ["viewed", "signed"]


# Families, windows and days.


async def test_completed_and_rejected_share_the_state_of_a_design_request(begin: Begin) -> None:
    core = await begin()
    targets = (COMPLETED, REJECTED, REJECTED, COMPLETED)
    outcomes = [(await core.deliver(target, NOON + n * MINUTE)).outcome for n, target in enumerate(targets)]
    assert outcomes == [Outcome.SPOOLED, Outcome.SPOOLED, Outcome.DUPLICATE, Outcome.SPOOLED]


@pytest.mark.proves("a state that came back is a new event")
@pytest.mark.parametrize("window", [DAY, MINUTE], ids=["a route as Aurora suggests it", "a filtered route"])
async def test_the_same_state_again_is_a_duplicate_within_the_window_of_its_route(
    begin: Begin, window: timedelta
) -> None:
    core = await begin(window=window)
    first = await core.deliver(STATUS.format("viewed"), NOON)
    within = await core.deliver(STATUS.format("viewed"), NOON + window)
    beyond = await core.deliver(STATUS.format("viewed"), NOON + window + SECOND)
    assert [answer.outcome for answer in (first, within, beyond)] == [
        Outcome.SPOOLED,
        Outcome.DUPLICATE,
        Outcome.SPOOLED,
    ]
    assert first.id == within.id != beyond.id


async def test_an_id_has_the_utc_day_of_the_first_attempt_and_a_retry_keeps_it_over_midnight(begin: Begin) -> None:
    core, late = await begin(), NOON + 12 * HOUR - 5 * SECOND
    first = await core.deliver(STATUS.format("viewed"), late, in_time=False)
    retry = await core.deliver(STATUS.format("viewed"), late + 30 * SECOND)
    assert (first.id or "").endswith(".20261123")
    assert (retry.outcome, retry.id) == (Outcome.DUPLICATE, first.id)


@pytest.mark.proves("no two genuine events share an id")
async def test_a_state_that_comes_back_on_another_day_has_another_id_whatever_the_index_forgot(
    begin: Begin, tmp_path: Path
) -> None:
    first = await (await begin()).deliver(STATUS.format("viewed"), NOON)
    _lose_index(tmp_path)
    again = await (await begin()).deliver(STATUS.format("viewed"), NOON + DAY + SECOND)
    assert [first.outcome, again.outcome] == [Outcome.SPOOLED] * 2
    assert first.id != again.id


def _lose_index(directory: Path) -> None:
    for file in directory.glob("index.db*"):
        file.rename(file.with_name(f"lost-{file.name}"))


# The daemon and Kafka.


def deliver(daemon: Daemon, target: str) -> tuple[str, str]:
    """Deliver a webhook; return outcome and id of its answer."""
    response = daemon.get(target)
    assert response.status == 200
    return response.json["outcome"], response.json["id"]


@pytest.mark.slow
def test_a_daemon_that_was_killed_between_storing_and_answering_sends_the_retry_with_the_same_id(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    """Kafka is frozen with the event in its hands while the daemon dies, and stores it then."""
    (node,), place = kafka1.nodes, Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path, spool__enabled=False) as daemon:
        place.settle(daemon)
        deliver(daemon, STATUS.format("sent"))
        node.pause()
        with Connection(daemon.url) as connection:
            connection.send(request(STATUS.format("signed")))
            daemon.wait_until(
                "the event is on its way", lambda d: d.metrics().value("aurora_bridge_in_flight_deliveries")
            )
            daemon.kill()
        node.resume()
    with place.daemon(tmp_path, spool__enabled=False) as daemon:
        place.settle(daemon)
        daemon.wait_until("the index is read", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))
        _, key = deliver(daemon, STATUS.format("signed"))
        signed = [stored.event for stored in place.read(daemon) if stored.event["data"]["status"] == "signed"]
    assert {(event["id"], event["repeat"]) for event in signed} == {(key, False)}


@pytest.mark.proves("a retry after a refusal keeps id and time of the first attempt")
@pytest.mark.slow
def test_what_was_refused_for_good_is_published_once_when_it_comes_again(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    """The event was certainly not sent: its copies are refused together, and the retry is published once."""
    (node,), place = kafka1.nodes, Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path, spool__enabled=False) as daemon:
        place.settle(daemon)
        deliver(daemon, STATUS.format("sent"))
        node.kill()
        with ThreadPoolExecutor(10) as pool:
            refused = list(pool.map(daemon.get, [STATUS.format("signed")] * 10))
        assert {response.status for response in refused} == {503}
        assert len({response.json["id"] for response in refused}) == 1
        node.restart()
        place.settle(daemon)
        assert deliver(daemon, STATUS.format("signed"))[0] == "published"
        assert deliver(daemon, STATUS.format("signed"))[0] == "duplicate"
        events = place.read(daemon)
    assert statuses(events) == ["sent", "signed"]
