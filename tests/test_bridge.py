"""The deadline that holds should a stage have a fault: nothing stays unanswered."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic
from unittest.mock import patch

import pytest

from aurora_bridge.bridge import Answer, Bridge
from aurora_bridge.dedup.deduplicator import Decision, Deduplicator
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action, Interval
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, EVENTS
from aurora_bridge.webhook.credentials import Anonymous, Credentials, Secrets
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes

PATIENCE = 30.0
ATTRIBUTES = [(name, attribute) for name, kind in CATALOGUE.items() for attribute in kind.values]


class Stuck(Deduplicator):
    """Never judges anything."""

    def __init__(self) -> None:
        """Open nothing."""

    def claim(self, event: Event, received_us: int) -> None:
        """Let it wait."""

    async def wait(self, event: Event, received_us: int) -> Decision:
        await asyncio.Event().wait()
        raise AssertionError(event, received_us)


def bridge_of(dedup: Deduplicator) -> Bridge:
    settings, metrics = Settings(), Metrics(events=EVENTS, attributes=ATTRIBUTES)
    publisher = Publisher(settings.deadlines, EVENTS, None, None, metrics)
    route = Route("default", "default", Anonymous(), Rules(SecretNames(())))
    return Bridge(settings, Routes("/", route), dedup, publisher, instance="test", metrics=metrics)


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    made = bridge_of(Stuck())
    with patch("aurora_bridge.bridge._SWEEP_SECONDS", 0):
        watch = asyncio.create_task(made.watch())
        yield made
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def overdue() -> Delivery:
    """Return a delivery that came longer ago than any deadline."""
    return Delivery("GET", b"/lead_changed?lead_id=1", (), 1, monotonic() - PATIENCE)


@pytest.mark.proves("every answer leaves within 8 s")
async def test_every_delivery_of_a_connection_is_answered_in_time_not_only_the_first(bridge: Bridge) -> None:
    async def connection() -> tuple[list[Answer], int]:
        answers = [await bridge.accept(overdue()) for _ in range(3)]
        task = asyncio.current_task()
        assert task is not None
        return answers, task.cancelling()

    async with asyncio.timeout(PATIENCE):
        answers, cancelling = await asyncio.create_task(connection())
    assert [answer.reason for answer in answers] == [Reason.TOO_LATE] * 3
    assert [answer.subscription for answer in answers] == [("default", "lead_changed")] * 3
    assert cancelling == 0


@pytest.mark.proves("every answer leaves within 8 s")
async def test_what_the_next_sweep_would_find_too_late_is_answered_by_this_one() -> None:
    bridge, now = bridge_of(Stuck()), monotonic()
    with patch("aurora_bridge.bridge.monotonic", lambda: now):  # time that stands still has no next sweep
        watch = asyncio.create_task(bridge.watch())
        async with asyncio.timeout(PATIENCE):
            answer = await bridge.accept(Delivery("GET", b"/lead_changed?lead_id=1", (), 1, now - 7.9))
        watch.cancel()
    assert answer.reason is Reason.TOO_LATE


async def test_what_reaches_the_deadline_is_logged(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(bridge.accept(overdue()) for _ in range(3)))
    (record,) = caplog.records
    assert (record.getMessage(), record.fields) == (  # type: ignore[attr-defined]
        "deliveries reached the answer deadline",
        {"deliveries": 3},
    )


async def test_the_publishers_deadlines_are_enforced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: asyncio.Queue[float] = asyncio.Queue()
    monkeypatch.setattr(Publisher, "sweep", lambda _self, now: swept.put_nowait(now))
    began = monotonic()
    watch = asyncio.create_task(bridge_of(Stuck()).watch())
    async with asyncio.timeout(PATIENCE):
        assert began <= await swept.get() <= monotonic()
    watch.cancel()


class Judging(Stuck):
    """Finds every event new, and counts who refers to it."""

    def __init__(self) -> None:
        self.entry = Entry("fingerprint", None, State.IN_FLIGHT, 1, 0, 1)

    def claim(self, event: Event, received_us: int) -> Decision:  # type: ignore[override]
        del event, received_us
        self.entry.refcount += 1
        return Decision(Action.NEW, self.entry, Interval.NONE)

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """Write nothing."""

    def answered(self, entry: Entry, attempt_us: int, *, in_time: bool) -> None:
        assert (attempt_us, in_time) == (1, False)
        entry.refcount -= 1


async def test_a_fault_of_ours_leaves_nothing_in_memory_for_ever() -> None:
    """The delivery has no answer that could be told, which is when an entry is let go of."""
    bridge = bridge_of(dedup := Judging())
    fault = patch.object(Publisher, "publish", side_effect=ZeroDivisionError)
    with fault, pytest.raises(ZeroDivisionError):
        await bridge.accept(replace(overdue(), received=monotonic()))
    assert dedup.entry.refcount == 0


@pytest.mark.parametrize(
    ("target", "subscription"),
    [
        (b"/lead_changed?lead_id=1", ("default", "lead_changed")),
        (b"/something_new?a=1", None),
        (b"/no/route", None),
    ],
)
def test_a_fault_of_ours_is_an_attempt_of_auroras_where_the_path_is(
    bridge: Bridge, target: bytes, subscription: tuple[str, str] | None
) -> None:
    answer = bridge.fault(replace(overdue(), target=target))
    assert (answer.status, answer.reason, answer.subscription) == (500, Reason.INTERNAL_ERROR, subscription)


@pytest.mark.parametrize(
    ("target", "token", "subscription"),
    [
        (b"/hooks/lead_changed?lead_id=1", b"none", ("none", "lead_changed")),
        (b"/hook?lead_id=1", b"valid", ("none", "none")),
        (b"/hook?lead_id=1", b"wrong", None),
        (b"/wp-login.php", b"", None),
    ],
)
async def test_what_has_no_route_is_an_attempt_of_auroras_if_it_names_an_event_or_has_a_valid_credential(
    target: bytes, token: bytes, subscription: tuple[str, str] | None
) -> None:
    settings, metrics = Settings(), Metrics(events=EVENTS, attributes=ATTRIBUTES)
    publisher = Publisher(settings.deadlines, EVENTS, None, None, metrics)
    secrets = Secrets("tokens", ("header",), {})
    secrets.replace([b"valid"])
    route = Route("default", "default", Credentials("X-Token", secrets), Rules(SecretNames(())))
    made = Bridge(settings, Routes("/below", route), Stuck(), publisher, instance="test", metrics=metrics)
    answer = await made.accept(replace(overdue(), target=target, headers=((b"x-token", token),)))
    assert (answer.reason, answer.subscription) == (Reason.NO_ROUTE, subscription)
    assert answer.known_path is (subscription is not None)


async def test_who_cancels_a_delivery_that_is_not_overdue_is_obeyed(bridge: Bridge) -> None:
    task = asyncio.create_task(bridge.accept(replace(overdue(), received=monotonic())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
