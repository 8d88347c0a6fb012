"""The index file's statements, on a file: what it gives back, what it learns, and what it forgets."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aurora_bridge.dedup import index, segments
from aurora_bridge.dedup.index import Row
from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord
from aurora_bridge.state.database import used_bytes
from aurora_bridge.webhook.event import Event
from tests.dedup.events import DAY, ME, NOON, ONCE, OTHER, SECOND, A, B, C, digest, told
from tests.support.index_rows import rows_of

ROOM = 2**24
SEEN, RETRY_EXPECTED, RETRY_PENDING = list(State)[1:]


@contextmanager
def opened(directory: Path, max_bytes: int = ROOM) -> Iterator[sqlite3.Connection]:
    """Open the file, and leave it as a process does that dies: nothing is written at its end."""
    with closing(index.open_index(directory / index.FILE, max_bytes)) as db:
        yield db


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with opened(tmp_path) as connection:
        yield connection


def row(event: Event, at: int = NOON, state: State = SEEN, **others: Any) -> Row:  # noqa: ANN401
    """Return an event as the file has it."""
    return Row(event.fingerprint, state, at, 0, at, 1, repeat=False)._replace(**others)


def latest(event: Event, at: int = NOON) -> Latest:
    """Return an event as the latest of its family."""
    return Latest(event.family_key or "", event.fingerprint, at, 0)


def write(
    db: sqlite3.Connection,
    *rows: Row,
    states: Sequence[Latest] = (),
    late: Sequence[index.Event] = (),
    positions: index.Positions | None = None,
) -> None:
    """Write what changed in memory."""
    index.write(db, list(rows), list(states))
    for event in late:
        index.change(db, [event], State.RETRY_PENDING, Happening.STORED_LATE)
    index.note(db, positions or {}, 0)


def write_one_by_one(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write rows, each for itself."""
    for one in rows:
        write(db, one)


def learn(db: sqlite3.Connection, *records: LogRecord) -> list[str]:
    """Take over what the log tells; return the fingerprints of ours that were new."""
    states: dict[str, Latest] = {}
    for record in records:
        if record.family_key is not None:
            states[record.family_key] = Latest(record.family_key, record.fingerprint, record.time_ms, record.id_ms)
    known = [record.fingerprint for record in records]
    return [record.fingerprint for record in index.learn(db, records, known, list(states.values()), ME)]


def find(db: sqlite3.Connection, event: Event) -> Row | None:
    """Return what the file knows of an event's fingerprint."""
    return index.find(db, [event.fingerprint], []).rows.get(event.fingerprint)


def find_latest(db: sqlite3.Connection, family_key: str | None = A.family_key) -> Latest | None:
    """Return the latest state of a family."""
    return index.find(db, [], [family_key or ""]).latest.get(family_key or "")


# Written and found.


def test_what_was_written_is_found_after_the_file_was_closed(tmp_path: Path) -> None:
    rows = [
        row(A, state=RETRY_EXPECTED, attempt_ms=NOON + 5, attempt=3),
        row(B, state=RETRY_PENDING, id_ms=NOON, repeat=True),
        row(ONCE),
    ]
    with opened(tmp_path) as first:
        write(first, *rows, states=[latest(B)])
        index.note(first, {("k", "t", 0): 7}, 0)
    with opened(tmp_path) as second:
        assert [find(second, event) for event in (A, B, ONCE)] == rows
        assert (find(second, C), find_latest(second), find_latest(second, digest("2"))) == (None, latest(B), None)
        assert index.found(second).positions == {("k", "t", 0): 7}


def test_what_is_asked_together_is_found_together(db: sqlite3.Connection) -> None:
    write(db, row(A), row(B), states=[latest(B)])
    answer = index.find(db, [A.fingerprint, C.fingerprint, B.fingerprint], [A.family_key or "", digest("2")])
    assert answer.rows == {A.fingerprint: row(A), B.fingerprint: row(B)}
    assert answer.latest == {A.family_key: latest(B)}


