"""The spool: what was answered is on the disk, in order, and a full or broken disk is said and not hidden."""

import asyncio
import errno
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from math import nan
from pathlib import Path
from time import monotonic, time
from unittest.mock import patch

import pytest

from aurora_bridge.outbox import spool as spool_module
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.rows import read
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outbox.spool_file import FILE
from aurora_bridge.outcomes import Reason
from aurora_bridge.state import database
from aurora_bridge.state.database import open_beside
from aurora_bridge.state.directory import Room, StateError
from tests.kafka.records import keys
from tests.outbox.records import make_record
from tests.outbox.spooling import PATIENCE, ROOM, Commit, Running, append, fill, store
from tests.state.failing import FailingConnection, connect_failing


def on_disk(directory: Path) -> list[str]:
    """Return the keys that another process sees, which is what is committed."""
    with closing(open_beside(directory / FILE)) as db:
        return keys(read(db, 0, (), 10_000))


def in_quarantine(directory: Path) -> list[str]:
    """Return the keys that another process sees in quarantine."""
    with closing(open_beside(directory / FILE)) as db:
        return keys(read(db, 0, (), 10_000, quarantined=True))


def moved_away(directory: Path) -> list[bytes]:
    return [file.read_bytes() for file in directory.glob(f"{FILE}.broken-*")]


def size(directory: Path) -> int:
    return (directory / FILE).stat().st_size


# Commit


