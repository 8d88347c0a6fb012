"""What a deduplicator knows that starts on what another left: after an end in order, and after a crash anywhere."""

import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from aurora_bridge.dedup import index
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.log_record import Latest
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.outbox.spool_file import FILE as SPOOL_FILE
from tests.dedup.events import DAY, ME, MINUTE, NOON, ONCE, SECOND, A, B, C, once, told
from tests.dedup.life import CLUSTER, REFUSAL, Life, failing, held_up, lives, paused, rows, states, turns, until
from tests.outbox.records import make_record
from tests.outbox.spooling import Running, append
from tests.state.failing import connect_failing
from tests.support.index_rows import rows_of

End = Callable[[Life], Coroutine[None, None, Path]]
ends = pytest.mark.parametrize("end", [Life.stop, Life.kill], ids=["after an end in order", "after a crash"])

NO_RETRY = NOON + 2 * MINUTE
"""When no retry comes of what came at noon: the last events before a crash expect one."""


async def at(life: Life, offset: int) -> None:
    """Return when the file has the spool's position."""
    await life.log.reading()
    sql = "SELECT 1 FROM positions WHERE log=? AND offset=?"
    await until(lambda: bool(rows(life.directory, sql, life.spool.id, offset)))


# What is stored, or was refused, is known.


@ends
async def test_what_was_stored_is_known(tmp_path: Path, end: End) -> None:
    async with lives() as start:
        first = start(tmp_path)
        for number, event in enumerate((A, B, A, ONCE)):
            await first.deliver(event, NOON + number)
        second = start(await end(first))
        assert [await second.act(event, NO_RETRY) for event in (A, ONCE)] == [Action.DUPLICATE] * 2
        again = await second.deliver(B, NO_RETRY)
        assert (again.action, again.entry.id_ms) == (Action.REPEAT, NO_RETRY)
        assert (await second.deliver(C, NO_RETRY)).entry.id_ms == 0


@ends
@pytest.mark.parametrize("written", [False, True], ids=["before it was written", "after it was written"])
async def test_a_refused_state_is_the_latest_and_its_retry_goes_out_as_what_it_was(
    tmp_path: Path, end: End, *, written: bool
) -> None:
    """It stands in no log: it is in the file before the 503 leaves."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        if written:
            await first.written()
        await first.deliver(B, NOON + SECOND, stored=False)
        second = start(await end(first))
        assert await second.act(A, NO_RETRY) is Action.REPEAT
        retry = await second.deliver(B, NOON + SECOND + 5 * MINUTE)
        assert (retry.action, retry.entry.time_ms, retry.entry.id_ms) == (Action.RETRY, NOON + SECOND, 0)


async def test_after_an_end_in_order_an_expected_retry_is_known(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON, in_time=False)
        await first.deliver(B, NOON + SECOND)
        assert await start(await first.stop()).act(A, NOON + 30 * SECOND) is Action.DUPLICATE


@pytest.fixture
def no_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no slice's turn come: what is in the file after a crash was written at once."""
    monkeypatch.setattr("aurora_bridge.dedup.write_behind._SLOWEST", DAY)


async def crash(life: Life) -> Path:
    """Kill it as soon as the file has what was posted to it; return what it leaves."""
    await turns()
    await life.asked(lambda _db: None)
    return await life.kill()


@pytest.mark.proves("a state that came back is a new event")
@pytest.mark.usefixtures("no_slices")
async def test_a_refusal_whose_answer_cannot_wait_is_written_all_the_same(tmp_path: Path) -> None:
    """The answer deadline is over, or the delivery met a fault."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        first.dedup.refused((await first.claim(B, NOON + SECOND)).entry, REFUSAL)
        assert await start(await crash(first)).act(A, NO_RETRY) is Action.REPEAT


@pytest.mark.proves("an expected retry is a duplicate, also behind a newer state")
@pytest.mark.usefixtures("no_slices")
@pytest.mark.parametrize("stored", [False, True], ids=["of what was refused", "of what was not heard"])
async def test_a_retry_that_came_is_expected_no_more(tmp_path: Path, *, stored: bool) -> None:
    """A genuine return at the time of a later retry is published."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON, stored=stored, in_time=False)
        second = start(await first.stop())
        await second.deliver(A, NOON + 30 * SECOND)
        await second.deliver(B, NOON + 40 * SECOND)
        assert await start(await crash(second)).act(A, NOON + 30 * SECOND + 5 * MINUTE) is Action.REPEAT