def test_what_memory_writes_counts_whatever_the_file_had(db: sqlite3.Connection) -> None:
    """Also an earlier time: the clock was set, and what arrives here is the latest."""
    write(db, row(A, state=RETRY_PENDING), states=[latest(A)])
    write(db, row(A, NOON - DAY), states=[latest(B, NOON - DAY)])
    assert (find(db, A), find_latest(db)) == (row(A, NOON - DAY), latest(B, NOON - DAY))


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
def test_any_number_of_rows_is_written(db: sqlite3.Connection, count: int) -> None:
    random = Random(count)
    rows = [row(A, fingerprint=f"{random.getrandbits(128):032x}", time_ms=number) for number in range(count)]
    states = [latest(A)._replace(family_key=one.fingerprint) for one in rows]
    write(db, *rows, states=states)
    keys = [one.fingerprint for one in rows]
    assert list(index.find(db, keys, []).rows.values()) == rows
    assert len(index.find(db, [], keys).latest) == count


def test_positions_move_each_for_itself(db: sqlite3.Connection) -> None:
    """Backwards too: a topic was recreated."""
    index.note(db, {("k", "t", 0): 7, ("k", "t", 1): 8, ("s", "", 0): 9}, 0)
    index.note(db, {("k", "t", 1): 2}, 0)
    assert index.found(db).positions == {("k", "t", 0): 7, ("k", "t", 1): 2, ("s", "", 0): 9}


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        (RETRY_PENDING, (A.fingerprint, NOON, 0), RETRY_EXPECTED),
        (SEEN, (A.fingerprint, NOON, 0), SEEN),
        (RETRY_EXPECTED, (A.fingerprint, NOON, 0), RETRY_EXPECTED),
        (RETRY_PENDING, (A.fingerprint, NOON - 1, 0), RETRY_PENDING),
        (RETRY_PENDING, (A.fingerprint, NOON, 7), RETRY_PENDING),
    ],
    ids=["refused", "seen", "expected", "another time", "another id"],
)
def test_a_late_acknowledgement_is_one_of_an_event_that_was_refused(
    db: sqlite3.Connection, before: State, event: index.Event, expected: State
) -> None:
    write(db, row(A, state=before))
    write(db, late=[event])
    found = find(db, A)
    assert found is not None
    assert found.state is expected


# Learned from the log.


def test_what_the_log_tells_is_seen_and_the_latest_state(db: sqlite3.Connection) -> None:
    assert learn(db, told(A, NOON), told(B, NOON + 1, instance=ME), told(ONCE, NOON + 2)) == [B.fingerprint]
    assert [find(db, event) for event in (A, B, ONCE)] == [row(A), row(B, NOON + 1), row(ONCE, NOON + 2)]
    assert find_latest(db) == latest(B, NOON + 1)


@pytest.mark.parametrize(("at", "is_latest"), [(NOON - 1, False), (NOON, True), (NOON + 1, True)])
def test_a_state_that_the_log_tells_of_is_the_latest_if_it_is_not_older(
    db: sqlite3.Connection, at: int, *, is_latest: bool
) -> None:
    """A state may have waited in somebody's spool."""
    write(db, row(A), states=[latest(A)])
    learn(db, told(B, at))
    assert find(db, B) == row(B, at)
    assert find_latest(db) == (latest(B, at) if is_latest else latest(A))


def test_a_refused_state_is_the_latest_whatever_earlier_ones_the_log_gives_back(db: sqlite3.Connection) -> None:
    write(db, row(B, NOON + 1, RETRY_PENDING), states=[latest(B, NOON + 1)])
    learn(db, told(A, NOON, instance=ME))
    assert find_latest(db) == latest(B, NOON + 1)


@pytest.mark.parametrize(("instance", "expected"), [(ME, RETRY_EXPECTED), (OTHER, SEEN)])
def test_what_was_refused_here_and_is_in_the_log_is_durable(
    db: sqlite3.Connection, instance: str, expected: State
) -> None:
    write(db, row(A, state=RETRY_PENDING, attempt=2, attempt_ms=NOON + 5))
    assert learn(db, told(A, NOON, instance=instance)) == []
    assert find(db, A) == row(A, state=expected, attempt=2, attempt_ms=NOON + 5)


def test_copies_in_the_log_are_one_event_and_the_first_counts(db: sqlite3.Connection) -> None:
    assert learn(db, told(A, NOON, instance=ME), told(A, NOON + 5, instance=ME)) == [A.fingerprint]
    assert learn(db, told(A, NOON + 9, instance=ME)) == []
    assert find(db, A) == row(A)


