"""Aurora's attempts of the last 48 h: what counts, what is forgotten, and how near Aurora is to switching off."""

from math import inf

import pytest

from aurora_bridge.auto_disable.attempts import DISABLED_AT, NO_ROUTE, WARNED_AT, Attempts, Subscription

ROUTE, EVENT = "default", "lead_created"
MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
BEGAN = 500_000 * HOUR
"""The beginning of an hour, about 2027."""


def enter(attempts: Attempts, count: int, at: int = BEGAN, *, failed: bool = True, route: str = ROUTE) -> None:
    for _ in range(count):
        attempts.enter((route, EVENT), at, failed=failed)


def only(attempts: Attempts, now: int = BEGAN) -> Subscription:
    (found,) = attempts.evaluate(now)
    return found


def test_attempts_and_failures_are_counted_by_route_and_event() -> None:
    attempts = Attempts()
    attempts.enter(("a", "lead_created"), BEGAN, failed=False)
    attempts.enter(("a", "lead_created"), BEGAN, failed=True)
    attempts.enter(("a", "lead_changed"), BEGAN, failed=True)
    attempts.enter(("b", "lead_changed"), BEGAN, failed=False)
    assert attempts.evaluate(BEGAN) == [
        ("a", "lead_created", 2, 1, 1, inf),
        ("a", "lead_changed", 1, 1, 1, inf),
        ("b", "lead_changed", 1, 0, 0, inf),
    ]


@pytest.mark.parametrize(("later", "counted"), [(48 * HOUR, 30), (48 * HOUR + 15 * MINUTE, 0)])
def test_what_is_older_than_48_hours_counts_no_more_and_is_no_risk(later: int, counted: int) -> None:
    attempts = Attempts()
    enter(attempts, 30)
    found = only(attempts, BEGAN + later)
    assert (found.attempts, found.failures, found.in_a_row, found.at_risk) == (counted, counted, counted, counted > 0)


def test_the_window_slides() -> None:
    attempts = Attempts()
    for hour in range(60):
        enter(attempts, 1, BEGAN + hour * HOUR)
        assert only(attempts, BEGAN + hour * HOUR).failures == min(hour + 1, 49)  # both ends of 48 h


@pytest.mark.parametrize(("failures", "at_risk"), [(WARNED_AT - 1, False), (WARNED_AT, True)])
def test_there_is_a_risk_once_so_many_failed_in_a_row(failures: int, *, at_risk: bool) -> None:
    attempts = Attempts()
    enter(attempts, 500, failed=False)
    enter(attempts, failures)
    assert only(attempts).at_risk is at_risk


def test_the_risk_comes_before_aurora_acts_though_each_of_five_replicas_knows_its_own_alone() -> None:
    assert 5 * WARNED_AT <= DISABLED_AT


def test_one_success_ends_the_risk_and_the_failures_stay_counted() -> None:
    attempts = Attempts()
    enter(attempts, 200)
    enter(attempts, 1, failed=False)
    assert only(attempts) == (ROUTE, EVENT, 201, 200, 0, inf)
    enter(attempts, WARNED_AT)
    assert only(attempts).in_a_row == WARNED_AT


def test_failures_among_successes_are_no_risk_however_many() -> None:
    attempts = Attempts()
    for _ in range(1000):
        enter(attempts, WARNED_AT - 1)
        enter(attempts, 1, failed=False)
    assert not only(attempts).at_risk


def test_the_time_left_is_that_at_the_rate_of_the_row() -> None:
    attempts = Attempts()
    enter(attempts, 50, BEGAN, failed=False)
    for minute in range(40):  # one a minute: 60 more take an hour
        enter(attempts, 1, BEGAN + minute * MINUTE)
    assert only(attempts, BEGAN + 40 * MINUTE).seconds_left == 3600


def test_of_a_long_row_the_last_hour_is_the_present_rate() -> None:
    attempts = Attempts()
    enter(attempts, 10)
    enter(attempts, 10, BEGAN + 10 * HOUR)
    assert only(attempts, BEGAN + 11 * HOUR).seconds_left == 80 / 10 * 3600
    assert only(attempts, BEGAN + 13 * HOUR).seconds_left == inf


def test_failures_before_a_success_are_no_part_of_the_rate() -> None:
    attempts = Attempts()
    enter(attempts, 500)
    enter(attempts, 1, failed=False)
    for minute in range(50):
        enter(attempts, 1, BEGAN + minute * MINUTE)
    assert only(attempts, BEGAN + 50 * MINUTE).seconds_left == 3000


