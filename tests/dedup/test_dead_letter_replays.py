"""An event that came earlier and is published only now: a dead letter that was replayed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aurora_bridge.dedup.dead_letter_replays import Claim
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.webhook.event import Event, millisecond_of
from tests.dedup.events import HOUR, MINUTE, NOON, ONCE, SECOND, SIGNAL, A, B
from tests.dedup.life import Life, living

written = pytest.mark.parametrize("written", [False, True], ids=["in memory", "in the file"])
REFUSED_AT = [0, 30 * SECOND, 330 * SECOND, 35 * MINUTE, 215 * MINUTE, 23 * HOUR + 35 * MINUTE]
"""Attempts of one delivery by Aurora's schedule, counted from the first."""


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    async with living(tmp_path) as made:
        await made.complete(NOON)
        yield made


async def replay(life: Life, event: Event, at: int, *, retried: bool = False) -> Claim:
    """Let an event that came then go its whole way."""
    claim = await life.dedup.replays.claim(event, at, retried=retried)
    if claim.entry is not None:
        await life.store(event, claim.entry)
        await life.dedup.replays.stored(claim.entry)
    return claim


@pytest.mark.parametrize("event", [A, ONCE, SIGNAL], ids=["state", "once", "signal"])
async def test_its_id_is_made_of_event_and_time_alone(life: Life, event: Event) -> None:
    """So that it is the same again after a crash of which nothing is known."""
    ids = [(await life.dedup.replays.claim(event, NOON, retried=False)).id for _ in range(2)]
    time = f".{millisecond_of(NOON)}" if event is not ONCE else ""
    assert ids == [event.fingerprint + time] * 2


@written
@pytest.mark.parametrize("event", [A, ONCE, SIGNAL], ids=["state", "once", "signal"])
async def test_once_it_is_stored_it_is_known(life: Life, event: Event, *, written: bool) -> None:
    first = await replay(life, event, NOON - HOUR)
    assert first.entry is not None
    if written:
        await life.written()
    assert await replay(life, event, NOON - HOUR) == (first.id, None)


@written
async def test_what_came_since_stays_the_latest(life: Life, *, written: bool) -> None:
    await life.deliver(B, NOON)
    if written:
        await life.written()
    assert (await replay(life, A, NOON - MINUTE)).entry is not None
    assert await life.act(B, NOON + MINUTE) is Action.DUPLICATE
    assert await life.act(A, NOON + MINUTE) is Action.REPEAT


async def test_the_same_state_later_is_another_event(life: Life) -> None:
    await life.deliver(A, NOON)
    claim = await replay(life, A, NOON - HOUR)
    assert claim.entry is not None
    assert claim.entry.repeat
    assert (await life.deliver(A, NOON + MINUTE)).entry.time_ms == NOON


async def test_what_happened_once_is_a_duplicate_however_late_it_came(life: Life) -> None:
    await life.deliver(ONCE, NOON)
    assert await replay(life, ONCE, NOON - HOUR) == (ONCE.fingerprint, None)


@pytest.mark.parametrize("came", range(len(REFUSED_AT)))
async def test_the_attempts_of_a_delivery_that_was_refused_are_one_event(life: Life, came: int) -> None:
    """Whichever of them came by itself after the fix, and whatever state came in between."""
    start = NOON - 24 * HOUR
    if came:
        await life.deliver(A, start + REFUSED_AT[came])
    await life.deliver(B, NOON)
    claims = [await replay(life, A, start + at, retried=True) for at in REFUSED_AT if not came or at < REFUSED_AT[came]]
    assert sum(claim.entry is not None for claim in claims) == (not came)
    assert len({claim.id for claim in claims}) == 1
