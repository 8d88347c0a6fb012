"""Same event or new one: deliveries on a deduplicator that runs, whether memory or the file knows what came before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aurora_bridge.dedup.deduplicator import Decision
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.recurrence import Action, Interval
from aurora_bridge.outcomes import Refusal
from aurora_bridge.webhook.event import Event
from tests.dedup.events import DAY, HOUR, MINUTE, NOON, ONCE, SECOND, SIGNAL, A, B, C, once, state, told
from tests.dedup.life import REFUSAL, Life, held_up, living, states, turns, until

written = pytest.mark.parametrize("written", [False, True], ids=["in memory", "in the file"])


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    async with living(tmp_path) as made:
        await made.complete(NOON)
        yield made


async def have(life: Life, *events: Event, written: bool) -> None:
    """Let events have come, one a millisecond from NOON on."""
    for number, event in enumerate(events):
        await life.deliver(event, NOON + number)
    if written:
        await life.written()


def identity(decision: Decision) -> tuple[int, int]:
    """Return what the id of a decision's event is made of, besides its fingerprint."""
    return decision.entry.time_ms, decision.entry.id_ms


# New events.


async def test_a_new_event_touches_no_file(life: Life) -> None:
    await life.filtering()
    async with life.hanging():
        for event in (A, ONCE, SIGNAL):
            decision = await life.claim(event, NOON)
            assert (decision.action, decision.entry.repeat, decision.entry.attempt) == (Action.NEW, False, 1)


async def test_the_id_of_a_new_event_is_as_its_recurrence_wants_it(life: Life) -> None:
    found = [identity(await life.deliver(event, NOON)) for event in (A, ONCE, SIGNAL)]
    assert found == [(NOON, 0), (NOON, 0), (NOON, NOON)]


@pytest.mark.parametrize(
    ("others", "backlog", "id_ms"), [(False, True, 0), (True, False, 0), (True, True, NOON)], ids=str
)
async def test_with_other_replicas_a_new_state_behind_a_backlog_has_a_millisecond(
    tmp_path: Path, id_ms: int, *, others: bool, backlog: bool
) -> None:
    """Its topic's order is not the order of receipt then: two replicas could give two states one id."""
    async with living(tmp_path, kafka=True, backlog=[A.name] if backlog else []) as life:
        await life.reads(*([told(once("of another"), NOON)] if others else []))
        assert identity(await life.deliver(A, NOON)) == (NOON, id_ms)
        assert identity(await life.deliver(ONCE, NOON)) == (NOON, 0)


# Known events.


@written
async def test_the_same_again(life: Life, *, written: bool) -> None:
    await have(life, A, ONCE, SIGNAL, written=written)
    decisions = [await life.deliver(event, NOON + SECOND) for event in (A, ONCE, SIGNAL)]
    assert [decision.action for decision in decisions] == [Action.DUPLICATE, Action.DUPLICATE, Action.REPEAT]
    assert identity(decisions[0]) == (NOON, 0)
    assert (identity(decisions[2]), decisions[2].entry.repeat) == ((NOON + SECOND, NOON + SECOND), True)


@written
async def test_a_state_that_comes_back_is_a_repeat(life: Life, *, written: bool) -> None:
    await have(life, A, B, written=written)
    decision = await life.deliver(A, NOON + MINUTE)
    assert (decision.action, decision.entry.repeat) == (Action.REPEAT, True)
    assert identity(decision) == (NOON + MINUTE, NOON + MINUTE)
    assert await life.act(A, NOON + MINUTE + 1) is Action.DUPLICATE
    assert await life.act(B, NOON + MINUTE + 2) is Action.REPEAT


@written
async def test_subjects_do_not_know_of_each_other(life: Life, *, written: bool) -> None:
    await have(life, A, state("B", "2"), written=written)
    assert await life.act(A, NOON + SECOND) is Action.DUPLICATE


@written
async def test_the_repeat_window_is_that_of_the_route(life: Life, *, written: bool) -> None:
    short = state("A", "2", window=MINUTE)
    await have(life, short, A, written=written)
    assert await life.act(short, NOON + MINUTE) is Action.DUPLICATE
    assert await life.act(short, NOON + MINUTE + 1) is Action.REPEAT
    assert await life.act(A, NOON + DAY) is Action.DUPLICATE