def test_from_the_hundredth_on_no_time_is_left() -> None:
    attempts = Attempts()
    enter(attempts, DISABLED_AT)
    assert only(attempts, BEGAN + 30 * HOUR).seconds_left == 0


def test_a_burst_within_one_moment_has_a_time_left() -> None:
    attempts = Attempts()
    enter(attempts, DISABLED_AT - 1)
    assert 0 < only(attempts).seconds_left < 1


def test_what_has_no_route_is_at_risk_until_its_event_comes_by_one() -> None:
    attempts = Attempts()
    enter(attempts, 30, route=NO_ROUTE)
    attempts.enter((ROUTE, "lead_changed"), BEGAN, failed=False)
    assert [one.event for one in attempts.evaluate(BEGAN) if one.at_risk] == [EVENT]
    enter(attempts, 1, failed=True)
    assert [one.event for one in attempts.evaluate(BEGAN) if one.at_risk] == [EVENT]
    enter(attempts, 1, failed=False)
    assert [one.event for one in attempts.evaluate(BEGAN) if one.at_risk] == []


def test_a_restart_forgets_nothing() -> None:
    before, after = Attempts(), Attempts()
    enter(before, 40, failed=False)
    for minute in range(40):
        enter(before, 1, BEGAN + minute * MINUTE)
    enter(before, 30, route=NO_ROUTE)
    after.load(before.dump())
    later = BEGAN + 40 * MINUTE
    assert after.evaluate(later) == before.evaluate(later)
    assert after.dump() == before.dump()
    enter(after, 1, later, failed=False)
    assert not any(one.at_risk for one in after.evaluate(later))


def test_the_last_success_of_each_event_is_known_after_a_restart_and_when_the_window_has_left_it_behind() -> None:
    before, after = Attempts(), Attempts()
    before.enter(("a", "lead_created"), BEGAN, failed=False)
    before.enter(("b", "lead_created"), BEGAN + HOUR, failed=False)
    before.enter(("a", "lead_created"), BEGAN + 2 * HOUR, failed=True)
    before.enter(("a", "lead_changed"), BEGAN, failed=True)
    before.evaluate(BEGAN + 20 * 24 * HOUR)
    after.load(before.dump())
    assert after.last_accepted() == {"lead_created": BEGAN + HOUR}
    assert after.accepted_lately(("a", "lead_created"), BEGAN + 29 * 24 * HOUR)
    assert not after.accepted_lately(("a", "lead_created"), BEGAN + 31 * 24 * HOUR)
    assert not after.accepted_lately(("a", "lead_changed"), BEGAN)
    assert not after.accepted_lately(("c", "lead_created"), BEGAN)


def test_what_an_older_version_wrote_is_taken() -> None:
    attempts = Attempts()
    attempts.load(f'[["{ROUTE}","{EVENT}",1,{BEGAN},[[{BEGAN // (15 * MINUTE)},3,1]]]]')
    assert only(attempts) == (ROUTE, EVENT, 3, 1, 1, inf)
    assert attempts.last_accepted() == {}


@pytest.mark.parametrize(
    "line",
    [
        *("", "{", "7", "null", "[7]", "[[]]"),
        *('[["a","b",1,1,[[1,2]]]]', '[["a","b",1,1,7]]', '[["a","b",null,1,[]]]'),
        *('[["a","b",1,1e300,[]]]', '[["a","b",1,1,[[1,2,-2]]]]'),
    ],
)
def test_anything_else_is_refused_and_nothing_of_it_taken(line: str) -> None:
    attempts = Attempts()
    with pytest.raises(ValueError, match=r"."):
        attempts.load(line)
    assert attempts.evaluate(BEGAN) == []


def test_a_clock_that_was_ahead_leaves_nothing_behind() -> None:
    attempts = Attempts()
    enter(attempts, 30, BEGAN + 24 * 365 * HOUR)
    assert not only(attempts).at_risk
    enter(attempts, WARNED_AT)
    assert only(attempts).failures == WARNED_AT


def test_memory_is_bounded() -> None:
    attempts = Attempts()
    for quarter in range(5000):
        enter(attempts, 1, BEGAN + quarter * 15 * MINUTE)
        attempts.evaluate(BEGAN + quarter * 15 * MINUTE)
    assert len(attempts.dump()) < 200 * 20
