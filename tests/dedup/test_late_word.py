"""Answers that were not heard, and acknowledgements that come late: a retry that is expected is a duplicate, once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.recurrence import Action, Interval
from aurora_bridge.webhook.event import Event
from tests.dedup.events import MINUTE, NOON, ONCE, SECOND, A, B, told
from tests.dedup.life import Life, living, states, until

written = pytest.mark.parametrize("written", [False, True], ids=["in memory", "in the file"])


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    async with living(tmp_path) as made:
        await made.complete(NOON)
        yield made


# An answer not heard.


@written
async def test_the_retry_of_what_was_stored_and_not_heard_is_a_duplicate_though_a_newer_state_came(
    life: Life, *, written: bool
) -> None:
    await life.deliver(A, NOON, in_time=False)
    await life.deliver(B, NOON + SECOND)
    if written:
        await life.written()
    retry = await life.deliver(A, NOON + 30 * SECOND)
    assert (retry.action, retry.interval, retry.entry.time_ms) == (Action.DUPLICATE, Interval.RETRY_30S, NOON)
    assert life.metrics.expected_retries[()] == 1


@written
async def test_it_is_expected_once(life: Life, *, written: bool) -> None:
    await life.deliver(A, NOON, in_time=False)
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE
    if written:
        await life.written()
    assert await life.act(A, NOON + 60 * SECOND) is Action.REPEAT


@written
async def test_a_retry_that_was_not_heard_either_is_expected_again_from_then_on(life: Life, *, written: bool) -> None:
    await life.deliver(A, NOON, in_time=False)
    await life.deliver(B, NOON + SECOND)
    await life.deliver(A, NOON + 30 * SECOND, in_time=False)
    if written:
        await life.written()
    retry = await life.deliver(A, NOON + 30 * SECOND + 5 * MINUTE)
    assert (retry.action, retry.interval, retry.entry.attempt) == (Action.DUPLICATE, Interval.RETRY_5MIN, 3)


async def test_a_copy_that_is_no_retry_leaves_it_expected(life: Life) -> None:
    """Another subscription's copy comes a second later."""
    await life.deliver(A, NOON, in_time=False)
    await life.deliver(A, NOON + SECOND)
    await life.deliver(B, NOON + 2 * SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE


async def test_of_several_copies_one_that_was_not_heard_is_enough(life: Life) -> None:
    flying, joined = await life.claims((A, NOON), (A, NOON + 1))
    await life.store(A, flying.entry)
    life.answer(flying, NOON)
    life.answer(joined, NOON + 1, in_time=False)
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE


async def test_a_refusal_that_was_not_heard_is_a_refusal(life: Life) -> None:
    await life.deliver(A, NOON, stored=False, in_time=False)
    assert await life.act(A, NOON + 30 * SECOND) is Action.RETRY
    assert life.metrics.expected_retries[()] == 0


async def test_between_the_intervals_of_a_retry_the_state_has_come_back(life: Life) -> None:
    await life.deliver(A, NOON, in_time=False)
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 2 * MINUTE) is Action.REPEAT


# A late acknowledgement.


@written
@pytest.mark.parametrize("event", [A, ONCE], ids=["state", "once"])
async def test_the_retry_of_what_was_refused_and_stored_late_is_a_duplicate(
    life: Life, event: Event, *, written: bool
) -> None:
    """Also if it has left memory by then: the file is told."""
    decision = await life.claim(event, NOON)
    await life.refuse(decision.entry)
    await life.deliver(B, NOON + SECOND)
    if written:
        life.answer(decision, NOON)
        await life.written()
    life.dedup.stored_late(decision.entry)
    if written:
        await until(lambda: states(life.directory)[event.fingerprint] is State.RETRY_EXPECTED)
        assert life.in_memory == {}
    assert await life.act(event, NOON + 30 * SECOND) is Action.DUPLICATE


async def test_word_of_it_can_come_before_the_refusal(life: Life) -> None:
    """The spool's commit answers a delivery, and before its task runs, the acknowledgement is there."""
    decision = await life.claim(A, NOON)
    life.dedup.stored_late(decision.entry)
    await life.refuse(decision.entry)
    life.answer(decision, NOON)
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "refused"])
async def test_while_a_retry_is_in_flight_it_is_one_of_the_same_event(life: Life, *, stored: bool) -> None:
    first = await life.claim(A, NOON)
    await life.refuse(first.entry)
    life.answer(first, NOON)
    retry = await life.claim(A, NOON + 30 * SECOND)
    life.dedup.stored_late(first.entry)
    await (life.store(A, retry.entry) if stored else life.refuse(retry.entry))
    life.answer(retry, NOON + 30 * SECOND)
    await life.deliver(B, NOON + 31 * SECOND)
    again = await life.act(A, NOON + 30 * SECOND + 5 * MINUTE)
    assert again is (Action.REPEAT if stored else Action.DUPLICATE)


@written
async def test_it_says_nothing_of_another_event_of_its_fingerprint(life: Life, *, written: bool) -> None:
    first = await life.claim(A, NOON)
    await life.refuse(first.entry)
    life.answer(first, NOON)
    await life.deliver(B, NOON + SECOND)
    await life.deliver(A, NOON + 3 * MINUTE, stored=False)
    if written:
        await life.written()
    life.dedup.stored_late(first.entry)
    assert await life.act(A, NOON + 3 * MINUTE + 30 * SECOND) is Action.RETRY


@written
async def test_a_record_in_the_log_is_the_acknowledgement_that_never_came(tmp_path: Path, *, written: bool) -> None:
    async with living(tmp_path, kafka=True) as life:
        await life.reads()
        await life.deliver(A, NOON, stored=False)
        await life.deliver(B, NOON + SECOND)
        if written:
            await life.written()
        await life.reads(told(A, NOON, instance="me"))
        assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE


async def test_a_copy_that_is_accepted_leaves_the_retry_of_a_refused_one_expected(life: Life) -> None:
    """Two subscriptions: one delivery is refused, the other stored a moment later; the refused one is tried again."""
    await life.deliver(A, NOON, stored=False)
    assert await life.act(A, NOON + 1) is Action.RETRY
    await life.deliver(B, NOON + SECOND)
    assert await life.act(A, NOON + 30 * SECOND) is Action.DUPLICATE