@written
async def test_the_millisecond_of_a_repeat_grows_whatever_the_clock_does(life: Life, *, written: bool) -> None:
    await have(life, SIGNAL, written=written)
    found = [identity(await life.deliver(SIGNAL, at)) for at in (NOON, NOON, NOON - HOUR)]
    assert found == [(NOON, NOON + 1), (NOON, NOON + 2), (NOON - HOUR, NOON + 3)]


async def test_a_repeat_after_an_event_of_the_future_has_a_later_id(life: Life) -> None:
    """The id of that has its day alone: it is in the file until the day is over, under whichever event it stands."""
    await life.deliver(A, NOON + 40 * DAY)
    assert (await life.deliver(A, NOON)).entry.id_ms == NOON + 40 * DAY
    assert (await life.deliver(A, NOON + 2 * DAY)).entry.id_ms == NOON + 40 * DAY + 1


async def test_the_order_of_states_is_that_of_receipt_though_the_clock_steps_back(life: Life) -> None:
    await life.deliver(A, NOON)
    await life.deliver(B, NOON - 2 * SECOND)
    assert await life.act(A, NOON + SECOND) is Action.REPEAT


async def test_while_a_resend_is_declared_what_was_accepted_is_a_duplicate(life: Life) -> None:
    await have(life, A, B, SIGNAL, written=True)
    at = NOON + 20 * DAY
    await life.dedup.resend.begin(at)
    actions = [await life.act(event, at + DAY - 1) for event in (A, B, SIGNAL, C)]
    assert actions == [Action.DUPLICATE, Action.DUPLICATE, Action.DUPLICATE, Action.NEW]
    assert life.dedup.resend.declared == (at, at + DAY, 3, 1)
    assert await life.act(SIGNAL, at + DAY) is Action.REPEAT
    assert life.dedup.resend.declared == (at, at + DAY, 3, 1)


async def test_what_was_refused_is_published_during_a_resend_and_counts_as_new(life: Life) -> None:
    refused = await life.deliver(A, NOON, stored=False)
    await life.dedup.resend.begin(NOON + 2 * DAY)
    again = await life.deliver(A, NOON + 2 * DAY)
    assert (again.action, identity(again)) == (Action.RETRY, identity(refused))
    assert life.dedup.resend.declared[2:] == (0, 1)


# A refused state happened all the same.


@written
async def test_a_refused_state_is_the_latest_from_its_receipt_on(life: Life, *, written: bool) -> None:
    await have(life, A, written=written)
    await life.deliver(B, NOON + SECOND, stored=False)
    if written:
        await life.written()
    assert await life.act(A, NOON + MINUTE) is Action.REPEAT


async def test_it_is_the_latest_while_it_is_in_flight(life: Life) -> None:
    await life.deliver(A, NOON)
    await life.claim(B, NOON + SECOND)
    assert await life.act(A, NOON + MINUTE) is Action.REPEAT


@written
async def test_its_retry_goes_out_as_what_it_was(life: Life, *, written: bool) -> None:
    for event in (A, ONCE):
        await life.deliver(event, NOON, stored=False)
    if written:
        await life.written()
    for event in (A, ONCE):
        retry = await life.deliver(event, NOON + 30 * SECOND)
        assert (retry.action, retry.interval, retry.entry.attempt) == (Action.RETRY, Interval.RETRY_30S, 2)
        assert (identity(retry), retry.entry.repeat) == ((NOON, 0), False)
        assert await life.act(event, NOON + 31 * SECOND) is Action.DUPLICATE


async def test_its_retry_does_not_become_the_latest_before_a_newer_state(life: Life) -> None:
    await life.deliver(A, NOON, stored=False)
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.RETRY
    assert await life.act(B, NOON + 40 * SECOND) is Action.DUPLICATE
    assert await life.act(A, NOON + 41 * SECOND) is Action.REPEAT


async def test_a_refused_repeat_never_takes_the_id_of_the_first_event(life: Life) -> None:
    await have(life, A, B, written=False)
    await life.deliver(A, NOON + 2 * MINUTE, stored=False)
    await life.deliver(C, NOON + 3 * MINUTE)
    later = await life.deliver(A, NOON + 4 * MINUTE)
    assert (identity(later), later.entry.repeat) == ((NOON + 4 * MINUTE, NOON + 4 * MINUTE), True)