def test_of_a_fingerprint_the_last_event_is_known(db: sqlite3.Connection) -> None:
    repeat = told(A, NOON + SECOND, id_ms=NOON + SECOND)
    learn(db, told(A, NOON), repeat, told(A, NOON))
    assert find(db, A) == row(A, NOON + SECOND, id_ms=NOON + SECOND)


def test_what_the_filter_rules_out_is_not_looked_for(db: sqlite3.Connection) -> None:
    """Which `learn` is told: nothing else can be in the file."""
    index.learn(db, [told(A, NOON)], [], [], ME)
    assert find(db, A) == row(A)


def test_other_instances_are_known_by_their_latest_event(db: sqlite3.Connection) -> None:
    learn(db, told(A, NOON))
    learn(db, told(B, NOON - 5), told(C, NOON - 9, instance="third"))
    assert index.found(db).instances == {OTHER: NOON, "third": NOON - 9}


def test_retries_of_the_last_events_before_a_crash_are_expected(db: sqlite3.Connection) -> None:
    write(db, row(A), row(B, state=RETRY_PENDING), row(C))
    index.change(
        db,
        [(A.fingerprint, NOON, 0), (B.fingerprint, NOON, 0), (C.fingerprint, NOON, 7)],
        State.SEEN,
        Happening.LOGGED_LAST,
    )
    assert [find(db, event) for event in (A, B, C)] == [
        row(A, state=RETRY_EXPECTED),
        row(B, state=RETRY_PENDING),
        row(C),
    ]


# All fingerprints.


def all_fingerprints(db: sqlite3.Connection, limit: int = 100) -> list[str]:
    """Return those of all segments, read in parts."""
    found: list[str] = []
    cursor: index.Cursor | None = (0, "")
    while cursor is not None:
        part, cursor = index.fingerprints(db, cursor, limit)
        assert len(part) <= limit
        found += part
    return found


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_all_fingerprints_are_found_one_part_after_the_other(db: sqlite3.Connection, limit: int) -> None:
    names = [digest(f"{number}") for number in range(40)]
    for day in range(4):
        write(db, *(row(A, fingerprint=name) for name in names[day * 10 : day * 10 + 10]))
        segments.begin_when_due(db, NOON + day * DAY, ROOM)
    assert sorted(all_fingerprints(db, limit)) == sorted(names)


def test_a_segment_that_is_dropped_while_it_is_read_is_passed_over(db: sqlite3.Connection) -> None:
    write(db, row(A))
    segments.begin_when_due(db, NOON, ROOM)
    write(db, row(B))
    _, cursor = index.fingerprints(db, (0, ""), 1)
    assert cursor is not None
    segments.expire(db, NOON + 1)
    found, cursor = index.fingerprints(db, cursor, 1)
    assert (found, cursor) == ([], (2, ""))


# Segments.


def test_of_a_key_the_newest_row_counts(db: sqlite3.Connection) -> None:
    write(db, row(A), states=[latest(A)])
    segments.begin_when_due(db, NOON, ROOM)
    write(db, row(A, NOON - 1, state=RETRY_EXPECTED), states=[latest(B, NOON - 1)])
    assert find(db, A) == row(A, NOON - 1, state=RETRY_EXPECTED)
    assert find_latest(db, A.family_key) == latest(B, NOON - 1)


def test_what_the_log_tells_is_held_against_all_segments(db: sqlite3.Connection) -> None:
    write(db, row(A, NOON + 1), states=[latest(A, NOON + 1)])
    segments.begin_when_due(db, NOON, ROOM)
    index.learn(db, [told(B, NOON)], [], [latest(B, NOON)], ME)
    assert find_latest(db, A.family_key) == latest(A, NOON + 1)


def test_what_happens_to_an_event_happens_in_whichever_segment_it_lies(db: sqlite3.Connection) -> None:
    write(db, row(A))
    segments.begin_when_due(db, NOON, ROOM)
    index.change(db, [(A.fingerprint, NOON, 0)], SEEN, Happening.LOGGED_LAST)
    assert find(db, A) == row(A, state=RETRY_EXPECTED)


@pytest.mark.parametrize(("later", "count"), [(DAY - 1, 1), (DAY, 2), (-1, 2)])
def test_a_segment_is_a_day_long(db: sqlite3.Connection, later: int, count: int) -> None:
    """A clock that went back ends it, too."""
    segments.begin_when_due(db, NOON, ROOM)
    write(db, row(A))
    segments.begin_when_due(db, NOON + later, ROOM)
    assert len(segments.numbers(db)) == count


