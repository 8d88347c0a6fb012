"""What memory holds: the last event of a fingerprint, the latest state of a family, and what may leave."""

import pytest

from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_record import Latest
from aurora_bridge.dedup.memory import SLICES, Batch, Entry, Memory
from aurora_bridge.webhook.event import Event
from tests.dedup.events import NOON, ONCE, SECOND, A, B, entry_of, told

IN_FLIGHT, SEEN, RETRY_EXPECTED, RETRY_PENDING = State
FAMILY = A.family_key or ""


@pytest.fixture
def memory() -> Memory:
    return Memory()


def enter(memory: Memory, event: Event, at: int = NOON, happening: Happening | None = Happening.STORED) -> Entry:
    """Let an event come, and something happen to it."""
    entry = entry_of(event, at)
    memory.enter(entry)
    if happening is not None:
        memory.apply(entry, happening)
    return entry


def take(memory: Memory) -> Batch:
    """Take all that is to be written."""
    return memory.take(SLICES)


def write(memory: Memory) -> Batch:
    """Write all that is to be written."""
    batch = take(memory)
    memory.written(batch)
    return batch


def state_of(entry: Entry) -> Latest:
    """Return an event as the latest state of its family."""
    return Latest(FAMILY, entry.fingerprint, entry.time_ms, entry.id_ms)


def latest(memory: Memory) -> tuple[str, int] | None:
    """Return fingerprint and time of the latest state."""
    found = memory.latest.get(FAMILY)
    return None if found is None else (found.fingerprint, found.time_ms)


# What is to be written.


def test_an_event_in_flight_is_not_to_be_written(memory: Memory) -> None:
    enter(memory, A, happening=None)
    assert take(memory) == Batch([], [])


@pytest.mark.parametrize("happening", [Happening.STORED, Happening.REFUSED, Happening.STORED_LATE])
def test_what_became_of_it_is_to_be_written_and_its_family_with_it(memory: Memory, happening: Happening) -> None:
    entry = enter(memory, A, happening=happening)
    assert take(memory) == Batch([entry], [state_of(entry)])


def test_what_changes_nothing_is_not_to_be_written(memory: Memory) -> None:
    entry = enter(memory, A)
    write(memory)
    memory.apply(entry, Happening.LOGGED)
    assert take(memory).entries == []


def test_an_event_that_was_followed_by_another_of_its_fingerprint_is_not_to_be_written(memory: Memory) -> None:
    first = enter(memory, A, happening=None)
    second = enter(memory, A, NOON + SECOND)
    memory.apply(first, Happening.STORED)
    assert take(memory).entries == [second]


# The latest state.


def test_what_arrives_here_is_the_latest_from_its_receipt_on(memory: Memory) -> None:
    enter(memory, A)
    enter(memory, B, NOON - SECOND, None)
    assert latest(memory) == (B.fingerprint, NOON - SECOND)


def test_what_happens_once_is_no_state(memory: Memory) -> None:
    enter(memory, ONCE)
    assert memory.latest == {}


@pytest.mark.parametrize(("at", "is_latest"), [(NOON - 1, False), (NOON, True), (NOON + 1, True)])
def test_what_the_log_tells_is_the_latest_if_it_is_not_older(memory: Memory, at: int, *, is_latest: bool) -> None:
    enter(memory, A)
    write(memory)
    memory.learn(told(B, at), Happening.LOGGED_ELSEWHERE)
    assert latest(memory) == ((B.fingerprint, at) if is_latest else (A.fingerprint, NOON))
    assert bool(take(memory).latest) is is_latest


def test_a_repeat_that_the_log_tells_of_is_the_latest_from_its_own_time_on(memory: Memory) -> None:
    """Another replica published A again, and B before that: A is what it stands at."""
    enter(memory, A)
    memory.learn(told(A, NOON + 5 * SECOND, id_ms=NOON + 5 * SECOND), Happening.LOGGED_ELSEWHERE)
    memory.learn(told(B, NOON + 3 * SECOND), Happening.LOGGED_ELSEWHERE)
    assert latest(memory) == (A.fingerprint, NOON + 5 * SECOND)


# What the log tells.


def test_of_what_is_not_here_the_file_is_to_learn(memory: Memory) -> None:
    assert not memory.learn(told(A, NOON), Happening.LOGGED)
    assert (memory.entries, memory.latest) == ({}, {})


def test_a_record_of_ours_is_the_acknowledgement_that_a_refused_event_did_not_get(memory: Memory) -> None:
    entry = enter(memory, A, happening=Happening.REFUSED)
    write(memory)
    assert memory.learn(told(A, NOON), Happening.LOGGED)
    assert (entry.state, take(memory).entries) == (RETRY_EXPECTED, [entry])


def test_a_later_event_that_the_log_tells_of_takes_the_place_of_the_one_here(memory: Memory) -> None:
    entry = enter(memory, A)
    entry.refcount = 1
    assert memory.learn(told(A, NOON + 1, id_ms=NOON + 1), Happening.LOGGED_ELSEWHERE)
    newer = memory.entries[A.fingerprint]
    assert (newer.state, newer.time_ms, newer.id_ms) == (SEEN, NOON + 1, NOON + 1)
    assert newer in take(memory).entries


def test_what_is_in_flight_here_is_left_to_its_delivery(memory: Memory) -> None:
    """Its record may be read before its acknowledgement comes."""
    entry = enter(memory, A, happening=None)
    assert memory.learn(told(A, NOON), Happening.LOGGED)
    assert (memory.entries[A.fingerprint], entry.state, take(memory).entries) == (entry, IN_FLIGHT, [])


# Late acknowledgements.


