"""What becomes of an event: each row of the table, as what it promises."""

from itertools import product

import pytest

from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State

IN_FLIGHT, SEEN, RETRY_EXPECTED, RETRY_PENDING = State
H = Happening


def after(*happenings: Happening) -> State:
    """Return where an event stands after what happened, one after the other, since nothing was known of it."""
    state = None
    for happening in happenings:
        state = TRANSITIONS[state, happening]
    assert state is not None
    return state


def test_the_table_knows_every_happening_in_every_state() -> None:
    assert {(state, happening) for state, happening in product(State, Happening)} <= TRANSITIONS.keys()


def test_of_what_is_not_known_only_a_delivery_or_the_log_can_tell() -> None:
    assert {happening for state, happening in TRANSITIONS if state is None} == {
        H.PUBLISHED,
        H.LOGGED,
        H.LOGGED_ELSEWHERE,
    }


def test_the_numbers_that_the_file_holds_are_these() -> None:
    """A file is read by the next version."""
    assert {state.name: state.value for state in State} == {
        "IN_FLIGHT": 0,
        "SEEN": 1,
        "RETRY_EXPECTED": 2,
        "RETRY_PENDING": 3,
    }


def test_only_a_delivery_that_goes_out_puts_an_event_in_flight() -> None:
    ways = {happening for (state, happening), to in TRANSITIONS.items() if to is IN_FLIGHT and state is not IN_FLIGHT}
    assert ways == {H.PUBLISHED}


def test_what_was_durable_is_never_awaited_again_but_for_a_delivery_that_goes_out() -> None:
    """A refusal that comes late cannot take back what is stored."""
    durable = {SEEN, RETRY_EXPECTED}
    for state, happening in product(durable, Happening):
        assert TRANSITIONS[state, happening] in durable or happening is H.PUBLISHED


@pytest.mark.parametrize(
    ("happenings", "expected"),
    [
        ((H.PUBLISHED,), IN_FLIGHT),
        ((H.PUBLISHED, H.STORED), SEEN),
        ((H.PUBLISHED, H.STORED, H.UNHEARD), RETRY_EXPECTED),
        ((H.PUBLISHED, H.STORED, H.UNHEARD, H.RETRIED), SEEN),
        ((H.PUBLISHED, H.STORED, H.UNHEARD, H.RETRIED, H.UNHEARD), RETRY_EXPECTED),
        ((H.PUBLISHED, H.REFUSED), RETRY_PENDING),
        ((H.PUBLISHED, H.REFUSED, H.UNHEARD), RETRY_PENDING),
        ((H.PUBLISHED, H.REFUSED, H.PUBLISHED), IN_FLIGHT),
        ((H.PUBLISHED, H.REFUSED, H.PUBLISHED, H.STORED), SEEN),
        ((H.PUBLISHED, H.REFUSED, H.PUBLISHED, H.REFUSED), RETRY_PENDING),
    ],
)
def test_deliveries(happenings: tuple[Happening, ...], expected: State) -> None:
    assert after(*happenings) is expected


@pytest.mark.parametrize(
    ("happenings", "expected"),
    [
        ((H.REFUSED, H.STORED_LATE), RETRY_EXPECTED),
        ((H.STORED_LATE, H.REFUSED), RETRY_EXPECTED),
        ((H.STORED_LATE, H.STORED), SEEN),
        ((H.STORED, H.STORED_LATE), SEEN),
        ((H.REFUSED, H.PUBLISHED, H.STORED_LATE, H.REFUSED), RETRY_EXPECTED),
        ((H.REFUSED, H.PUBLISHED, H.STORED_LATE, H.STORED), SEEN),
        ((H.REFUSED, H.PUBLISHED, H.STORED, H.STORED_LATE), SEEN),
    ],
)
def test_a_late_acknowledgement_counts_in_whatever_order_it_is_told(
    happenings: tuple[Happening, ...], expected: State
) -> None:
    """Also that of the first attempt, while a retry is in flight: whatever becomes of that, the event is durable."""
    assert after(H.PUBLISHED, *happenings) is expected


@pytest.mark.parametrize(
    ("happenings", "ours", "elsewhere"),
    [
        ((), SEEN, SEEN),
        ((H.PUBLISHED,), IN_FLIGHT, IN_FLIGHT),
        ((H.PUBLISHED, H.STORED), SEEN, SEEN),
        ((H.PUBLISHED, H.STORED, H.UNHEARD), RETRY_EXPECTED, RETRY_EXPECTED),
        ((H.PUBLISHED, H.REFUSED), RETRY_EXPECTED, SEEN),
    ],
)
def test_what_the_log_tells(happenings: tuple[Happening, ...], ours: State, elsewhere: State) -> None:
    """What we refused and the log has anyway is answered for by whoever published it: our own answer was a 503."""
    assert after(*happenings, H.LOGGED) is ours
    assert after(*happenings, H.LOGGED_ELSEWHERE) is elsewhere


def test_retries_of_what_was_published_just_before_a_crash_are_expected() -> None:
    assert after(H.LOGGED, H.LOGGED_LAST) is RETRY_EXPECTED
