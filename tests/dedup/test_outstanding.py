"""Deliveries that were refused and have not come again: who is counted, until when, and what Aurora is asked for."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from aurora_bridge.dedup import index, outstanding
from aurora_bridge.dedup.inspect import missing_of
from aurora_bridge.dedup.outstanding import LAST_RETRY_MS, LATEST_MS, Found, Gap, Refused, Window, to_request
from aurora_bridge.dedup.recurrence import SCHEDULE, interval_of
from tests.dedup.events import DAY, HOUR, MINUTE, NOON, ONCE, SECOND, SIGNAL, A, B, told
from tests.dedup.life import Life, living

pytestmark = pytest.mark.proves("what was refused is listed until it comes again")

AT = NOON // MINUTE
written = pytest.mark.parametrize("written", [False, True], ids=["in memory", "in the file"])


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    async with living(tmp_path, kafka=True) as made:
        await made.reads()
        yield made


async def counted(life: Life) -> list[Refused]:
    """Return what the file has, once it has all that is in memory."""
    await life.written()
    found: Found = await life.dedup.file.call(outstanding.read)  # behind what it was told
    assert found == missing_of(life.directory)
    return list(found.refused)


# Who is counted.


@written
async def test_what_is_refused_counts_until_its_retry_is_stored(life: Life, *, written: bool) -> None:
    for event in (A, ONCE, SIGNAL):
        await life.deliver(event, NOON, stored=False)
    await life.deliver(A, NOON + 30 * SECOND, stored=False)
    if written:
        assert await counted(life) == [Refused(event.name, AT, 1) for event in (SIGNAL, ONCE, A)]
    for event in (A, SIGNAL):
        await life.deliver(event, NOON + 5 * MINUTE)
    assert await counted(life) == [Refused(ONCE.name, AT, 1)]


async def test_equal_contents_count_once_and_others_by_their_minute(life: Life) -> None:
    for event, at in ((A, NOON), (A, NOON + SECOND), (B, NOON + SECOND), (ONCE, NOON + MINUTE)):
        await life.deliver(event, at, stored=False)
    assert await counted(life) == [Refused(ONCE.name, AT + 1, 1), Refused(A.name, AT, 2)]


async def test_what_was_stored_after_all_counts_no_more(life: Life) -> None:
    decision = await life.deliver(A, NOON, stored=False)
    assert await counted(life) == [Refused(A.name, AT, 1)]
    life.dedup.stored_late(decision.entry)
    assert await counted(life) == []


@written
async def test_a_retry_that_another_replica_took_counts_no_more(life: Life, *, written: bool) -> None:
    for event in (A, ONCE):
        await life.deliver(event, NOON, stored=False)
    if written:
        await life.written()
    await life.reads(told(A, NOON + 30 * SECOND, id_ms=NOON + 30 * SECOND), told(ONCE, NOON + 30 * SECOND))
    assert await counted(life) == []


async def test_a_restart_forgets_none_and_one_by_kill_neither(tmp_path: Path) -> None:
    async with living(tmp_path) as life:
        await life.deliver(A, NOON, stored=False)
        left = await life.kill()
    async with living(left) as life:
        await life.complete(NOON)
        assert await counted(life) == [Refused(A.name, AT, 1)]
        await life.deliver(A, NOON + 30 * SECOND)
        assert await counted(life) == []


def test_an_index_of_the_format_before_goes_on(tmp_path: Path) -> None:
    path = tmp_path / index.FILE
    with closing(index.open_index(path, 2**26)) as db:
        for name in ("refused", "refused_by_minute", "runs"):
            db.execute(f"DROP TABLE {name}")
        db.execute("INSERT INTO instances VALUES ('another', 17)")
        db.execute("PRAGMA user_version=5")
    with closing(index.open_index(path, 2**26)) as db:
        assert outstanding.read(db) == Found([], [])
        assert index.found(db).instances == {"another": 17}


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    with closing(index.open_index(tmp_path / index.FILE, 2**26)) as db:
        outstanding.note(db, [("a", A.name, NOON - MINUTE), ("b", A.name, NOON)])
        for began, alive in ((NOON - DAY, NOON - HOUR), (NOON, NOON + HOUR)):
            outstanding.note_alive(db, began, alive)
        outstanding.forget(db, NOON)
        assert outstanding.read(db) == Found([Refused(A.name, AT, 1)], [])


# Until when.


def test_the_last_retry_is_due_when_all_intervals_are_over() -> None:
    assert LAST_RETRY_MS == (30 + 300 + 1800 + 3 * 3600 + 20 * 3600) * SECOND
    last = LATEST_MS - LAST_RETRY_MS + SCHEDULE[-1][1] * SECOND
    assert interval_of(int(SCHEDULE[-1][1] * 1200)) is SCHEDULE[-1][0]
    assert last >= SCHEDULE[-1][1] * 1200


def test_a_retry_is_pending_until_the_last_is_late_and_missed_from_then_on() -> None:
    found = Found([Refused("a", AT, 2), Refused("b", AT + 60, 3)])
    first, second = (each.ends_ms + LATEST_MS for each in found.refused)
    told = [outstanding.outstanding(found, now) for now in (NOON, first - 1, first, second)]
    assert [dict(each.pending) for each in told] == [{"a": 2, "b": 3}, {"a": 2, "b": 3}, {"b": 3}, {}]
    assert [dict(each.missed) for each in told] == [{}, {}, {"a": 2}, {"a": 2, "b": 3}]
    due = NOON + HOUR + MINUTE + LAST_RETRY_MS
    assert [each.due_ms for each in told] == [due, due, due, 0]
    assert [each.latest_ms for each in told] == [second, second, second, 0]


# What Aurora is asked for.

LATER = NOON + 3 * DAY


def test_windows_of_an_event_that_lie_within_an_hour_are_one() -> None:
    found = Found([Refused("a", AT, 1), Refused("a", AT + 61, 2), Refused("a", AT + 123, 1), Refused("b", AT, 1)])
    assert to_request(found, LATER) == [
        Window("a", NOON, NOON + 62 * MINUTE, 3),
        Window("a", NOON + 123 * MINUTE, NOON + 124 * MINUTE, 1),
        Window("b", NOON, NOON + MINUTE, 1),
    ]


def test_what_may_still_come_is_asked_for_on_demand() -> None:
    found = Found([Refused("a", AT, 1)])
    assert to_request(found, NOON + DAY) == []
    assert to_request(found, NOON + DAY, pending=True) == [Window("a", NOON, NOON + MINUTE, 1)]


def test_of_a_time_without_a_daemon_that_part_is_asked_for_whose_retries_may_be_over() -> None:
    """A retry comes at most a tenth early: what was first sent 21 h 14 min before the end of the gap may be over."""
    short, long = Gap(NOON, NOON + 21 * HOUR), Gap(NOON, NOON + 2 * DAY)
    assert to_request(Found([], [short]), LATER) == []
    (window,) = to_request(Found([], [long]), LATER)
    assert (window.event, window.from_ms) == ("", NOON)
    assert 26 * HOUR < window.to_ms - NOON < 27 * HOUR
    assert to_request(Found([], [short]), LATER, pending=True) == [Window("", NOON, NOON + 21 * HOUR)]


def test_what_was_refused_behind_a_gap_may_have_been_a_retry_of_what_came_in_it() -> None:
    gap = Gap(NOON - 2 * HOUR, NOON - HOUR)
    assert to_request(Found([Refused("a", AT, 1)], [gap]), LATER) == [Window("a", gap.from_ms, NOON + MINUTE, 1)]
    long_ago = Gap(NOON - 2 * DAY, NOON - DAY)
    assert to_request(Found([Refused("a", AT, 1)], [long_ago]), LATER)[0] == Window("a", NOON, NOON + MINUTE, 1)


def test_the_time_between_two_runs_is_a_gap() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(outstanding.SCHEMA)
        for began, alive in ((NOON, NOON), (NOON, NOON + HOUR), (NOON + 3 * HOUR, NOON + 4 * HOUR)):
            outstanding.note_alive(db, began, alive)
        assert outstanding.read(db).gaps == [Gap(NOON + HOUR, NOON + 3 * HOUR)]
