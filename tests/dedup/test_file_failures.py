"""Failure with the index file: no genuine event is swallowed, none is refused or waits, and all is known afterwards."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from aurora_bridge.dedup import index, write_behind
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.recurrence import Action
from tests.dedup.events import DAY, MINUTE, NOON, SECOND, A, B, once, signal, state
from tests.dedup.failures import FAILURES, Failure, no_room
from tests.dedup.life import IMPATIENT, PATIENCE, Life, failing, held_up, lives, living, paused, states, until
from tests.support.damage import damage_table

SUBJECTS = [f"{number}" for number in range(40)]
FORGETFUL = "a volume without room"
"""The failure after which the oldest events are forgotten."""


def failures(*, but: str = "") -> pytest.MarkDecorator:
    """Run a test in each failure."""
    return pytest.mark.parametrize(
        "failure", [pytest.param(one, id=name) for name, one in FAILURES.items() if name != but]
    )


async def have(life: Life, letters: str, at: int) -> None:
    """Let every subject take these states, one a millisecond; each is published, and the last is the latest."""
    for number, letter in enumerate(letters):
        for subject in SUBJECTS:
            decision = await life.deliver(state(letter, subject), at + number)
            assert decision.action in (Action.NEW, Action.REPEAT), (letter, subject)


async def become(life: Life, letter: str, at: int) -> set[Action]:
    """Return what became of a delivery of this state for every subject."""
    return {await life.act(state(letter, subject), at) for subject in SUBJECTS}


# Whatever the failure.


@failures()
async def test_no_genuine_event_is_swallowed_and_none_waits(tmp_path: Path, failure: Failure) -> None:
    """Each subject goes from A to B, C, back to A and again to B: all of that is published."""
    async with living(tmp_path, patience=IMPATIENT) as life:
        await life.complete(NOON)
        await have(life, "BA", NOON)
        await life.written()
        async with failure(life):
            async with asyncio.timeout(PATIENCE):
                await have(life, "BCAB", NOON + SECOND)
                for subject in SUBJECTS:
                    assert await life.act(signal(subject), NOON + SECOND) is Action.NEW
                    assert await life.act(signal(subject), NOON + SECOND) is Action.REPEAT


@failures(but=FORGETFUL)
async def test_afterwards_all_is_known_that_came_before_and_meanwhile(tmp_path: Path, failure: Failure) -> None:
    """Also after the next start."""
    async with lives() as start:
        life = start(tmp_path, patience=IMPATIENT)
        await life.complete(NOON)
        await have(life, "BA", NOON)
        for subject in SUBJECTS:
            await life.deliver(once(subject), NOON)
        await life.written()
        async with failure(life):
            await have(life, "C", NOON + SECOND)
            for subject in SUBJECTS:
                await life.deliver(once(f"new {subject}"), NOON + SECOND)
        for _ in range(2):
            await life.recovered(NOON)
            assert await become(life, "C", NOON + 2 * MINUTE) == {Action.DUPLICATE}
            for subject in SUBJECTS:
                assert await life.act(once(subject), NOON + MINUTE) is Action.DUPLICATE
                assert await life.act(once(f"new {subject}"), NOON + MINUTE) is Action.DUPLICATE
            life = start(await life.stop())
        assert await become(life, "A", NOON + 2 * MINUTE) == {Action.REPEAT}


@failures(but=FORGETFUL)
async def test_afterwards_a_new_state_has_the_id_of_its_day_again(tmp_path: Path, failure: Failure) -> None:
    async with living(tmp_path, patience=IMPATIENT) as life:
        await life.complete(NOON)
        async with failure(life):
            assert (await life.deliver(A, NOON)).entry.id_ms in (0, NOON)
        await life.recovered(NOON)
        assert (await life.deliver(B, NOON + 1)).entry.id_ms == 0


@failures()
async def test_what_came_meanwhile_is_known_after_a_crash(tmp_path: Path, failure: Failure) -> None:
    """Without a look-up, spooled, killed: the spool is read again from where the file was, whatever that was."""
    async with lives() as start:
        first = start(tmp_path, patience=IMPATIENT)
        await first.complete(NOON)
        await have(first, "BA", NOON)
        await first.written()
        async with failure(first):
            await have(first, "C", NOON + SECOND)
            left = await first.kill()
        second = start(left)
        await second.complete(NOON + DAY)
        assert await become(second, "A", NOON + 2 * MINUTE) == {Action.REPEAT}


@failures()
async def test_a_refusal_does_not_wait_for_the_file(tmp_path: Path, failure: Failure) -> None:
    """It is the latest state while it is in memory; what was written of it into a file that is lost is lost with it."""
    async with living(tmp_path, patience=IMPATIENT) as life:
        await life.complete(NOON)
        await life.deliver(A, NOON)
        async with failure(life):
            async with asyncio.timeout(PATIENCE):
                await life.deliver(B, NOON + SECOND, stored=False)
            assert await life.act(A, NOON + 2 * SECOND) in (Action.NEW, Action.REPEAT)


@failures()
async def test_memory_stays_bounded(tmp_path: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch) -> None:
    async with living(tmp_path, patience=IMPATIENT) as life:
        await life.complete(NOON)
        async with failure(life):
            with monkeypatch.context() as patched:
                patched.setattr(write_behind, "_MOST_ENTRIES", 50)
                for number in range(500):
                    await life.deliver(once(f"{number}"), NOON)
                    await until(lambda: len(life.in_memory) <= 51)
        life.dedup.file.patience = PATIENCE
        await until(lambda: life.log.current.caught_up and not life.failed)
        actions = {await life.act(once(f"{number}"), NOON + MINUTE) for number in range(500)}
        assert Action.DUPLICATE in actions
        assert len(actions) == 1 or failure is no_room


# Memory that is given up.


async def test_what_was_given_up_is_read_again_and_what_is_in_flight_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subjects went from A to B while the file hung; of one that is refused only afterwards it is still the latest."""
    before, flown = state("A", "flying"), state("B", "flying")
    async with living(tmp_path, patience=IMPATIENT) as life:
        await life.complete(NOON)
        await have(life, "A", NOON)
        await life.deliver(before, NOON)
        await life.written()
        async with life.hanging():
            with monkeypatch.context() as patched:
                patched.setattr(write_behind, "_MOST_ENTRIES", 10)
                flying = await life.claim(flown, NOON + SECOND)
                await have(life, "B", NOON + SECOND)
                await until(lambda: life.failed and len(life.in_memory) <= 11)
        await life.recovered(NOON)
        await life.refuse(flying.entry)
        life.answer(flying, NOON + SECOND)
        assert await life.act(before, NOON + MINUTE) is Action.REPEAT
        assert await life.act(flown, NOON + 31 * SECOND) is Action.RETRY
        assert await become(life, "A", NOON + MINUTE) == {Action.REPEAT}


