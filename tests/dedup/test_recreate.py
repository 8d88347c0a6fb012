"""An index that is recreated since the log is another one: what the former log told is forgotten, the rest is read."""

import sqlite3
from pathlib import Path

import pytest

from aurora_bridge.dedup.recurrence import Action
from tests.dedup.events import MINUTE, NOON, ONCE, A, B, once, told
from tests.dedup.life import CLUSTER, Life, failing, lives, living, states, until

OTHER_CLUSTER = "another cluster's id"
NO_RETRY = NOON + 2 * MINUTE


async def followed(life: Life) -> None:
    """Let the follower tell of A and of what happens once."""
    await life.reads(told(A, NOON), told(ONCE, NOON))
    assert await life.act(ONCE, NO_RETRY) is Action.DUPLICATE


@pytest.mark.parametrize("written", [False, True], ids=["before it was written", "after it was written"])
async def test_what_the_former_cluster_held_is_new(tmp_path: Path, *, written: bool) -> None:
    async with living(tmp_path, kafka=True) as life:
        await followed(life)
        if written:
            await life.written()
        await life.dedup.recreate()
        assert not life.log.complete(NO_RETRY)
        await life.reads(told(once("2"), NOON), cluster=OTHER_CLUSTER)
        assert life.log.complete(NO_RETRY)
        assert [await life.act(event, NO_RETRY) for event in (A, ONCE)] == [Action.NEW] * 2
        assert [await life.act(event, NO_RETRY) for event in (A, ONCE, once("2"))] == [Action.DUPLICATE] * 3


async def test_what_waits_in_the_spool_is_known_still(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        await followed(life)
        await life.deliver(B, NOON)
        await life.dedup.recreate()
        await life.reads(cluster=OTHER_CLUSTER)
        assert await life.act(B, NO_RETRY) is Action.DUPLICATE


async def test_what_is_in_flight_meanwhile_stays_one_event(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        await followed(life)
        first = await life.claim(B, NOON)
        await life.dedup.recreate()
        await life.reads(cluster=OTHER_CLUSTER)
        second = await life.claim(B, NOON)
        assert (second.action, second.entry) == (Action.JOIN, first.entry)
        await life.store(B, first.entry)
        life.answer(first, NOON)
        life.answer(second, NOON)
        assert await life.act(B, NO_RETRY) is Action.DUPLICATE


async def test_a_crash_in_between_leaves_nothing_of_the_former_cluster(tmp_path: Path) -> None:
    async with lives() as start:
        life = start(tmp_path, kafka=True)
        await followed(life)
        await life.written()
        assert A.fingerprint in states(tmp_path)
        await life.dedup.recreate()
        left = await life.kill()
        assert states(left) == {}
        second = start(left, kafka=True)
        await second.reads(cluster=CLUSTER)
        assert await second.act(ONCE, NO_RETRY) is Action.NEW


async def test_a_file_that_cannot_be_opened_is_told_and_opened_later(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        await followed(life)
        with failing("open_index", code=sqlite3.SQLITE_CANTOPEN):
            with pytest.raises(sqlite3.OperationalError):
                await life.dedup.recreate()
            assert life.failed
        await until(lambda: not life.failed)
        await life.reads(cluster=OTHER_CLUSTER)
        assert await life.act(ONCE, NO_RETRY) is Action.NEW
