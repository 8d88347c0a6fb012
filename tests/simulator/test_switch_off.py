"""The rule by which Aurora switches a subscription off, at its bounds."""

import pytest

from aurora_bridge.simulator.switch_off import LEAST_ATTEMPTS, WINDOW_SECONDS, Window
from tests.simulator.acting import BEGIN


def window(attempts: int, *, retry: bool = True, succeeded: bool = False) -> Window:
    counted = Window()
    for _ in range(attempts):
        counted.count(BEGIN, retry=retry, succeeded=succeeded)
    return counted


@pytest.mark.parametrize(("attempts", "condemned"), [(LEAST_ATTEMPTS - 1, False), (LEAST_ATTEMPTS, True)])
def test_100_attempts_are_needed(attempts: int, condemned: bool) -> None:  # noqa: FBT001 - a parameter of a test
    assert window(attempts).condemns(BEGIN) is condemned


def test_what_left_the_window_does_not_count() -> None:
    assert window(200).condemns(BEGIN + WINDOW_SECONDS - 60)
    assert not window(200).condemns(BEGIN + WINDOW_SECONDS)


def test_a_retry_that_succeeded_saves_a_subscription_and_a_first_attempt_does_not() -> None:
    assert window(200, retry=False, succeeded=True).condemns(BEGIN)
    assert not window(200, retry=True, succeeded=True).condemns(BEGIN)
