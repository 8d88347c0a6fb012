"""The spool's file: positions in it stay valid for its life, and files of the format before are taken over."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from unittest.mock import patch

import pytest

from aurora_bridge.outbox import spool as spool_module
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.rows import read
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outbox.spool_file import FILE, FORMAT
from aurora_bridge.outcomes import Reason
from aurora_bridge.state.database import open_database
from aurora_bridge.state.directory import StateError
from tests.kafka.records import keys
from tests.outbox.records import make_record
from tests.outbox.spooling import ROOM, Running, append, fill, store

# The schema of format 1, as it was, and rows as they lay in it.
FORMAT_1 = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    headers TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    stored_us INTEGER NOT NULL,
    ran_us INTEGER NOT NULL,
    set_aside TEXT
);
CREATE INDEX waiting ON events (event, seq) WHERE set_aside IS NULL;
CREATE TABLE clock (ran_us INTEGER NOT NULL);
INSERT INTO clock VALUES (70000000);
INSERT INTO events VALUES
(7, 'lead_changed', 'a.1', '{"id":"a.1"}', '[["h","1"]]', 'lead/1', 12, 'a', 3000, 1000000, NULL),
(9, 'lead_changed', 'b', '{"id":"b"}', '[]', 'lead/2', 13, 'b', 4000, 2000000, 'message_too_large');
PRAGMA user_version=1
"""


def make_format_1(directory: Path, *, emptied: bool = False) -> None:
    with closing(sqlite3.connect(directory / FILE)) as db:
        db.executescript(f"PRAGMA page_size=4096; PRAGMA journal_mode=WAL; BEGIN; {FORMAT_1}; COMMIT")
        if emptied:
            db.execute("DELETE FROM events")
            db.commit()