async def test_a_daemon_that_ends_before_a_file_it_gave_up_is_open_again_leaves_positions_that_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives() as start:
        life = start(tmp_path, patience=IMPATIENT)
        await life.complete(NOON)
        await have(life, "A", NOON)
        await life.written()
        async with paused(life), life.hanging() as gate:
            with monkeypatch.context() as patched:
                patched.setattr(write_behind, "_MOST_ENTRIES", 10)
                await have(life, "B", NOON + SECOND)
                await until(lambda: life.failed and len(life.in_memory) <= 10)
                gate.set()
                await life.stop()
        assert await become(start(tmp_path), "A", NOON + 2 * MINUTE) == {Action.REPEAT}


# A full file.


async def test_a_full_file_swallows_nothing_and_forgets_the_oldest(tmp_path: Path) -> None:
    """It holds half of a thousand subjects, which take A, then B, then A again."""
    async with lives() as start:
        life = start(tmp_path, max_bytes=131_072)
        await life.complete(NOON)
        subjects = [f"{number}" for number in range(1000)]
        for number, letter in enumerate("ABA"):
            for subject in subjects:
                action = await life.act(state(letter, subject), NOON + number * MINUTE)
                assert action in (Action.NEW, Action.REPEAT)
        await until(lambda: life.metrics.index_forgotten[()] > 0)
        assert not life.failed
        new = await life.deliver(state("C"), NOON + 5 * MINUTE)
        assert new.entry.id_ms == NOON + 5 * MINUTE
        assert (await life.deliver(state("C", "2"), NOON + DAY)).entry.id_ms == 0
        life = start(await life.stop(), max_bytes=131_072)
        await life.complete(NOON + DAY)
        assert (await life.deliver(state("D"), NOON + 6 * MINUTE)).entry.id_ms == NOON + 6 * MINUTE
    assert (tmp_path / index.FILE).stat().st_size <= 131_072


async def test_what_found_no_room_stays_in_memory_until_there_is_some(tmp_path: Path) -> None:
    async with living(tmp_path) as life:
        await life.complete(NOON)
        await life.deliver(A, NOON)
        await life.written()
        async with paused(life):  # no room is made, which would forget what was written
            async with no_room(life):
                await life.deliver(B, NOON + 1)
                assert await life.act(A, NOON + 2) is Action.REPEAT
            await life.written()
            assert states(tmp_path)[B.fingerprint] is State.SEEN


# Starts.


def kept(directory: Path) -> None:
    """Leave the file as it is."""


def damaged(directory: Path) -> None:
    """Overwrite a page of the events."""
    damage_table(directory / index.FILE, "seen_1")


