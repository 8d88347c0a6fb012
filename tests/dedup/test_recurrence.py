"""Same event or new one: the rules in sentences, and what holds whatever comes."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.recurrence import (
    RETRIES,
    Action,
    Interval,
    decide,
    event_id,
    interval_of,
    new_id_ms,
)
from aurora_bridge.webhook.catalogue import Recurrence
from tests.dedup.events import DAY, HOUR, MINUTE, SECOND

NOW = 1_795_454_645_123  # 2026-11-23T17:24:05.123Z
FINGERPRINT = "9c1f0e8d7b6a59483726150493827160"
ONCE, STATE, SIGNAL = Recurrence.ONCE, Recurrence.STATE, Recurrence.SIGNAL
IN_FLIGHT, SEEN, RETRY_EXPECTED, RETRY_PENDING = State
NEW, REPEAT, RETRY, JOIN, DUPLICATE = Action
SCHEDULE = {
    Interval.RETRY_30S: 30 * SECOND,
    Interval.RETRY_5MIN: 5 * MINUTE,
    Interval.RETRY_30MIN: 30 * MINUTE,
    Interval.RETRY_3H: 3 * HOUR,
    Interval.RETRY_20H: 20 * HOUR,
}
BETWEEN = [0, 10 * SECOND, 2 * MINUTE, 15 * MINUTE, HOUR, 10 * HOUR, 2 * DAY]
"""No retry comes so long after the attempt before it."""


class Known(NamedTuple):
    """What is known of the last event of a fingerprint."""

    state: State
    time_ms: int
    attempt_ms: int


def known(state: State, ago: int, attempt_ago: int | None = None) -> Known:
    """Return an event that came `ago` milliseconds before NOW, and its last attempt `attempt_ago`."""
    return Known(state, NOW - ago, NOW - (ago if attempt_ago is None else attempt_ago))


def action(  # noqa: PLR0913 - the facts of one decision
    recurrence: Recurrence,
    before: Known,
    *,
    latest: bool = True,
    complete: bool = True,
    window: int = DAY,
    resend: bool = False,
) -> Action:
    action, interval = decide(recurrence, before, NOW, window, is_latest=latest, complete=complete, resend=resend)
    of_resend = resend and before.state is SEEN
    assert interval is (Interval.RESEND if of_resend else interval_of(NOW - before.attempt_ms))
    return action


every_retry = pytest.mark.parametrize("retry", SCHEDULE)
accepted = pytest.mark.parametrize("state", [SEEN, RETRY_EXPECTED])
either = [False, True]

# States.


@pytest.mark.parametrize("ago", [0, SECOND, HOUR, DAY])
@accepted
def test_the_latest_state_again_is_a_duplicate_up_to_the_end_of_the_repeat_window(state: State, ago: int) -> None:
    assert action(STATE, known(state, ago)) is DUPLICATE


def test_the_latest_state_again_is_a_repeat_after_the_repeat_window() -> None:
    assert action(STATE, known(SEEN, DAY + 1)) is REPEAT


def test_the_window_counts_from_the_event_and_no_attempt_extends_it() -> None:
    assert action(STATE, known(SEEN, DAY + 1, attempt_ago=SECOND)) is REPEAT


@pytest.mark.parametrize(("ago", "expected"), [(MINUTE, DUPLICATE), (MINUTE + 1, REPEAT)])
def test_on_a_filtered_route_the_same_state_may_have_come_back_after_a_minute(ago: int, expected: Action) -> None:
    assert action(STATE, known(SEEN, ago), window=MINUTE) is expected


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ago", BETWEEN)
def test_a_state_that_comes_back_after_another_one_is_a_repeat(state: State, ago: int) -> None:
    """However the last one stands: even in flight, a newer one stands between."""
    assert action(STATE, known(state, ago), latest=False) is REPEAT


@accepted
@pytest.mark.parametrize("ago", BETWEEN)
def test_while_something_can_be_unknown_no_state_is_a_duplicate_for_equalling_the_latest(
    state: State, ago: int
) -> None:
    assert action(STATE, known(state, ago), complete=False) is REPEAT


# Retries.


@every_retry
@pytest.mark.parametrize("latest", either)
@pytest.mark.parametrize("complete", either)
@pytest.mark.parametrize("window", [0, MINUTE, DAY])
def test_an_expected_retry_of_a_state_is_a_duplicate_whatever_came_after_it(
    retry: Interval,
    latest: bool,  # noqa: FBT001
    complete: bool,  # noqa: FBT001
    window: int,
) -> None:
    before = known(RETRY_EXPECTED, SCHEDULE[retry])
    assert action(STATE, before, latest=latest, complete=complete, window=window) is DUPLICATE


@every_retry
@pytest.mark.parametrize("latest", either)
@pytest.mark.parametrize("complete", either)
def test_the_retry_of_a_state_that_was_refused_goes_out_as_what_it_was(
    retry: Interval,
    latest: bool,  # noqa: FBT001
    complete: bool,  # noqa: FBT001
) -> None:
    assert action(STATE, known(RETRY_PENDING, SCHEDULE[retry]), latest=latest, complete=complete) is RETRY


@every_retry
def test_no_retry_comes_once_the_answer_arrived(retry: Interval) -> None:
    assert action(STATE, known(SEEN, SCHEDULE[retry]), latest=False) is REPEAT


def test_a_retry_comes_at_its_interval_from_the_attempt_before_and_not_from_the_event() -> None:
    before = known(RETRY_EXPECTED, ago=36 * MINUTE, attempt_ago=30 * MINUTE)
    assert decide(STATE, before, NOW, DAY, is_latest=False, complete=True) == (DUPLICATE, Interval.RETRY_30MIN)
    assert action(STATE, known(RETRY_EXPECTED, ago=30 * SECOND, attempt_ago=0), latest=False) is REPEAT


def test_the_same_refused_state_again_is_its_event_also_outside_the_intervals() -> None:
    assert action(STATE, known(RETRY_PENDING, HOUR)) is RETRY
    assert action(STATE, known(RETRY_PENDING, HOUR), complete=False) is REPEAT


# In flight.


@pytest.mark.parametrize("complete", either)
@pytest.mark.parametrize("recurrence", [ONCE, STATE])
def test_a_copy_of_what_is_in_flight_joins_it(recurrence: Recurrence, complete: bool) -> None:  # noqa: FBT001
    assert action(recurrence, known(IN_FLIGHT, SECOND), complete=complete) is JOIN


# Once.


@pytest.mark.parametrize("ago", [0, SECOND, HOUR, 29 * DAY])
@pytest.mark.parametrize("complete", either)
@accepted
def test_what_happens_once_is_a_duplicate_as_long_as_it_is_known(
    state: State,
    ago: int,
    complete: bool,  # noqa: FBT001
) -> None:
    assert action(ONCE, known(state, ago), latest=False, complete=complete) is DUPLICATE


@pytest.mark.parametrize("ago", [*BETWEEN, *SCHEDULE.values()])
def test_what_happens_once_and_was_refused_goes_out_as_what_it_was(ago: int) -> None:
    assert action(ONCE, known(RETRY_PENDING, ago), latest=False) is RETRY


# Signals.


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("ago", [*BETWEEN, *SCHEDULE.values()])
def test_a_signal_is_never_a_duplicate_joins_nothing_and_is_no_retry(state: State, ago: int) -> None:
    assert action(SIGNAL, known(state, ago)) is REPEAT


# Re-sends.


@pytest.mark.parametrize("recurrence", Recurrence)
@pytest.mark.parametrize("ago", [SECOND, 2 * DAY, 29 * DAY])
@accepted
def test_during_a_declared_resend_everything_that_was_accepted_is_a_duplicate(
    recurrence: Recurrence, state: State, ago: int
) -> None:
    assert action(recurrence, known(state, ago), latest=False, complete=False, resend=True) is DUPLICATE


@pytest.mark.parametrize(("recurrence", "expected"), [(ONCE, RETRY), (STATE, RETRY), (SIGNAL, REPEAT)])
def test_what_was_never_accepted_is_published_during_a_resend_too(recurrence: Recurrence, expected: Action) -> None:
    assert action(recurrence, known(RETRY_PENDING, 2 * DAY), latest=False, resend=True) is expected


@pytest.mark.parametrize("ago", [SECOND, 30 * SECOND, 20 * HOUR, 3 * DAY])
def test_a_duplicate_of_a_declared_resend_counts_as_one_unless_a_retry_was_expected(ago: int) -> None:
    facts = {"is_latest": False, "complete": True, "resend": True}
    assert decide(ONCE, known(SEEN, ago), NOW, DAY, **facts) == (DUPLICATE, Interval.RESEND)
    assert decide(ONCE, known(RETRY_EXPECTED, ago), NOW, DAY, **facts) == (DUPLICATE, interval_of(ago))


# A clock that is set.


@accepted
@pytest.mark.parametrize("resend", either)
@pytest.mark.parametrize(("recurrence", "expected"), [(ONCE, REPEAT), (STATE, REPEAT), (SIGNAL, REPEAT)])
def test_a_time_in_the_future_suppresses_nothing(
    recurrence: Recurrence,
    expected: Action,
    state: State,
    resend: bool,  # noqa: FBT001
) -> None:
    """What happens once has no other id to go out with."""
    assert action(recurrence, known(state, -1), resend=resend) is expected


def test_of_a_refused_event_in_the_future_only_the_retry_is_recognised() -> None:
    assert action(STATE, known(RETRY_PENDING, ago=-HOUR, attempt_ago=-HOUR)) is REPEAT
    assert action(STATE, known(RETRY_PENDING, ago=-HOUR, attempt_ago=30 * SECOND)) is RETRY


# The intervals.


@every_retry
def test_each_retry_of_auroras_schedule_fits_its_interval(retry: Interval) -> None:
    assert interval_of(SCHEDULE[retry]) is retry
    assert retry in RETRIES


def test_a_retry_fits_although_the_attempts_before_it_were_never_seen() -> None:
    waits = list(SCHEDULE.items())
    for first in range(len(waits)):
        for last in range(first, len(waits)):
            elapsed = sum(wait for _, wait in waits[first : last + 1])
            assert interval_of(elapsed) is waits[last][0], f"{first} to {last}"


def test_the_intervals_do_not_touch() -> None:
    found = [interval_of(second * SECOND) for second in range(30 * 3600)]
    changes = [found[0], *(after for before, after in pairwise(found) if after is not before)]
    assert changes == [Interval.ECHO, *(part for retry in SCHEDULE for part in (retry, Interval.NONE))]


@given(st.integers(min_value=-DAY, max_value=20 * SECOND - 1))
def test_what_comes_at_once_is_an_echo_also_when_the_clock_went_back(elapsed: int) -> None:
    assert interval_of(elapsed) is Interval.ECHO


# Ids.


@pytest.mark.parametrize(
    ("recurrence", "complete", "expected"),
    [
        (ONCE, True, FINGERPRINT),
        (ONCE, False, FINGERPRINT),
        (STATE, True, f"{FINGERPRINT}.20261123"),
        (STATE, False, f"{FINGERPRINT}.20261123T172405123"),
        (SIGNAL, True, f"{FINGERPRINT}.20261123T172405123"),
        (SIGNAL, False, f"{FINGERPRINT}.20261123T172405123"),
    ],
)
def test_the_id_of_a_new_event_follows_from_its_recurrence_and_from_whether_all_is_known(
    recurrence: Recurrence,
    complete: bool,  # noqa: FBT001
    expected: str,
) -> None:
    id_ms = new_id_ms(recurrence, NOW, complete=complete)
    assert event_id(FINGERPRINT, recurrence, NOW, id_ms) == expected


def test_a_state_of_another_day_has_another_id() -> None:
    midnight = NOW - NOW % DAY
    ids = [event_id(FINGERPRINT, STATE, time_ms, 0) for time_ms in (midnight - 1, midnight, midnight + DAY - 1)]
    assert ids == [f"{FINGERPRINT}.20261122", f"{FINGERPRINT}.20261123", f"{FINGERPRINT}.20261123"]


# Anything.


@given(
    st.sampled_from(Recurrence),
    st.builds(
        Known,
        state=st.sampled_from(State),
        time_ms=st.integers(NOW - 31 * DAY, NOW + HOUR),
        attempt_ms=st.integers(NOW - 31 * DAY, NOW + HOUR),
    ),
    st.sampled_from([0, MINUTE, DAY]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_known_only_what_is_durable_is_suppressed_and_only_what_is_in_flight_is_joined(  # noqa: PLR0913, PLR0917 - drawn
    recurrence: Recurrence,
    before: Known,
    window: int,
    latest: bool,  # noqa: FBT001
    complete: bool,  # noqa: FBT001
    resend: bool,  # noqa: FBT001
) -> None:
    action, interval = decide(recurrence, before, NOW, window, is_latest=latest, complete=complete, resend=resend)
    same_event = {IN_FLIGHT: JOIN, SEEN: DUPLICATE, RETRY_EXPECTED: DUPLICATE, RETRY_PENDING: RETRY}[before.state]
    assert action in (REPEAT, same_event)
    if action is DUPLICATE:
        assert before.time_ms <= NOW
        assert recurrence is not SIGNAL or resend
    expected = before.state is RETRY_EXPECTED and interval in RETRIES
    if action is DUPLICATE and recurrence is STATE and not (resend or expected):
        assert latest
        assert complete
        assert NOW - before.time_ms <= window