@pytest.mark.proves("an expected retry is a duplicate, also behind a newer state")
@pytest.mark.usefixtures("no_slices")
async def test_an_expected_retry_is_known(tmp_path: Path) -> None:
    """No log tells that an answer was not heard."""
    async with lives() as start:
        first = start(tmp_path)
        await first.complete(NOON)
        await first.deliver(A, NOON, in_time=False)
        await first.deliver(B, NOON + 20 * SECOND)
        assert await start(await crash(first)).act(A, NOON + 30 * SECOND) is Action.DUPLICATE


@ends
async def test_a_thousand_events_are_known(tmp_path: Path, end: End) -> None:
    async with lives() as start:
        first = start(tmp_path)
        for number in range(1000):
            await first.deliver(once(f"{number}"), NOON + number)
        second = start(await end(first))
        assert {await second.act(once(f"{number}"), NOON + MINUTE) for number in range(1000)} == {Action.DUPLICATE}


async def test_after_an_end_in_order_nothing_is_read_again(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        second = start(await first.stop())
        await second.complete(NOON)
        assert second.log.current.progress.read == 0


# In flight.


async def test_what_was_in_flight_and_not_stored_leaves_no_trace(tmp_path: Path) -> None:
    """Its retry is its first attempt."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        await first.written()
        await first.claim(B, NOON + 1)
        second = start(await first.kill())
        assert await second.act(A, NOON + 2) is Action.DUPLICATE
        retry = await second.deliver(B, NOON + 30 * SECOND)
        assert (retry.action, retry.entry.time_ms) == (Action.NEW, NOON + 30 * SECOND)


async def test_the_retry_of_what_was_stored_and_not_answered_is_a_duplicate_once(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path)
        await at(first, 0)
        with held_up("write"):
            await first.spooled(A, (await first.claim(A, NOON)).entry)
            second = start(await first.kill())
        await second.complete(NOON)
        await second.deliver(B, NOON + SECOND)
        assert await second.act(A, NOON + 30 * SECOND) is Action.DUPLICATE
        assert await second.act(A, NOON + 60 * SECOND) is Action.REPEAT


# Retries that are expected since a crash may have come between storing and answering.


async def test_retries_of_what_the_file_did_not_know_of_the_last_ten_seconds_are_expected(tmp_path: Path) -> None:
    """For what was written the answers had left, as for what came long before the last."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(once("written"), NOON + 2 * SECOND)
        await at(first, 1)
        with held_up("write"):
            await first.deliver(once("old"), NOON + SECOND)
            await first.deliver(A, NOON + 2 * SECOND)
            await first.deliver(B, NOON + 12 * SECOND)
            left = await first.kill()
        second = start(left)
        await second.complete(NOON)
        await second.stop()
        assert states(left) == {
            once("written").fingerprint: State.SEEN,
            once("old").fingerprint: State.SEEN,
            A.fingerprint: State.RETRY_EXPECTED,
            B.fingerprint: State.RETRY_EXPECTED,
        }


async def test_of_a_retry_that_was_stored_last_its_own_time_counts(tmp_path: Path) -> None:
    """Its event began long ago; the attempt is of now, by the time of its row."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON, stored=False)
        await at(first, 0)
        with held_up("write"):
            retry = await first.claim(A, NOON + 30 * SECOND)
            await first.spooled(A, retry.entry)
            left = await first.kill()
        second = start(left)
        await second.complete(NOON)
        await second.stop()
        assert states(left) == {A.fingerprint: State.RETRY_EXPECTED}


async def test_a_retry_is_expected_though_kafka_is_away(tmp_path: Path) -> None:
    """The spool alone tells that the event was stored, and its answer may not have left."""
    async with lives() as start:
        first = start(tmp_path, kafka=True)
        await first.reads()
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM positions WHERE log = ?", CLUSTER)))
        with held_up("write"):
            stored = await first.claim(A, NOON)
            await first.spooled(A, stored.entry)
            left = await first.kill()
        second = start(left, kafka=True, patience=0.05)
        await second.log.reading()
        assert await second.act(A, NOON + 30 * SECOND) is Action.DUPLICATE
        await second.stop()


async def test_a_new_file_expects_no_retries(tmp_path: Path) -> None:
    """It may have been lost long after the answers had left."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        await first.deliver(ONCE, NOON)
        left = await first.kill()
        index.remove(left / index.FILE)
        second = start(left)
        await second.complete(NOON)
        await second.stop()
        assert states(left) == {A.fingerprint: State.SEEN, ONCE.fingerprint: State.SEEN}


async def test_nor_does_one_that_a_crash_found_half_read(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path, kafka=True)
        reading = await first.log.reading()
        first.log.began(reading, CLUSTER)
        await first.log.learn(reading, CLUSTER, [told(A, NOON, instance=ME)])
        reading.positions[CLUSTER, "t", 0] = 1
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM positions WHERE topic='t'")))
        left = await first.kill()
        second = start(left, kafka=True)
        await second.reads(told(B, NOON, instance=ME))
        await second.stop()
        assert states(left) == {A.fingerprint: State.SEEN, B.fingerprint: State.SEEN}


async def test_what_another_published_last_it_also_answered_for(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path, kafka=True)
        await first.reads()
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM positions WHERE log=?", CLUSTER)))
        left = await first.kill()
        second = start(left, kafka=True)
        await second.reads(told(A, NOON), told(B, NOON, instance=ME))
        await second.stop()
        assert states(left) == {A.fingerprint: State.SEEN, B.fingerprint: State.RETRY_EXPECTED}


# How far the log is known.


@pytest.fixture
def positions_checked() -> Iterator[list[int]]:
    """Check at each write of positions that the file has every event of the spool up to there; return the positions."""
    found: list[int] = []
    note = index.note

    def check(db: sqlite3.Connection, positions: index.Positions, forgotten_ms: int) -> None:
        note(db, positions, forgotten_ms)
        known = len(rows_of(db))
        found.extend(offset if known >= offset else -1 for (_, _, place), offset in positions.items() if place == 0)

    with patch.object(index, "note", check):
        yield found


async def test_below_the_positions_in_the_file_nothing_is_missing(tmp_path: Path, positions_checked: list[int]) -> None:
    """They are written with the last slice, and are those from before the first: wherever a crash comes in between."""
    async with lives() as start:
        life = start(tmp_path)
        for number in range(1000):
            await life.deliver(once(f"{number}"), NOON + number)
        await at(life, 1000)
    assert positions_checked == sorted(positions_checked)
    assert len(positions_checked) > 5
    assert positions_checked[0] >= 0


@ends
async def test_positions_are_not_written_past_what_found_no_room(tmp_path: Path, end: End) -> None:
    """B and its family find none, though what comes after them does."""

    def has_b(_db: object, rows: list[index.SeenRow], latest: list[Latest]) -> bool:
        return B.fingerprint in {*(row[0] for row in rows), *(state[1] for state in latest)}

    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        await first.written()
        async with paused(first):  # no room is made
            with failing("write", code=sqlite3.SQLITE_FULL, only=has_b):
                await first.deliver(B, NOON + 1)
                for number in range(100):
                    await first.deliver(once(f"{number}"), NOON + number)
                await until(lambda: len(states(tmp_path)) > 80)  # all but those of two slices
                left = await end(first)
        assert B.fingerprint not in states(left)
        assert await start(left).act(A, NO_RETRY) is Action.REPEAT


@ends
async def test_the_rows_of_another_spool_are_read_from_their_beginning(tmp_path: Path, end: End) -> None:
    """The file was moved away as broken, and is another one since; its rows have numbers of their own."""
    async with lives() as start:
        first = start(tmp_path)
        for number in range(5):
            await first.deliver(once(f"{number}"), NOON)
        await at(first, 5)
        left = await end(first)
        await first.close()
        for suffix in ("", "-wal", "-shm"):
            (left / f"{SPOOL_FILE}{suffix}").unlink(missing_ok=True)
        second = start(left)
        with held_up("write"):
            await second.deliver(ONCE, NOON)
            third = start(await second.kill())
        assert await third.act(ONCE, NOON + MINUTE) is Action.DUPLICATE
        assert await third.act(once("3"), NOON + MINUTE) is Action.DUPLICATE


async def test_the_rows_of_a_spool_of_large_events_are_not_measured_again_with_each_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_bridge.outbox.rows._WINDOW_BYTES", 2**16)  # some 250 of these rows
    async with Running(tmp_path, 2**24) as spool:
        await append(spool, *(make_record(f"{number}", size=250) for number in range(3000)))
    measured: list[str] = []

    def length(value: str) -> int:
        measured.append(value)
        return len(value)

    connections = connect_failing(monkeypatch)
    async with lives() as start:
        life = start(tmp_path)
        connections[0].create_function("length", 1, length)
        await life.log.reading()
    assert 3000 <= len(measured) < 2 * 3000
