"""A leak is told from noise."""

import random

from tests.faults.trend import trend

NOISE = random.Random(1)
STEADY = [(x, 1000 + NOISE.gauss(0, 50)) for x in range(600)]


def test_what_only_fluctuates_does_not_grow() -> None:
    assert not trend(STEADY).surely_above(0)


def test_what_grows_is_told_with_its_slope_and_how_sure_that_is() -> None:
    found = trend([(x, y + 0.5 * x) for x, y in STEADY])
    assert abs(found.slope - 0.5) < 3 * found.error
    assert found.surely_above(0.3)
    assert not found.surely_above(0.5)


def test_a_staircase_is_no_surer_than_its_steps() -> None:
    assert not trend([(x, x // 300 * 4096) for x in range(600)]).surely_above(8)


def test_too_little_tells_nothing() -> None:
    assert not trend([(0, 0), (1, 1)]).surely_above(0)
