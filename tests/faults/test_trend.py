"""A leak is told from noise, and from what only fills."""

import random

import pytest

from tests.faults.scenarios.soak import Look, leaking, too_short_for
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


def looks(seconds: int, rate: int, *, leaked_bytes: float = 0, leaked_blocks: float = 0) -> list[Look]:
    """Return a soak's looks at a daemon whose caches fill within half an hour, and that leaks with each webhook."""
    return [
        Look(
            at=float(second),
            webhooks=(webhooks := second * rate),
            events=webhooks,
            resident=int(45e6 + min(1, second / 1800) * 25e6 + NOISE.gauss(0, 3e5) + webhooks * leaked_bytes),
            descriptors=24,
            threads=7,
            blocks=400_000 + abs(NOISE.gauss(0, 5000)) + webhooks * leaked_blocks,
            tasks=50,
            index_used=0,
            remembered=0,
            index_files=0,
            spool_files=0,
        )
        for second in range(seconds)
    ]


def test_a_short_soak_does_not_take_filling_caches_for_a_leak_and_says_that_it_is_too_short() -> None:
    # A busy machine's: 5,907 webhooks, which a test failed on.
    short = looks(180, 33, leaked_bytes=6000)
    assert leaking(short) == []
    assert too_short_for("bytes", short)
    assert too_short_for("blocks", short)
    assert not too_short_for("blocks", looks(360, 100))
    assert not too_short_for("bytes", looks(3600, 200))


def test_an_hour_finds_a_leak_of_few_bytes_a_webhook_beside_caches_that_fill() -> None:
    assert leaking(looks(3600, 200)) == []
    (found,) = leaking(looks(3600, 200, leaked_bytes=25))
    assert "bytes" in found


@pytest.mark.parametrize(("seconds", "blocks"), [(120, 5), (300, 1)], ids=["claims", "fingerprints"])
def test_minutes_find_a_leak_of_blocks(seconds: int, blocks: int) -> None:
    assert leaking(looks(seconds, 200)) == []
    (found,) = leaking(looks(seconds, 200, leaked_bytes=80 * blocks, leaked_blocks=blocks))
    assert "blocks" in found
