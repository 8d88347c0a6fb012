"""How late the event loop is, and what is said of it."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from aurora_bridge import loop_lag
from aurora_bridge.metrics import Metrics

LONG, SHORT = 1.1, 0.9
"""Seconds by which the loop is late: worth a line, or not."""


class Clock:
    """The loop's clock: it stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.metrics = Metrics()

    async def late(self, seconds: float) -> None:
        """Let the loop be late once, and then let it measure."""
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    """The clock of a loop that is measured all the time."""
    clock = Clock()
    with patch.object(loop_lag, "_TICK_SECONDS", 0), patch.object(loop_lag, "monotonic", lambda: clock.now):
        measure = asyncio.create_task(loop_lag.measure(clock.metrics))
        await asyncio.sleep(0)
        yield clock
        measure.cancel()
        await asyncio.gather(measure, return_exceptions=True)


async def test_a_long_stop_of_the_loop_is_measured_and_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    await clock.late(LONG)
    assert clock.metrics.loop_lag_seconds[()].sum == pytest.approx(LONG)
    (record,) = caplog.records
    assert record.getMessage() == "the event loop was held up, and every webhook with it"
    assert record.fields["seconds"] == LONG  # type: ignore[attr-defined]


async def test_an_ordinary_delay_is_not_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        await clock.late(SHORT)
    assert clock.metrics.loop_lag_seconds[()].sum == pytest.approx(3 * SHORT)
    assert caplog.records == []


async def test_observations_are_counted_before_they_fill_the_memory(clock: Clock) -> None:
    """Also where nobody reads the metrics."""
    series = clock.metrics.response_seconds["published"]
    series.observe(0.5)
    await clock.late(0.0)
    assert series._new == []  # noqa: SLF001
    assert sum(series.counts) == 1
    assert series.sum == 0.5