async def test_what_was_only_ever_refused_is_no_repeat_for_a_consumer(life: Life) -> None:
    await life.deliver(A, NOON, stored=False)
    await life.deliver(B, NOON + 1)
    later = await life.deliver(A, NOON + 2 * MINUTE)
    assert (later.action, later.entry.repeat) == (Action.REPEAT, False)


async def test_a_refusal_is_in_the_file_when_it_may_be_answered(life: Life, tmp_path: Path) -> None:
    await life.deliver(A, NOON)
    decision = await life.claim(B, NOON + 1)
    life.dedup.refused(decision.entry, REFUSAL)
    await life.dedup.note_durably(decision.entry)
    assert states(tmp_path)[B.fingerprint] is State.RETRY_PENDING


async def test_many_refusals_are_written_together(life: Life, tmp_path: Path) -> None:
    decisions = [await life.claim(once(f"{number}"), NOON) for number in range(100)]
    for decision in decisions:
        life.dedup.refused(decision.entry, REFUSAL)
    with held_up("write") as gate:
        notes = asyncio.gather(*(life.dedup.note_durably(decision.entry) for decision in decisions))
        await turns()
        gate.set()
        await notes
    assert set(states(tmp_path).values()) == {State.RETRY_PENDING}


# Copies of what is in flight.


@pytest.mark.parametrize("refusal", [None, REFUSAL], ids=["stored", "refused"])
async def test_who_joins_hears_what_became_of_the_one_it_joined(life: Life, refusal: Refusal | None) -> None:
    """Also if a retry is in flight by the time that it asks."""
    flying, *joined = await life.claims((A, NOON), (A, NOON + 1), (A, NOON + 2))
    assert [decision.action for decision in joined] == [Action.JOIN] * 2
    assert [decision.entry for decision in joined] == [flying.entry] * 2
    if refusal is None:
        life.dedup.stored(flying.entry)
    else:
        life.dedup.refused(flying.entry, refusal)
        assert (await life.claim(A, NOON + 30 * SECOND)).action is Action.RETRY
    heard = [await decision.result for decision in joined if decision.result is not None]
    assert heard == [refusal] * 2


async def test_who_joins_a_retry_hears_of_that(life: Life) -> None:
    await life.deliver(A, NOON, stored=False)
    retry = await life.claim(A, NOON + 30 * SECOND)
    joined = await life.claim(A, NOON + 31 * SECOND)
    assert (retry.action, joined.action) == (Action.RETRY, Action.JOIN)
    life.dedup.stored(retry.entry)
    assert joined.result is not None
    assert await joined.result is None


async def test_who_joins_and_is_gone_is_in_nobodys_way(life: Life) -> None:
    flying, joined, other = await life.claims((A, NOON), (A, NOON + 1), (A, NOON + 2))
    assert joined.result is not None
    joined.result.cancel()
    await life.store(A, flying.entry)
    assert other.result is not None
    assert await other.result is None


async def test_a_copy_before_the_answer_is_a_duplicate_of_what_is_durable(life: Life) -> None:
    flying = await life.claim(A, NOON)
    life.dedup.stored(flying.entry)
    copy = await life.claim(A, NOON + 1)
    assert (copy.action, copy.entry) == (Action.DUPLICATE, flying.entry)


# Memory.


async def test_memory_is_empty_once_all_is_answered_and_written(life: Life) -> None:
    """Whatever became of deliveries, and whoever joined them."""
    await have(life, A, B, A, ONCE, SIGNAL, SIGNAL, written=False)
    await life.deliver(A, NOON + SECOND, in_time=False)
    await life.deliver(C, NOON + SECOND, stored=False)
    flying, joined = await life.claims((once("2"), NOON), (once("2"), NOON + 1))
    await life.store(once("2"), flying.entry)
    life.answer(joined, NOON + 1)
    await until(lambda: set(life.in_memory) == {once("2").fingerprint})
    life.answer(flying, NOON)
    await life.written()
    await life.deliver(A, NOON + MINUTE)
    await life.written()


async def test_what_happens_once_goes_out_again_under_its_id_if_its_time_is_in_the_future(life: Life) -> None:
    """A clock was an hour fast; by the time that is right now, a copy of the copy is a duplicate."""
    await life.deliver(ONCE, NOON + 60 * MINUTE)
    again = await life.deliver(ONCE, NOON)
    assert (again.action, again.entry.time_ms, again.entry.id_ms) == (Action.REPEAT, NOON, 0)
    assert await life.act(ONCE, NOON + SECOND) is Action.DUPLICATE