def test_a_late_acknowledgement_of_what_is_here_is_one_of_this_event(memory: Memory) -> None:
    entry = enter(memory, A, happening=Happening.REFUSED)
    assert memory.apply_to(entry_of(A, NOON), Happening.STORED_LATE)
    assert entry.state is RETRY_EXPECTED


def test_a_late_acknowledgement_of_an_earlier_event_says_nothing_of_the_last(memory: Memory) -> None:
    entry = enter(memory, A, NOON + SECOND, Happening.REFUSED)
    assert memory.apply_to(entry_of(A, NOON), Happening.STORED_LATE)
    assert entry.state is RETRY_PENDING


def test_a_late_acknowledgement_of_what_has_left_is_the_files_to_know(memory: Memory) -> None:
    assert not memory.apply_to(entry_of(A, NOON, 7), Happening.STORED_LATE)
    assert memory.entries == {}


# What may leave.


def test_what_is_written_leaves(memory: Memory) -> None:
    enter(memory, A)
    write(memory)
    memory.forget()
    assert (memory.entries, memory.latest) == ({}, {})


@pytest.mark.parametrize("why", ["changed", "under way", "in flight again", "not answered"])
def test_what_the_file_does_not_hold_as_it_stands_or_is_in_use_stays(memory: Memory, why: str) -> None:
    entry = enter(memory, A, happening=Happening.REFUSED)
    write(memory)
    if why == "changed":
        memory.apply(entry, Happening.STORED_LATE)
    elif why == "under way":
        memory.change(entry)
        take(memory)
    elif why == "in flight again":
        memory.apply(entry, Happening.PUBLISHED)
    else:
        entry.refcount = 1
    memory.forget()
    assert memory.entries == {A.fingerprint: entry}


def test_what_was_not_answered_when_it_was_written_leaves_when_it_is(memory: Memory) -> None:
    entry = enter(memory, A)
    entry.refcount = 1
    write(memory)
    memory.forget()
    assert memory.entries == {A.fingerprint: entry}
    entry.refcount = 0
    memory.release(entry)
    memory.forget()
    assert memory.entries == {}


def test_the_latest_state_that_changed_since_it_was_written_stays(memory: Memory) -> None:
    enter(memory, A)
    write(memory)
    memory.learn(told(B, NOON + 1), Happening.LOGGED_ELSEWHERE)
    memory.forget()
    assert latest(memory) == (B.fingerprint, NOON + 1)


# A file that takes nothing, and another file.


def test_given_up_is_all_but_what_is_in_flight_or_not_answered_and_the_state_it_is_the_latest_of(
    memory: Memory,
) -> None:
    """What is given up the log gives back, or nobody: but of what is in use the end is not known yet."""
    enter(memory, ONCE)
    enter(memory, A)
    flying = enter(memory, B, NOON + 1, None)
    memory.give_up()
    assert memory.entries == {B.fingerprint: flying}
    assert latest(memory) == (B.fingerprint, NOON + 1)
    memory.apply(flying, Happening.REFUSED)
    assert take(memory) == Batch([flying], [state_of(flying)])


def test_a_write_that_ends_after_its_event_was_given_up_does_not_bring_that_back(memory: Memory) -> None:
    enter(memory, A)
    batch = take(memory)
    memory.give_up()
    memory.not_written(batch)
    assert (memory.entries, take(memory).entries) == ({}, [])


def test_into_another_file_everything_is_to_be_written(memory: Memory) -> None:
    """What the one before it held may be in no log that is read again."""
    entry = enter(memory, A)
    write(memory)
    memory.change_all()
    memory.forget()
    assert take(memory) == Batch([entry], [state_of(entry)])


# A write that fails.


def test_what_was_not_written_is_to_be_written_again(memory: Memory) -> None:
    entry = enter(memory, A)
    memory.not_written(take(memory))
    memory.forget()
    assert take(memory) == Batch([entry], [state_of(entry)])


def test_what_was_not_written_is_not_written_over_what_came_after_it(memory: Memory) -> None:
    enter(memory, A)
    failing = take(memory)
    later = enter(memory, A, NOON + SECOND)
    memory.not_written(failing)
    assert take(memory) == Batch([later], [state_of(later)])


def test_an_event_stays_until_each_of_its_writes_has_ended(memory: Memory) -> None:
    entry = enter(memory, A)
    first = take(memory)
    memory.change(entry)
    second = memory.take_some([entry.fingerprint])
    memory.written(first)
    memory.forget()
    assert memory.entries == {A.fingerprint: entry}
    memory.not_written(second)
    assert take(memory) == Batch([entry], [state_of(entry)])


def test_a_latest_state_that_left_with_its_event_comes_back_where_its_own_write_fails(memory: Memory) -> None:
    """Event and family are written with slices of their own."""
    entry = enter(memory, A)
    memory.written(memory.take(A.fingerprint[0]))
    families = memory.take(SLICES)
    memory.forget()
    assert families == Batch([], [state_of(entry)])
    assert (memory.entries, memory.latest) == ({}, {})
    memory.not_written(families)
    assert (latest(memory), take(memory)) == ((A.fingerprint, NOON), families)


def test_what_is_written_at_once_is_not_written_a_second_time(memory: Memory) -> None:
    entry = enter(memory, A)
    assert memory.take_some([entry.fingerprint]) == Batch([entry], [state_of(entry)])
    assert memory.take_some([entry.fingerprint]) == Batch([], [])
    assert take(memory).entries == []


def test_what_is_written_at_once_is_the_last_event_of_the_fingerprint(memory: Memory) -> None:
    """The one before it was refused as well, and its delivery waits until that is known to the file."""
    first = enter(memory, A, happening=Happening.REFUSED)
    second = enter(memory, A, NOON + SECOND, Happening.REFUSED)
    assert memory.take_some([first.fingerprint]) == Batch([second], [state_of(second)])
    assert take(memory).entries == []
