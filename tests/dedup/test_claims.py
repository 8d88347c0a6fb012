"""Claims: what deliveries under way know of each other, and what they leave to the index."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.dedup.claims import TRANSITIONS, Claim, Claims, End
from aurora_bridge.dedup.recurrence import Action, Slot, Standing
from aurora_bridge.webhook.event import Event
from tests.models.desk import DAY, MINUTE, NOW, ONCE, SECOND, SIGNAL, A, B, C, Desk, Rows, state

ENDS: Final = {End.DURABLE: Standing.SEEN, End.IN_DOUBT: Standing.DOUBTFUL, End.REFUSED: Standing.REFUSED}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def identity(claim: Claim) -> tuple[int, int]:
    """Return what an id is made of, besides the fingerprint."""
    return claim.time_us, claim.id_ms


def as_new(at: int) -> tuple[int, int]:
    """Return the identity of the first event of a day."""
    return at, 0


def as_repeat(at: int) -> tuple[int, int]:
    """Return the identity of a repeat."""
    return at, at // 1000


# The table.


def test_only_what_is_claimed_ends_durable_doubtful_or_refused() -> None:
    ends = {(standing, end): to for (standing, end), to in TRANSITIONS.items() if end is not End.LATE}
    assert {Standing.CLAIMED, Standing.OWED} == {standing for standing, _ in ends}
    assert {end: to for (standing, end), to in ends.items() if standing is Standing.CLAIMED} == ENDS


@pytest.mark.parametrize(
    ("end", "standing"),
    [(End.DURABLE, Standing.SEEN), (End.IN_DOUBT, Standing.OWED), (End.REFUSED, Standing.OWED)],
)
def test_an_acknowledgement_may_come_before_its_delivery_has_heard_of_another_end(
    desk: Desk, end: End, standing: Standing
) -> None:
    """The spool's commit answers a delivery, and before its task runs, the acknowledgement is there."""
    claim = desk.deliver(A, NOW).claim
    desk.claims.end(claim, End.LATE)
    desk.claims.end(claim, end)
    desk.claims.answered(claim, NOW, in_time=True)
    assert claim.standing is standing
    assert desk.deliver(A, NOW + MINUTE // 2).action is Action.DUPLICATE


def test_a_late_acknowledgement_is_understood_however_the_claim_stands() -> None:
    late = {standing: to for (standing, end), to in TRANSITIONS.items() if end is End.LATE}
    owed = dict.fromkeys(Standing, Standing.OWED)
    assert late == {**owed, Standing.SEEN: Standing.SEEN}


# The wall clock is set.


@pytest.mark.parametrize("forward", [31 * DAY, -31 * DAY])
@pytest.mark.parametrize(("passed", "action"), [(MINUTE, Action.DUPLICATE), (DAY + MINUTE, Action.PUBLISH)])
def test_a_window_is_as_long_as_ever_when_the_wall_clock_is_set(
    desk: Desk, forward: int, passed: int, action: Action
) -> None:
    desk.happened(A, NOW)
    desk.claims.jumped(desk.claims.last_seq, forward)
    assert desk.deliver(A, NOW + forward + passed).action is action


def test_a_retry_that_is_owed_comes_in_its_slot_though_the_wall_clock_was_set(desk: Desk) -> None:
    desk.happened(A, NOW, in_time=False)
    desk.happened(B, NOW + SECOND)
    desk.claims.jumped(desk.claims.last_seq, -DAY)
    verdict = desk.deliver(A, NOW - DAY + 30 * SECOND)
    assert (verdict.action, verdict.slot) == (Action.DUPLICATE, Slot.RETRY_30S)


def test_a_clock_that_was_set_before_an_event_does_not_concern_it(desk: Desk) -> None:
    desk.claims.jumped(desk.claims.last_seq, 31 * DAY)
    desk.happened(A, NOW)
    assert desk.deliver(A, NOW + DAY + MINUTE).action is Action.PUBLISH


# Single flight.


@pytest.mark.parametrize("event", [A, ONCE])
def test_copies_of_what_is_in_flight_join_it(desk: Desk, event: Event) -> None:
    first, *others = (desk.deliver(event, NOW + n) for n in range(50))
    assert (Action.PUBLISH, as_new(NOW)) == (first.action, identity(first.claim))
    assert [(Action.JOIN, first.claim)] * 49 == [(other.action, other.claim) for other in others]


def test_a_signal_joins_nothing_and_never_shares_a_millisecond(desk: Desk) -> None:
    verdicts = [desk.deliver(SIGNAL, NOW) for _ in range(3)]
    assert [verdict.action for verdict in verdicts] == [Action.PUBLISH] * 3
    assert [NOW // 1000 + n for n in range(3)] == [verdict.claim.id_ms for verdict in verdicts]


def test_a_copy_after_the_answer_is_a_duplicate(desk: Desk) -> None:
    first = desk.happened(A, NOW)
    assert (Action.DUPLICATE, as_new(NOW)) == (desk.deliver(A, NOW + 1).action, identity(first.claim))


def test_a_copy_before_the_answer_is_a_duplicate_of_what_is_durable(desk: Desk) -> None:
    first = desk.deliver(A, NOW)
    desk.claims.end(first.claim, End.DURABLE)
    assert (Action.DUPLICATE, first.claim) == desk.deliver(A, NOW + 1)[:2]


# States.


def test_a_state_that_comes_back_while_the_one_between_is_in_flight_is_a_repeat(desk: Desk) -> None:
    first, between, again = desk.deliver(A, NOW), desk.deliver(B, NOW + 1), desk.deliver(A, NOW + 2000)
    assert [verdict.action for verdict in (first, between, again)] == [Action.PUBLISH] * 3
    assert (True, as_repeat(NOW + 2000)) == (again.claim.repeat, identity(again.claim))


def test_a_state_that_comes_back_is_a_repeat_once_all_is_learned(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(B, NOW + SECOND)
    again = desk.deliver(A, NOW + MINUTE + SECOND)
    assert (Action.PUBLISH, as_repeat(NOW + MINUTE + SECOND)) == (again.action, identity(again.claim))


def test_subjects_do_not_know_of_each_other(desk: Desk) -> None:
    desk.deliver(A, NOW)
    desk.deliver(state("B", "2"), NOW + 1)
    assert desk.deliver(A, NOW + 2).action is Action.JOIN


def test_outside_the_repeat_window_an_equal_state_is_a_repeat(desk: Desk) -> None:
    desk.happened(A, NOW)
    assert desk.deliver(A, NOW + DAY).action is Action.DUPLICATE
    assert desk.deliver(A, NOW + DAY + 1).action is Action.PUBLISH


def test_the_window_counts_from_the_event_and_no_duplicate_extends_it(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(A, NOW + DAY // 2)
    assert desk.deliver(A, NOW + DAY + 1).action is Action.PUBLISH


def test_on_a_filtered_route_the_window_is_short(desk: Desk) -> None:
    desk.happened(A, NOW)
    within, beyond = NOW + MINUTE, NOW + MINUTE + 1
    assert desk.deliver(A, within, window=MINUTE).action is Action.DUPLICATE
    assert desk.deliver(A, beyond, window=MINUTE).action is Action.PUBLISH


def test_while_a_resend_is_declared_every_known_event_is_a_duplicate(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(B, NOW + SECOND)
    assert desk.deliver(A, NOW + 20 * DAY, resend=True).action is Action.DUPLICATE
    assert desk.deliver(C, NOW + 20 * DAY, resend=True).action is Action.PUBLISH


@pytest.mark.parametrize("learned", [False, True], ids=["in memory", "learned"])
def test_the_order_of_states_is_that_of_receipt_though_the_wall_clock_steps_back(desk: Desk, *, learned: bool) -> None:
    for event, at in ((A, NOW), (B, NOW - 2 * SECOND)):
        desk.finish(desk.deliver(event, at), End.DURABLE, at)
        if learned:
            desk.learn()
    assert desk.deliver(A, NOW - SECOND).action is Action.PUBLISH


# Definite failures.


@pytest.mark.parametrize("event", [A, ONCE])
def test_a_retry_after_a_refusal_is_published_as_the_first_attempt(desk: Desk, event: Event) -> None:
    desk.happened(event, NOW, End.REFUSED)
    retry = desk.deliver(event, NOW + 30 * SECOND)
    assert (Action.PUBLISH, as_new(NOW), 2) == (retry.action, identity(retry.claim), retry.claim.attempt)
    assert (retry.claim.repeat, retry.slot) == (False, Slot.RETRY_30S)


def test_what_was_only_ever_refused_is_new_when_it_comes_as_no_retry(desk: Desk) -> None:
    desk.happened(A, NOW, End.REFUSED)
    later = desk.deliver(A, NOW + 2 * MINUTE)
    assert (Action.PUBLISH, False, as_new(NOW + 2 * MINUTE)) == (
        later.action,
        later.claim.repeat,
        identity(later.claim),
    )


def test_a_refused_repeat_never_takes_the_id_of_the_first_event(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(B, NOW + 1)
    desk.happened(A, NOW + 2 * MINUTE, End.REFUSED)
    later = desk.deliver(A, NOW + 4 * MINUTE)
    assert (True, as_repeat(NOW + 4 * MINUTE)) == (later.claim.repeat, identity(later.claim))


def test_an_event_that_passed_unjudged_and_was_refused_never_takes_the_id_of_an_earlier_one(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.finish(desk.pass_unjudged(A, NOW + MINUTE), End.REFUSED, NOW + MINUTE)
    desk.learn()
    assert desk.deliver(A, NOW + 3 * MINUTE).claim.id_ms != 0


@pytest.mark.parametrize("learned", [False, True], ids=["in memory", "learned"])
@pytest.mark.parametrize("ends", list(product([End.DURABLE, End.REFUSED], repeat=3)))
@pytest.mark.parametrize("order", list(permutations("ABC")), ids="".join)
def test_a_refused_claim_gives_the_latest_state_back_in_whatever_order_claims_end(
    desk: Desk, order: tuple[str, ...], ends: tuple[End, ...], *, learned: bool
) -> None:
    """Z is stored while A, B and C, received in this order, are in flight: the last of those accepted is the latest."""
    desk.happened(state("Z"), NOW)
    end_of = dict(zip("ABC", ends, strict=True))
    flying = {letter: desk.deliver(state(letter), NOW + 1 + n) for n, letter in enumerate("ABC")}
    for letter in order:
        desk.finish(flying[letter], end_of[letter], NOW + 1)
        if learned:
            desk.learn()
    accepted = ["Z", *(letter for letter, end in end_of.items() if end is End.DURABLE)]
    assert Action.DUPLICATE is desk.deliver(state(accepted[-1]), NOW + SECOND).action
    assert {Action.PUBLISH} >= {desk.deliver(state(letter), NOW + SECOND).action for letter in accepted[:-1]}


def test_the_retry_of_a_refused_state_does_not_become_the_latest_before_a_newer_one(desk: Desk) -> None:
    desk.happened(A, NOW, End.REFUSED)
    desk.happened(B, NOW + SECOND)
    desk.happened(A, NOW + 30 * SECOND)
    assert desk.deliver(B, NOW + 40 * SECOND).action is Action.DUPLICATE
    again = desk.deliver(A, NOW + 41 * SECOND)
    assert (again.action, again.claim.repeat) == (Action.PUBLISH, True)


# Failures in doubt.


@pytest.mark.parametrize("event", [A, ONCE])
def test_a_retry_of_what_is_in_doubt_is_published_with_the_same_id_and_time(desk: Desk, event: Event) -> None:
    desk.happened(event, NOW, End.IN_DOUBT)
    retry = desk.deliver(event, NOW + 30 * SECOND)
    assert (Action.PUBLISH, as_new(NOW), 2) == (retry.action, identity(retry.claim), retry.claim.attempt)


def test_a_doubtful_repeat_keeps_its_millisecond(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(B, NOW + SECOND)
    desk.happened(A, NOW + 2 * MINUTE, End.IN_DOUBT)
    assert as_repeat(NOW + 2 * MINUTE) == identity(desk.deliver(A, NOW + 2 * MINUTE + 30 * SECOND).claim)


def test_a_doubtful_state_is_the_latest(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.happened(B, NOW + 1, End.IN_DOUBT)
    assert desk.deliver(A, NOW + 2).action is Action.PUBLISH


@pytest.mark.parametrize("learned", [False, True])
def test_a_late_acknowledgement_makes_the_retry_a_duplicate_though_a_newer_state_came(
    desk: Desk, *, learned: bool
) -> None:
    doubtful = desk.deliver(A, NOW)
    desk.finish(doubtful, End.IN_DOUBT, NOW)
    if learned:
        desk.learn()
    desk.happened(B, NOW + SECOND)
    desk.claims.end(doubtful.claim, End.LATE)
    desk.learn()
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.DUPLICATE


def test_a_late_acknowledgement_before_the_answer_leaves_the_retry_owed(desk: Desk) -> None:
    doubtful = desk.deliver(A, NOW)
    desk.claims.end(doubtful.claim, End.IN_DOUBT)
    desk.claims.end(doubtful.claim, End.LATE)
    desk.claims.answered(doubtful.claim, NOW, in_time=True)
    desk.happened(B, NOW + SECOND)
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.DUPLICATE


def test_a_late_acknowledgement_does_not_touch_a_retry_that_is_under_way(desk: Desk) -> None:
    doubtful = desk.happened(A, NOW, End.IN_DOUBT)
    retry = desk.deliver(A, NOW + 30 * SECOND)
    desk.claims.end(doubtful.claim, End.LATE)
    assert Standing.CLAIMED is retry.claim.standing
    desk.finish(retry, End.DURABLE, NOW + 30 * SECOND)
    desk.learn()
    assert desk.deliver(A, NOW + 31 * SECOND).action is Action.DUPLICATE


def test_a_refused_retry_of_what_is_in_doubt_is_still_in_doubt(desk: Desk) -> None:
    """The first send may yet succeed: outside the slots, the event must not be new under the same id."""
    desk.happened(A, NOW, End.IN_DOUBT)
    desk.happened(A, NOW + 30 * SECOND, End.REFUSED)
    desk.happened(B, NOW + MINUTE)
    later = desk.deliver(A, NOW + 3 * MINUTE)
    assert (Action.PUBLISH, as_repeat(NOW + 3 * MINUTE)) == (later.action, identity(later.claim))


def test_a_refused_retry_leaves_a_doubtful_state_the_latest(desk: Desk) -> None:
    """A is stored, B is in doubt and may be stored: another A is no duplicate of the first, whatever B's retry gets."""
    desk.happened(A, NOW)
    desk.happened(B, NOW + MINUTE, End.IN_DOUBT)
    desk.happened(B, NOW + MINUTE + 30 * SECOND, End.REFUSED)
    assert desk.deliver(A, NOW + 10 * MINUTE).action is Action.PUBLISH


# Owed retries.


def test_a_retry_of_what_was_not_answered_in_time_is_a_duplicate_though_a_newer_state_came(desk: Desk) -> None:
    desk.happened(A, NOW, in_time=False)
    desk.happened(B, NOW + SECOND)
    retry = desk.deliver(A, NOW + 30 * SECOND)
    assert (retry.action, retry.slot) == (Action.DUPLICATE, Slot.RETRY_30S)


def test_what_is_owed_is_owed_once(desk: Desk) -> None:
    desk.happened(A, NOW, in_time=False)
    desk.happened(B, NOW + SECOND)
    desk.happened(A, NOW + 30 * SECOND)
    assert desk.deliver(A, NOW + 60 * SECOND).action is Action.PUBLISH


def test_a_retry_that_was_not_answered_in_time_either_is_owed_again_from_then(desk: Desk) -> None:
    desk.happened(A, NOW, in_time=False)
    desk.happened(B, NOW + SECOND)
    desk.happened(A, NOW + 30 * SECOND, in_time=False)
    assert desk.deliver(A, NOW + 30 * SECOND + 5 * MINUTE).action is Action.DUPLICATE


def test_a_copy_that_is_no_retry_leaves_the_owed_one_owed(desk: Desk) -> None:
    """Another subscription's copy comes a second later; the retry comes after a newer state, and is still no repeat."""
    desk.happened(A, NOW, in_time=False)
    desk.happened(A, NOW + SECOND)
    desk.happened(B, NOW + 2 * SECOND)
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.DUPLICATE


def test_one_copy_of_several_that_was_not_answered_in_time_is_owed(desk: Desk) -> None:
    first, joined = desk.deliver(A, NOW), desk.deliver(A, NOW + 1)
    desk.claims.end(first.claim, End.DURABLE)
    desk.claims.answered(first.claim, NOW, in_time=True)
    desk.claims.answered(joined.claim, NOW + 1, in_time=False)
    desk.learn()
    desk.happened(B, NOW + SECOND)
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.DUPLICATE


def test_a_refusal_that_was_not_read_owes_nothing(desk: Desk) -> None:
    desk.happened(A, NOW, End.REFUSED, in_time=False)
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.PUBLISH


# What must be written before an event is sent.


def test_only_what_differs_from_what_was_written_ahead_is_written_again(desk: Desk) -> None:
    assert not desk.deliver(A, NOW).rewritten
    assert not desk.deliver(A, NOW + 1).rewritten
    assert not desk.deliver(SIGNAL, NOW).rewritten
    assert desk.deliver(SIGNAL, NOW + SECOND).rewritten
    assert not desk.deliver(B, NOW + 2).rewritten
    assert desk.deliver(A, NOW + 3).rewritten


def test_a_state_is_written_again_when_it_turns_out_that_we_cannot_know(desk: Desk) -> None:
    verdict = desk.pass_unjudged(A, NOW)
    assert (True, as_repeat(NOW), False) == (verdict.rewritten, identity(verdict.claim), verdict.claim.repeat)


def test_a_late_acknowledgement_is_known_before_the_index_has_learned_it(desk: Desk) -> None:
    doubtful = desk.happened(A, NOW, End.IN_DOUBT)
    desk.claims.end(doubtful.claim, End.LATE)
    assert desk.deliver(A, NOW + 30 * SECOND).action is Action.DUPLICATE


# Memory.


def test_numbers_go_on_where_the_process_before_ended() -> None:
    claims = Claims(41)
    assert [claims.propose(A, NOW, can_know=True).seq for _ in range(2)] == [42, 43]


def test_a_claim_is_handed_over_only_when_all_its_deliveries_are_answered(desk: Desk) -> None:
    first, joined = desk.deliver(A, NOW), desk.deliver(A, NOW + 1)
    desk.claims.end(first.claim, End.DURABLE)
    desk.claims.answered(first.claim, NOW, in_time=True)
    assert not any(desk.claims.finished.values())
    desk.claims.answered(joined.claim, NOW + 1, in_time=True)
    assert [first.claim] == desk.claims.finished[A.fingerprint[:2]]


def test_a_claim_is_forgotten_only_when_the_index_has_confirmed_it(desk: Desk) -> None:
    verdict = desk.deliver(A, NOW)
    desk.finish(verdict, End.DURABLE, NOW)
    assert [verdict.claim] == desk.claims.take(desk.claims.finished)
    assert len(desk.claims) == 1
    desk.claims.confirmed([verdict.claim])
    assert len(desk.claims) == 0


def test_a_duplicate_leaves_nothing_to_learn(desk: Desk) -> None:
    desk.happened(A, NOW)
    desk.finish(desk.deliver(A, NOW + 1), None, NOW + 1)
    assert (len(desk.claims), any(desk.claims.finished.values())) == (0, False)


def test_a_change_during_a_write_is_written_again(desk: Desk) -> None:
    verdict = desk.deliver(A, NOW)
    desk.finish(verdict, End.IN_DOUBT, NOW)
    assert [verdict.claim] == desk.claims.take(desk.claims.finished)
    desk.claims.end(verdict.claim, End.LATE)
    desk.claims.confirmed([verdict.claim])
    assert len(desk.claims) == 1
    desk.learn()
    assert (desk.rows.seen[A.fingerprint].standing, len(desk.claims)) == (Standing.OWED, 0)


@dataclass(frozen=True, slots=True)
class Course:
    """What becomes of a delivery, and how long that takes."""

    event: Event
    end: End
    in_time: bool
    others: int
    """Deliveries that come while it is in flight."""
    learned: bool
    late: bool
    """Whether it is stored later, if it is in doubt."""


courses = st.builds(
    Course,
    event=st.sampled_from([A, B, C, ONCE, SIGNAL]),
    end=st.sampled_from(list(ENDS)),
    in_time=st.booleans(),
    others=st.integers(0, 5),
    learned=st.booleans(),
    late=st.booleans(),
)


@given(st.lists(st.tuples(courses, st.sampled_from([1, 1000, SECOND, 30 * SECOND, 5 * MINUTE, DAY])), max_size=30))
def test_whatever_comes_memory_is_empty_once_all_is_answered_and_confirmed(
    deliveries: list[tuple[Course, int]],
) -> None:
    desk, now = Desk(), NOW
    flying: list[Iterator[None]] = []
    for course, later in deliveries:
        now += later
        flying = [flight for flight in (*flying, _fly(desk, course, now)) if next(flight, "landed") is None]
    while flying:
        flying = [flight for flight in flying if next(flight, "landed") is None]
    desk.learn()
    assert (len(desk.claims), any(desk.claims.finished.values())) == (0, False)
    desk.rows = Rows()  # nor does a family remember what the index forgot
    assert {desk.deliver(state(letter), now + 2 * MINUTE).rewritten for letter in "ABC"} == {False}


def _fly(desk: Desk, course: Course, now: int) -> Iterator[None]:
    """Go the way of one delivery, as far as others let it."""
    verdict = desk.deliver(course.event, now)
    for _ in range(course.others):
        yield
    if verdict.action is Action.PUBLISH:
        desk.claims.end(verdict.claim, course.end)
    while verdict.claim.standing is Standing.CLAIMED:  # it joined one that is in flight
        yield
    desk.claims.answered(verdict.claim, now, in_time=course.in_time)
    if course.learned:
        desk.learn()
    yield
    if verdict.action is Action.PUBLISH and course.end is End.IN_DOUBT and course.late:
        desk.claims.end(verdict.claim, End.LATE)