def test_a_segment_is_a_sixteenth_of_the_file_at_most(db: sqlite3.Connection) -> None:
    names = [digest(f"{number}") for number in range(2000)]
    for start in range(0, 2000, 100):
        segments.begin_when_due(db, NOON, 2**20)
        write(db, *(row(A, fingerprint=name) for name in names[start : start + 100]))
    assert len(segments.numbers(db)) in {3, 4}
    assert sorted(all_fingerprints(db)) == sorted(names)


def test_no_segment_begins_behind_an_empty_one(db: sqlite3.Connection) -> None:
    for day in range(3):
        segments.begin_when_due(db, NOON + day * DAY, ROOM)
    assert segments.numbers(db) == [1]


def test_a_segment_expires_with_its_newest_event(db: sqlite3.Connection) -> None:
    write(db, row(A), row(B, NOON + 1), states=[latest(A)])
    segments.begin_when_due(db, NOON, ROOM)
    write(db, row(C, NOON - DAY))
    segments.expire(db, NOON + 1)
    assert sorted(all_fingerprints(db)) == sorted([A.fingerprint, B.fingerprint, C.fingerprint])
    segments.expire(db, NOON + 2)
    assert all_fingerprints(db) == [C.fingerprint]
    assert find_latest(db, A.family_key) is None


def test_what_was_given_an_id_of_a_later_time_is_kept_until_then(db: sqlite3.Connection) -> None:
    """The clock was a month slow: the event is old, but an id of today would be given a second time."""
    write(db, row(A, NOON - 31 * DAY, id_ms=NOON + 1))
    segments.begin_when_due(db, NOON, ROOM)
    segments.expire(db, NOON + 1)
    assert all_fingerprints(db) == [A.fingerprint]
    segments.expire(db, NOON + 2)
    assert all_fingerprints(db) == []


def test_the_oldest_segment_is_forgotten_first(db: sqlite3.Connection) -> None:
    for number, event in enumerate((A, B, C)):
        write(db, row(event, NOON + number))
        segments.begin_when_due(db, NOON + number * DAY, ROOM)
    assert segments.forget_oldest(db) == NOON
    assert sorted(all_fingerprints(db)) == sorted([B.fingerprint, C.fingerprint])


def test_what_may_be_missing_is_remembered_by_its_youngest(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        assert index.found(first).forgotten_ms == 0
        index.note(first, {}, NOON)
        index.note(first, {}, NOON - 1)
    with opened(tmp_path) as second:
        assert index.found(second).forgotten_ms == NOON


def test_a_full_file_takes_rows_again_once_old_ones_are_gone(tmp_path: Path) -> None:
    rows = [row(A, NOON + number, fingerprint=digest(f"{number}")) for number in range(3000)]
    with opened(tmp_path, max_bytes=131_072) as db:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            write_one_by_one(db, rows)
        count = len(rows_of(db))
        full = used_bytes(db)
        assert segments.forget_oldest(db) == NOON + count - 1
        assert used_bytes(db) < full
        write(db, *rows[count : count + 100])
        assert len(rows_of(db)) == 100


# A file that cannot be used.


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000, b"short"])
def test_a_file_that_is_no_database_is_recreated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / index.FILE).write_bytes(content)
    with opened(tmp_path) as db:
        assert index.found(db)[:3] == ({}, {}, 0)
        write(db, row(A))


@pytest.mark.parametrize("version", [1, 3, 99])
def test_a_file_of_another_version_is_recreated(tmp_path: Path, version: int) -> None:
    """Older or newer: it holds nothing that the log does not."""
    with closing(sqlite3.connect(tmp_path / index.FILE)) as other:
        other.executescript(f"CREATE TABLE seen (a); PRAGMA user_version={version}")
    with opened(tmp_path) as db:
        write(db, row(A))
        assert find(db, A) == row(A)
    assert [path.name for path in tmp_path.iterdir() if "broken" in path.name] == []


def test_nothing_is_left_of_a_file_that_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        write(db, row(A))
        index.remove(tmp_path / index.FILE)
        assert list(tmp_path.iterdir()) == []