def damage(directory: Path) -> None:
    with (directory / FILE).open("r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 4096 * 8)


async def drain(spool: Spool) -> None:
    for record in await spool.head("lead_changed", 10_000):
        spool.remove(record.seq or 0)


def seqs(records: Iterable[OutboxRecord]) -> list[int]:
    return [record.seq or 0 for record in records]


# Positions


async def test_a_row_is_never_numbered_twice_not_even_when_the_spool_was_emptied_and_reopened(
    tmp_path: Path,
) -> None:
    first, second = make_record("a"), make_record("b")
    async with Running(tmp_path) as spool:
        await append(spool, first)
        await drain(spool)
    async with Running(tmp_path) as spool:
        assert spool.committed_seq == first.seq
        await append(spool, second)
    assert seqs([first, second]) == [1, 2]


async def test_nor_when_its_process_was_killed(tmp_path: Path) -> None:
    """What is committed is there, the number with it; nothing is written at the end."""
    killed = Spool(tmp_path, ROOM)
    killed.start()
    await append(killed, *map(make_record, "abc"))
    await drain(killed)
    await killed.head("lead_changed", 1)  # the removal is committed
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        (copy / (FILE + suffix)).write_bytes((tmp_path / (FILE + suffix)).read_bytes())
    assert await killed.stop(30)
    async with Running(copy) as spool:
        assert (spool.id, spool.committed_seq, spool.waiting) == (killed.id, 3, 0)


async def test_the_last_number_that_is_durable_grows_with_the_commit_before_anybody_is_told(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        seen: list[tuple[int, int]] = []

        def stored(records: Sequence[OutboxRecord], _failure: Reason | None, _quarantined: str | None) -> None:
            seen.append((records[-1].seq or 0, spool.committed_seq))

        spool.append([make_record("a"), make_record("b")], stored)
        spool.append([make_record("c")], stored, quarantined="message_too_large")
        assert spool.committed_seq == 0
        await spool.head("lead_changed", 1)
        assert seen == [(2, 3), (3, 3)]


async def test_what_found_no_room_is_no_row_and_the_numbers_go_on(tmp_path: Path) -> None:
    async with Running(tmp_path, 2**17) as spool:
        taken = await fill(spool)
        assert spool.committed_seq == len(taken)
        spool.remove(1)
        spool.remove(2)
        small = make_record("small")
        assert await append(spool, small) is None
        assert spool.committed_seq == small.seq


async def test_a_file_keeps_its_id_and_another_has_another(tmp_path: Path) -> None:
    ids = []
    for removed in (False, False, True):
        if removed:
            (tmp_path / FILE).unlink()
        async with Running(tmp_path) as spool:
            ids.append(spool.id)
    assert (ids[0] == ids[1], ids[1] == ids[2], {len(name) for name in ids}) == (True, False, {32})


async def test_a_salvaged_spool_has_another_id_and_numbers_go_on_behind_its_rows_also_once_these_are_gone(
    tmp_path: Path,
) -> None:
    async with Running(tmp_path) as broken:
        for number in range(40):
            await append(broken, make_record(f"{number:02}", size=3000))
    damage(tmp_path)
    async with Running(tmp_path) as spool:
        last = seqs(await spool.head("lead_changed", 100))[-1]
        assert (spool.id == broken.id, spool.committed_seq) == (False, last)
        await drain(spool)
    async with Running(tmp_path) as again:
        assert (again.id, again.committed_seq) == (spool.id, last)


async def test_the_time_that_daemons_ran_on_a_damaged_spool_counts_on_for_what_was_salvaged(tmp_path: Path) -> None:
    """Else nothing expires before as much time has passed again, and the embedded log fills up."""
    async with Running(tmp_path) as broken:
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 1000):
            for number in range(40):
                await append(broken, make_record(f"{number:02}", size=3000))
    damage(tmp_path)
    async with Running(tmp_path) as spool:
        waiting = spool.waiting
        assert await spool.expire(60) == 0
        with patch.object(spool_module, "monotonic", lambda: monotonic() + 61):
            assert await spool.expire(60) == waiting


def zero(content: bytearray, row: int) -> None:
    """Zero the page of a row: its leaf of the table."""
    at = content.rfind(f"fingerprint of {row:02}".encode()) // 4096 * 4096
    content[at : at + 4096] = bytes(4096)


def cut(content: bytearray, row: int) -> None:
    """Cut the file short before the page of a row."""
    del content[content.rfind(f"fingerprint of {row:02}".encode()) // 4096 * 4096 :]


@pytest.mark.parametrize(("hurt", "row", "lost"), [(zero, 20, {20}), (zero, 39, {39}), (cut, 39, {39})])
async def test_a_damaged_page_costs_its_own_rows_only_also_the_newest_page_and_a_file_cut_short(
    tmp_path: Path, hurt: Callable[[bytearray, int], None], row: int, lost: set[int]
) -> None:
    async with Running(tmp_path) as spool:
        await append(spool, *(make_record(f"{number:02}", size=3000) for number in range(40)))
    content = bytearray((tmp_path / FILE).read_bytes())
    hurt(content, row)
    (tmp_path / FILE).write_bytes(content)
    async with Running(tmp_path) as spool:
        found = keys(await spool.head("lead_changed", 100))
    assert found == [f"{number:02}" for number in range(40) if number not in lost]


async def test_a_damaged_oldest_page_costs_no_search_through_the_numbers_of_rows_that_are_gone(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await append(spool, *(make_record(f"{number:02}", size=3000) for number in range(40)))
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript("UPDATE events SET seq = seq + 1e12; UPDATE state SET last_seq = 1e12 + 40; VACUUM")
    content = bytearray((tmp_path / FILE).read_bytes())
    zero(content, 0)
    (tmp_path / FILE).write_bytes(content)
    async with Running(tmp_path) as spool:
        assert seqs(await spool.head("lead_changed", 100)) == list(range(10**12 + 2, 10**12 + 41))


async def test_a_damaged_table_costs_no_search_through_the_numbers_of_all_rows_that_were_ever_spooled(
    tmp_path: Path,
) -> None:
    async with Running(tmp_path) as spool:
        await append(spool, *(make_record(f"{number:02}", size=3000) for number in range(40)))
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript("UPDATE state SET last_seq = 1e12")
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name='events'").fetchone()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    async with Running(tmp_path) as spool:
        assert spool.waiting == 0


@pytest.mark.parametrize("drained", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        "headers='[[]'",
        "headers='[1]'",
        "value=CAST(x'ff7b7d' AS TEXT)",
        "value=replace(value, '\"', '?')",
        "value=char(0) || value",
        "key=x'00'",
    ],
)
async def test_a_row_with_damaged_content_ends_the_daemon_once_and_is_the_only_one_that_is_lost(
    tmp_path: Path, sql: str, caplog: pytest.LogCaptureFixture, *, drained: bool
) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "abcde")
        await append(spool, make_record("f"), quarantined="message_too_large")
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute(f"UPDATE events SET {sql} WHERE seq=3")  # noqa: S608 - constants
        db.commit()
    async with Running(tmp_path) as spool:
        with pytest.raises(sqlite3.DatabaseError, match="the content of a row is damaged"):
            await (spool.head("lead_changed", 10) if drained else spool.read(0, 10))
        assert spool.failed.is_set()
    async with Running(tmp_path) as spool:
        assert keys(await spool.head("lead_changed", 10)) == list("abde")
        assert seqs(await spool.read(0, 10)) == [1, 2, 4, 5, 6]
        assert (spool.waiting, spool.stats.quarantined) == (4, 1)
    assert "5 readable rows were salvaged" in caplog.text


async def test_a_zeroed_sector_in_the_only_row_is_damage_like_any_other(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await append(spool, make_record("a", size=1000))
    content = bytearray((tmp_path / FILE).read_bytes())
    at = content.find(b'{"id":"a"')
    content[at : at + 512] = bytes(512)
    (tmp_path / FILE).write_bytes(content)
    async with Running(tmp_path) as spool:
        with pytest.raises(sqlite3.DatabaseError, match="the content of a row is damaged"):
            await spool.head("lead_changed", 10)
    async with Running(tmp_path) as spool:
        assert (spool.waiting, await spool.read(0, 10)) == (0, [])


async def test_a_damaged_entry_of_the_queues_index_ends_the_daemon_once_and_costs_no_event(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "abcde")
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content.replace(b"lead_changed\x03\x03", b"lead_changed\x03\x43"))
    async with Running(tmp_path) as spool:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            await spool.head("lead_changed", 10)
    async with Running(tmp_path) as spool:
        assert keys(await spool.head("lead_changed", 10)) == list("abcde")


def page_of(directory: Path, index: str) -> bytes:
    """Return an index of one page."""
    with closing(sqlite3.connect(directory / FILE)) as db:
        (number,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name=?", (index,)).fetchone()
    return (directory / FILE).read_bytes()[(number - 1) * 4096 : number * 4096]


@pytest.mark.parametrize(("index", "quarantined"), [("waiting", None), ("quarantined", "message_too_large")])
async def test_an_index_that_lacks_rows_because_a_write_was_lost_is_found_at_the_start(
    tmp_path: Path, index: str, quarantined: str | None
) -> None:
    async with Running(tmp_path) as spool:
        await append(spool, *map(make_record, "ab"), quarantined=quarantined)
    before = page_of(tmp_path, index)
    async with Running(tmp_path) as spool:
        await append(spool, *map(make_record, "cde"), quarantined=quarantined)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content.replace(page_of(tmp_path, index), before))
    async with Running(tmp_path) as spool:
        assert spool.waiting + spool.stats.quarantined == 5
        assert keys(await spool.read(0, 10)) == list("abcde")


# The log reader


async def test_the_log_reader_reads_rows_from_a_position_on_the_quarantined_ones_among_them(tmp_path: Path) -> None:
    async with Running(tmp_path) as spool:
        await store(spool, "ab")
        await append(spool, make_record("c"), quarantined="message_too_large")
        await store(spool, "d", "lead_created")
        found = await spool.read(1, 2)
        assert [(record.seq, record.id, record.quarantined) for record in found] == [
            (2, "b", None),
            (3, "c", "message_too_large"),
        ]
        assert all(record.stored_us > 0 for record in found)
        assert seqs(await spool.read(3, 100)) == [4]
        assert await spool.read(spool.committed_seq, 100) == []


async def test_the_id_is_the_events_and_not_the_key() -> None:
    structured = OutboxRecord("e", b"lead/1", b'{"id":"a.1"}', [], b"", 0)
    binary = OutboxRecord("e", b"lead/1", b'{"id":"of the data"}', [("ce_id", b"b.1"), ("h", b"")], b"", 0)
    assert (structured.id, binary.id) == ("a.1", "b.1")


# The format before


async def test_a_spool_of_format_1_is_read_and_drained(tmp_path: Path) -> None:
    make_format_1(tmp_path)
    async with Running(tmp_path) as spool:
        assert (len(spool.id), spool.committed_seq, spool.found, spool.stats.quarantined) == (
            32,
            9,
            {"lead_changed": 1},
            1,
        )
        (waiting,) = await spool.head("lead_changed", 10)
        assert (waiting.seq, waiting.id, waiting.value, waiting.headers, waiting.time_ms) == (
            7,
            "a.1",
            b'{"id":"a.1"}',
            [("h", b"1")],
            12,
        )
        assert seqs(await spool.read(0, 10)) == [7, 9]
        new = make_record("new")
        await append(spool, new)
        assert new.seq == 10
        assert await spool.expire(60) == 2  # the time that daemons ran on it counts on
    async with Running(tmp_path) as again:
        assert (again.id, again.committed_seq, again.waiting) == (spool.id, 10, 1)


async def test_a_spool_of_format_1_that_was_emptied_is_taken_over(tmp_path: Path) -> None:
    make_format_1(tmp_path, emptied=True)
    async with Running(tmp_path) as spool:
        assert (spool.committed_seq, spool.waiting) == (0, 0)


def test_commands_read_a_spool_of_format_1_as_it_is(tmp_path: Path) -> None:
    make_format_1(tmp_path)
    with inspect_spool(tmp_path) as db:
        assert keys(read(db, 0, (), 10)) == ["a.1", "b"]
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


async def test_a_spool_of_format_1_whose_file_is_full_is_taken_over(tmp_path: Path) -> None:
    make_format_1(tmp_path)
    limit = (tmp_path / FILE).stat().st_size
    async with Running(tmp_path, limit) as spool:
        assert keys(await spool.head("lead_changed", 10)) == ["a.1"]
        await drain(spool)
    assert (tmp_path / FILE).stat().st_size == limit


async def test_a_damaged_spool_of_format_1_is_salvaged_into_one_of_this_format(tmp_path: Path) -> None:
    make_format_1(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        sql = "INSERT INTO events SELECT ?, event, key, ?, headers, partition_key, 14, 'c', 1, 1, NULL FROM events"
        for seq in range(10, 50):
            db.execute(f"{sql} WHERE seq=7", (seq, f'{{"id":"{seq}","padding":"{"x" * 3000}"}}'))
        db.commit()
    damage(tmp_path)
    (tmp_path / f"{FILE}.suspect").touch()
    async with Running(tmp_path) as spool:
        salvaged = seqs(await spool.read(0, 100))
        assert (salvaged[:2], 20 < len(salvaged) < 42, spool.committed_seq) == ([7, 9], True, salvaged[-1])


async def test_the_version_before_refuses_this_format_and_names_the_remedy(tmp_path: Path) -> None:
    """It would number rows again, and make positions lead elsewhere."""
    async with Running(tmp_path) as spool:
        await store(spool, "a")
    before = replace(FORMAT, version=1, migrations={})
    with pytest.raises(StateError, match=r"format 2, this one reads 1.*let it empty its spool"):
        open_database(tmp_path / FILE, before, ROOM)