@pytest.mark.proves("a 2xx means stored")
async def test_nobody_is_answered_before_the_commit(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        seen: list[list[str]] = []
        committed = asyncio.Event()

        def stored(_records: Sequence[OutboxRecord], _failure: Reason | None, _quarantined: str | None) -> None:
            seen.append(on_disk(tmp_path))
            committed.set()

        spool.append([make_record("a"), make_record("b")], stored)
        assert on_disk(tmp_path) == []
        async with asyncio.timeout(PATIENCE):
            await committed.wait()
        assert seen == [["a", "b"]]


async def test_appends_of_one_turn_are_one_commit_in_their_order(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkey:
        connections = connect_failing(monkey)
        async with Running(tmp_path) as spool:
            connections[0].texts.clear()
            commits = [Commit() for _ in range(5)]
            for number, commit in enumerate(commits):
                spool.append([make_record(str(number))], commit)
            assert [await commit.failure() for commit in commits] == [None] * 5
            statements = list(connections[0].statements)
        assert statements == ["BEGIN", "INSERT", "UPDATE", "COMMIT"]
        assert on_disk(tmp_path) == ["0", "1", "2", "3", "4"]


async def test_a_committed_record_knows_its_row_and_rows_grow(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        records = [make_record(name) for name in "abc"]
        await append(spool, *records[:2])
        await append(spool, records[2])
        rows = [record.seq for record in records]
        assert None not in rows
        assert rows == sorted(rows, key=lambda row: row or 0)
        assert len(set(rows)) == 3


async def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        record = OutboxRecord("e", b"k", '{"a":"é\\"\u2028"}'.encode(), [("h", "ü".encode())], b"s/\xc3\xa9", 12, "f")
        await append(spool, record)
        (found,) = await spool.head("e", 10)
        assert [getattr(found, name) for name in ("event", "key", "value", "headers", "partition_key")] == [
            record.event,
            record.key,
            record.value,
            record.headers,
            record.partition_key,
        ]
        assert (found.time_ms, found.fingerprint, found.seq) == (12, "f", record.seq)


# Order


async def test_an_events_queue_is_read_in_order_and_no_other_events_with_it(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, ["a1", "a2"], "a")
        await store(spool, ["b1"], "b")
        await store(spool, ["a3"], "a")
        assert [keys(await spool.head(event, 10)) for event in ("a", "b", "c")] == [["a1", "a2", "a3"], ["b1"], []]


async def test_the_head_is_as_long_as_was_asked_for(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "abc")
        assert keys(await spool.head("lead_changed", 2)) == ["a", "b"]


async def test_the_head_is_at_most_about_4_mib(tmp_path: Path) -> None:
    async with Running(tmp_path, 64 * 2**20) as spool:
        for number in range(8):
            await append(spool, make_record(str(number), size=2**20))
        assert len(await spool.head("lead_changed", 100)) == 4


async def test_the_order_survives_a_restart_and_what_comes_then_joins_behind(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "abc")
    async with Running(tmp_path) as spool:
        await store(spool, "de")
        assert keys(await spool.head("lead_changed", 10)) == list("abcde")


async def test_a_restart_finds_what_waits(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "ab", "a")
        await store(spool, "c", "b")
        await append(spool, make_record("d", "b"), quarantined="message_too_large")
        assert spool.waiting == 3
    async with Running(tmp_path) as spool:
        assert (spool.found, spool.waiting, spool.stats.quarantined) == ({"a": 2, "b": 1}, 3, 1)


@pytest.mark.proves("a position in the spool stays valid")
async def test_a_row_is_never_used_twice_not_even_after_a_restart(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        first, second = make_record("a"), make_record("b")
        await append(spool, first, second)
    async with Running(tmp_path) as spool:
        third = make_record("c")
        await append(spool, third)
        assert (third.seq or 0) > (second.seq or 0) > (first.seq or 0)


# Leaving


async def test_what_was_removed_is_gone_for_good(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        records = [make_record(name) for name in "abc"]
        await append(spool, *records)
        spool.remove(records[1].seq or 0)
        assert (keys(await spool.head("lead_changed", 10)), spool.waiting) == (["a", "c"], 2)
    assert on_disk(tmp_path) == ["a", "c"]


async def test_what_is_quarantined_leaves_the_queue_and_is_kept(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        records = [make_record(name) for name in "ab"]
        await append(spool, *records)
        spool.quarantine(records[0].seq or 0, "message_too_large")
        assert (keys(await spool.head("lead_changed", 10)), spool.waiting) == (["b"], 1)
    assert on_disk(tmp_path) == ["a", "b"]
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        assert db.execute("SELECT key, set_aside FROM events").fetchall() == [("a", "message_too_large"), ("b", None)]


async def test_what_is_quarantined_at_once_never_waits(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        assert await append(spool, make_record("a"), quarantined="invalid_record") is None
        assert (await spool.head("lead_changed", 10), spool.waiting) == ([], 0)
    assert on_disk(tmp_path) == ["a"]


@pytest.mark.parametrize("of", ["the head", "all"])
async def test_large_events_are_read_a_few_at_once(tmp_path: Path, of: str) -> None:
    """Thousands of small ones take no more memory."""
    async with Running(tmp_path, 2**25) as spool:
        assert await append(spool, *(make_record(f"{number}", size=2**20) for number in range(10))) is None
        found, seq = [], 0
        while records := await (
            spool.head("lead_changed", 5000, after=seq) if of == "the head" else spool.read(seq, 5000)
        ):
            assert len(records) <= 4
            found += keys(records)
            seq = records[-1].seq or 0
        assert found == [f"{number}" for number in range(10)]


async def test_what_is_removed_while_the_head_is_read_is_not_handed_out(tmp_path: Path) -> None:
    async with Running(tmp_path, begin=False) as spool:
        records = [make_record(name) for name in "ab"]
        commit = Commit()
        spool.append(records, commit)
        head = asyncio.ensure_future(spool.head("lead_changed", 10))
        await asyncio.sleep(0)  # the question is asked; the thread does not run yet
        spool.remove(1)
        spool.start()
        assert keys(await head) == ["b"]


async def test_what_is_removed_while_the_head_is_read_is_not_handed_out_whoever_else_reads(tmp_path: Path) -> None:
    async with Running(tmp_path, begin=False) as spool:
        spool.append([make_record(name) for name in "ab"], Commit())
        spool.append([make_record("c", "lead_created")], Commit())
        head = asyncio.ensure_future(spool.head("lead_changed", 10))
        await asyncio.sleep(0)
        spool.remove(1)
        other = asyncio.ensure_future(spool.head("lead_created", 10))
        await asyncio.sleep(0)
        spool.start()
        assert (keys(await head), keys(await other)) == (["b"], ["c"])


# Full


@pytest.mark.proves("An attacker cannot: fill the volume with a valid credential")
async def test_a_full_spool_says_so_and_has_lost_nothing(tmp_path: Path) -> None:
    async with Running(tmp_path, 2**17) as spool:
        taken = await fill(spool)
        assert spool.full
        assert not spool.failed.is_set()
        assert len(taken) > 5
        assert keys(await spool.head("lead_changed", 1000)) == taken
    assert on_disk(tmp_path) == taken
    assert size(tmp_path) <= 2**17


async def test_a_full_spool_can_be_emptied_and_then_takes_events_again(tmp_path: Path) -> None:
    async with Running(tmp_path, 2**17) as spool:
        taken = await fill(spool)
        for record in await spool.head("lead_changed", 1000):
            spool.remove(record.seq or 0)
        assert await append(spool, make_record("after", size=3000)) is None
        assert (spool.full, spool.waiting) == (False, 1)
        assert len(await fill(spool)) >= len(taken) - 2


async def test_in_a_full_spool_a_small_commit_does_not_fail_with_a_large_one(tmp_path: Path) -> None:
    async with Running(tmp_path, 2**17) as spool:
        large, small = Commit(), Commit()
        spool.append([make_record("large", size=2**18)], large)
        await asyncio.sleep(0)  # the next turn of the loop: another job, perhaps of the same group
        spool.append([make_record("small")], small)
        assert (await large.failure(), await small.failure()) == (Reason.SPOOL_FULL, None)
    assert on_disk(tmp_path) == ["small"]


async def test_what_was_refused_for_want_of_room_does_not_wait(tmp_path: Path) -> None:
    async with Running(tmp_path, 2**17) as spool:
        record = make_record("large", size=2**18)
        assert await append(spool, record) is Reason.SPOOL_FULL
        assert (record.seq, spool.waiting) == (None, 0)


async def test_a_volume_without_room_to_spare_makes_the_spool_full_and_it_can_be_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_STATS_SECONDS", 0.01)
    async with Running(tmp_path) as spool:
        await store(spool, "abc")
        monkeypatch.setattr(database, "room", lambda _directory: Room(2**30, 2**20))
        maintenance = asyncio.create_task(spool.maintain(None))
        taken = ["a", "b", "c", *await fill(spool)]
        for record in await spool.head("lead_changed", 1000):
            spool.remove(record.seq or 0)
        assert await append(spool, make_record("after", size=3000)) is None
        assert keys(await spool.head("lead_changed", 1000)) == ["after"]
        maintenance.cancel()
    assert len(taken) < 30
    assert size(tmp_path) < ROOM // 4


async def test_it_can_hold_what_its_volume_has_room_for_beside_the_reserve_and_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "room", lambda _directory: Room(2**30, 2**20))
    reserve = database.reserve_bytes(tmp_path)
    async with Running(tmp_path) as spool:
        assert spool.stats.file_bytes > 0
        assert spool.room_bytes(reserve + 1000) == spool.stats.file_bytes + 1000
        assert spool.room_bytes(reserve - 1000) == spool.stats.file_bytes
        assert spool.room_bytes(2**30) == spool.room_bytes(nan) == spool.limit_bytes


async def test_a_spool_is_not_full_any_more_once_its_volume_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing is appended, nor leaves it: a daemon that is not ready gets no webhooks, and Kafka is away."""
    monkeypatch.setattr(spool_module, "_STATS_SECONDS", 0.01)
    async with Running(tmp_path) as spool:
        with monkeypatch.context() as filled:
            filled.setattr(database, "room", lambda _directory: Room(2**30, 2**20))
            maintenance = asyncio.create_task(spool.maintain(None))
            await fill(spool)
            assert await append(spool, make_record("after", size=3000)) is Reason.SPOOL_FULL
        async with asyncio.timeout(5):
            while spool.full:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        maintenance.cancel()


@pytest.mark.parametrize("statement", ["DELETE", "UPDATE"])
async def test_what_a_full_volume_did_not_let_be_taken_out_is_taken_out_later_and_never_handed_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Nor is what is behind it held up, or a topic that waits for nothing more: Kafka could take what comes."""
    monkeypatch.setattr(spool_module, "_STATS_SECONDS", 0.01)
    monkeypatch.setattr(FailingConnection, "code", sqlite3.SQLITE_FULL)
    connections = connect_failing(monkeypatch)
    wanted = (["b", "c"], []) if statement == "DELETE" else (["a", "b", "c"], ["a"])
    async with Running(tmp_path) as spool:
        await store(spool, "abc")
        connections[0].fails_on = statement
        if statement == "DELETE":
            spool.remove(1)
        else:
            spool.quarantine(1, "message_too_large")
        maintenance = asyncio.create_task(spool.maintain(None))
        while connections[0].statements.count(statement) < 3:
            assert keys(await spool.head("lead_changed", 10)) == ["b", "c"]
            assert keys(await spool.head("lead_changed", 1)) == ["b"]
        connections[0].fails_on = None
        async with asyncio.timeout(5):
            while (on_disk(tmp_path), in_quarantine(tmp_path)) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        maintenance.cancel()


async def test_it_is_tried_once_more_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain has no maintenance, and makes room to the last."""
    monkeypatch.setattr(FailingConnection, "code", sqlite3.SQLITE_FULL)
    connections = connect_failing(monkeypatch)
    async with Running(tmp_path) as spool:
        await store(spool, "ab")
        connections[0].fails_on = "UPDATE"
        spool.quarantine(1, "message_too_large")
        assert keys(await spool.head("lead_changed", 10)) == ["b"]
        connections[0].fails_on = None
    assert in_quarantine(tmp_path) == ["a"]


# Failed


@pytest.mark.proves("after an I/O error nothing is acknowledged")
async def test_after_an_i_o_error_nothing_is_accepted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connections = connect_failing(monkeypatch)
    async with Running(tmp_path) as spool:
        await store(spool, "a")
        connections[0].fails_on = "COMMIT"
        assert await append(spool, make_record("b")) is Reason.SPOOL_FAILED
        assert spool.failed.is_set()
        connections[0].fails_on = None
        later = Commit()
        spool.append([make_record("c")], later)
        assert later.ended
        assert await later.failure() is Reason.SPOOL_FAILED
    assert on_disk(tmp_path) == ["a"]
    assert "the spool failed: disk I/O error" in caplog.text


async def test_an_i_o_error_at_a_removal_ends_acceptance_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = connect_failing(monkeypatch)
    async with Running(tmp_path) as spool:
        await store(spool, "a")
        connections[0].fails_on = "DELETE"
        spool.remove(1)
        async with asyncio.timeout(PATIENCE):
            await spool.failed.wait()


async def test_what_was_queued_behind_an_i_o_error_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that succeeds behind one that failed may stand behind a gap of the write-ahead log."""
    connections = connect_failing(monkeypatch)
    async with Running(tmp_path, begin=False) as spool:
        connections[0].fails_on = "COMMIT"
        failing, behind = Commit(), Commit()
        spool.append([make_record("a")], failing)
        await asyncio.sleep(0)
        spool.append([make_record("b")], behind)
        await asyncio.sleep(0)
        spool.start()
        assert (await failing.failure(), await behind.failure()) == (Reason.SPOOL_FAILED, Reason.SPOOL_FAILED)
        assert connections[0].statements.count("COMMIT") == 1


async def test_a_file_that_is_found_broken_while_running_is_checked_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        connections = connect_failing(patched)
        async with Running(tmp_path) as spool:
            await store(spool, "a")
            connections[0].fails_on, connections[0].code = "INSERT", sqlite3.SQLITE_CORRUPT
            assert await append(spool, make_record("b")) is Reason.SPOOL_FAILED
        connections.clear()
        async with Running(tmp_path) as spool:
            assert "PRAGMA integrity_check(1)" in connections[0].texts
            assert keys(await spool.head("lead_changed", 10)) == ["a"]


async def test_a_broken_file_ends_the_spool_also_where_nothing_can_be_noted_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    connections = connect_failing(monkeypatch)
    async with Running(tmp_path) as spool:
        connections[0].fails_on, connections[0].code = "INSERT", sqlite3.SQLITE_CORRUPT
        monkeypatch.setattr(Path, "touch", fail)
        assert await append(spool, make_record("b")) is Reason.SPOOL_FAILED
        assert spool.failed.is_set()


async def test_a_damaged_file_does_not_end_the_start_but_is_moved_away_and_salvaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Running(tmp_path) as spool:
        for number in range(40):
            await append(spool, make_record(f"{number:02}", size=3000))
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 4096 * 8)
    async with Running(tmp_path) as spool:
        salvaged = keys(await spool.head("lead_changed", 100))
        assert salvaged == sorted(salvaged)
        assert 20 < len(salvaged) < 40
        assert spool.waiting == len(salvaged)
        await store(spool, ["new"])
    assert f"{len(salvaged)} readable rows were salvaged" in caplog.text


async def test_garbage_in_the_place_of_the_file_is_moved_away(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    async with Running(tmp_path) as spool:
        await store(spool, "a")
    assert on_disk(tmp_path) == ["a"]
    assert moved_away(tmp_path) == [b"garbage" * 1000]


def test_a_file_of_another_version_ends_the_start(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StateError, match="format 99, this one reads"):
        Spool(tmp_path, ROOM)


# Age, for the embedded log


@pytest.mark.proves("a wall clock that is set deletes nothing")
async def test_an_event_expires_when_a_daemon_has_run_for_long_enough_whatever_the_wall_clock_says(
    tmp_path: Path,
) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "a")
        with patch.object(spool_module, "time", lambda: time() + 1e9):
            await store(spool, "b")
            assert await spool.expire(60) == 0
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 50):
            await store(spool, "c")
            assert await spool.expire(60) == 0
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 61):
            assert await spool.expire(60) == 2
        assert keys(await spool.head("lead_changed", 10)) == ["c"]


async def test_the_time_a_daemon_did_not_run_counts_for_nothing_and_the_time_before_it_does(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "a")
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 50):
            assert await spool.expire(60) == 0
    async with Running(tmp_path) as spool:
        await store(spool, "b")
        assert await spool.expire(60) == 0
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 11):
            assert await spool.expire(60) == 1
        assert keys(await spool.head("lead_changed", 10)) == ["b"]


# What it shows


async def test_the_oldest_event_has_an_age_and_an_empty_queue_has_none(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        assert spool.oldest_seconds(time()) == 0
        before = time()
        await store(spool, "a")
        maintenance = asyncio.create_task(spool.maintain(None))
        async with asyncio.timeout(PATIENCE):
            while spool.stats.oldest_us == 0:
                await spool.head("lead_changed", 1)
        maintenance.cancel()
        assert 99 <= spool.oldest_seconds(before + 100) <= 100
        assert spool.oldest_seconds(before - 100) == 0
        spool.remove(1)
        assert spool.oldest_seconds(before + 100) == 0


async def test_its_size_is_that_of_what_it_holds(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        empty = spool.stats.bytes
        for number in range(20):
            await append(spool, make_record(str(number), size=3000))
    async with Running(tmp_path) as spool:
        assert spool.stats.bytes - empty >= 20 * 3000
        for row in range(1, 21):
            spool.remove(row)
    async with Running(tmp_path) as spool:
        assert spool.stats.bytes <= empty + 4096


async def test_tail_reads_from_a_row_on_and_chooses_events(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "ab", "a")
        await store(spool, "c", "b")
        await store(spool, "d", "a")
        with closing(open_beside(tmp_path / FILE)) as db:
            assert keys(read(db, 0, (), 10)) == list("abcd")
            assert keys(read(db, 1, (), 2)) == ["b", "c"]
            assert keys(read(db, 0, ("a",), 10)) == ["a", "b", "d"]
            assert keys(read(db, 4, (), 10)) == []
