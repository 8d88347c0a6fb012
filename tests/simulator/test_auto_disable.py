"""The rule by which Aurora switches a subscription off, at its bounds, and that the daemon's guard reads it alike."""

from random import Random

import pytest

from aurora_bridge.auto_disable.attempts import DISABLED_AT, Attempts
from aurora_bridge.simulator.auto_disable import LEAST_ATTEMPTS, WINDOW_SECONDS, Window
from tests.simulator.acting import BEGIN, DAY, EVENT


def window(failures: int) -> Window:
    counted = Window()
    for _ in range(failures):
        counted.count(BEGIN, succeeded=False)
    return counted


@pytest.mark.parametrize(("attempts", "condemned"), [(LEAST_ATTEMPTS - 1, False), (LEAST_ATTEMPTS, True)])
def test_100_attempts_are_needed(attempts: int, condemned: bool) -> None:  # noqa: FBT001 - a parameter of a test
    assert window(attempts).condemns(BEGIN) is condemned


def test_what_left_the_window_does_not_count() -> None:
    assert window(200).condemns(BEGIN + WINDOW_SECONDS - 1)
    assert not window(200).condemns(BEGIN + WINDOW_SECONDS)


def test_an_attempt_that_succeeded_in_the_window_saves_a_subscription() -> None:
    counted = Window()
    counted.count(BEGIN, succeeded=True)
    for _ in range(LEAST_ATTEMPTS):
        counted.count(BEGIN + DAY, succeeded=False)
    assert not counted.condemns(BEGIN + WINDOW_SECONDS - 1)
    assert counted.condemns(BEGIN + WINDOW_SECONDS)


def test_the_guard_of_the_daemon_sees_no_time_left_wherever_the_rule_holds() -> None:
    random, now, condemned = Random(1), BEGIN, 0
    attempts, counted = Attempts(), Window()
    for _ in range(20_000):
        now += random.choice((1, 600, 1800))
        succeeded = random.random() < 0.005
        attempts.enter(("default", EVENT), int(now * 1e6), failed=not succeeded)
        counted.count(now, succeeded=succeeded)
        if counted.condemns(now):
            (seen,) = attempts.evaluate(int(now * 1e6))
            assert (seen.in_a_row >= DISABLED_AT, seen.seconds_left) == (True, 0)
            condemned += 1
    assert condemned > 100