def no_database(directory: Path) -> None:
    """Put something else in the file's place."""
    (directory / index.FILE).write_bytes(b"no database" * 1000)


def of_an_older_version(directory: Path) -> None:
    """Put a file there as an older version had it, with what the version before suspected."""
    index.remove(directory / index.FILE)
    with closing(sqlite3.connect(directory / index.FILE)) as db:
        db.executescript("CREATE TABLE seen (a); CREATE TABLE journal (b); PRAGMA user_version=3")
    (directory / f"{index.FILE}.suspect").touch()


def missing(directory: Path) -> None:
    """Remove the file."""
    index.remove(directory / index.FILE)


def leftovers(directory: Path) -> list[Path]:
    """Return what was moved away, or is suspected."""
    return [*directory.glob("*broken*"), *directory.glob("*suspect*")]


STATES_OF_A_FILE: list[Callable[[Path], None]] = [kept, damaged, no_database, of_an_older_version, missing]


@pytest.mark.parametrize("make", STATES_OF_A_FILE)
async def test_whatever_the_file_is_like_the_daemon_starts_at_once_and_knows_all(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    async with lives() as start:
        first = start(tmp_path)
        await first.complete(NOON)
        await have(first, "AB", NOON)
        for number in range(200):
            await first.deliver(once(f"{number}"), NOON)
        await first.stop()
        await first.close()
        make(tmp_path)
        second = start(tmp_path)
        found = [await second.act(once(f"{number}"), NOON + MINUTE) for number in range(200)]
        assert found.count(Action.NEW) == second.index_bypassed  # until somebody comes upon the damage
        await second.complete(NOON)
        found = [await second.act(once(f"{number}"), NOON + 2 * MINUTE) for number in range(200)]
        assert set(found) == {Action.DUPLICATE}
        assert await become(second, "A", NOON + 2 * MINUTE) == {Action.REPEAT}
        assert (await second.deliver(state("C"), NOON + 3 * MINUTE)).entry.id_ms == 0
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL], ids=str)
async def test_a_file_that_cannot_be_opened_is_opened_again_until_it_can(tmp_path: Path, code: int) -> None:
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON)
        await first.deliver(B, NOON + 1)
        await first.stop()
        second = start(tmp_path, patience=IMPATIENT)
        with failing("open_index", code=code):
            second = start(tmp_path, patience=IMPATIENT)
            new = await second.deliver(A, NOON + 2 * MINUTE)
            assert (new.action, new.entry.id_ms) == (Action.NEW, NOON + 2 * MINUTE)
            assert second.failed
        await second.recovered(NOON)
        assert await second.act(A, NOON + 2 * MINUTE + 1) is Action.DUPLICATE
        assert await second.act(B, NOON + 2 * MINUTE + 2) is Action.REPEAT


async def test_a_directory_in_the_files_place_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / index.FILE).mkdir()
    async with living(tmp_path, patience=IMPATIENT) as life:
        await have(life, "ABA", NOON)
        assert life.failed


async def test_an_opening_that_hangs_holds_nobody_up_for_long(tmp_path: Path) -> None:
    with held_up("open_index") as gate:
        async with living(tmp_path, patience=IMPATIENT) as life:
            async with asyncio.timeout(PATIENCE):
                await have(life, "ABA", NOON)
            gate.set()
            await life.recovered(NOON)
            assert await become(life, "B", NOON + 2 * MINUTE) == {Action.REPEAT}


async def test_a_file_that_takes_its_time_to_open_is_not_taken_for_a_removed_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An expected retry stands in no log: it is in the file alone."""
    async with lives() as start:
        first = start(tmp_path)
        await first.deliver(A, NOON, stored=False)
        await first.stop()
        with held_up("open_index") as gate, patch.object(IndexFile, "_is_overdue", return_value=False) as looked:
            second = start(tmp_path)
            await until(lambda: looked.call_count > 10)  # as each step of its maintenance does
            gate.set()
        assert await second.act(A, NOON + 30 * SECOND) is Action.RETRY
    assert "removed" not in caplog.text


async def test_a_broken_file_that_cannot_be_removed_is_tried_again_with_a_pause(tmp_path: Path) -> None:
    """The volume was mounted read-only, since it is broken."""
    tries = 0

    def remove(_path: Path) -> None:
        nonlocal tries
        tries += 1
        raise OSError(30, "Read-only file system")

    async with living(tmp_path) as life:
        await life.deliver(A, NOON)
        await life.written()
        async with paused(life):
            with patch.object(index, "remove", remove), failing("find", code=sqlite3.SQLITE_CORRUPT):
                assert await life.act(A, NOON + MINUTE) is Action.NEW
                await until(lambda: tries > 0)
                for _ in range(50):  # as often as it takes to see another try without a pause
                    with suppress(OSError):
                        await life.asked(lambda _db: None)
                assert tries == 1
