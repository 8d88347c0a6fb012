"""How late the event loop is, and what is said of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from aurora_bridge import loop_lag
from aurora_bridge.metrics import Metrics

LONG = 1.1
"""Seconds for which a test holds the loop up: worth a line."""


@pytest.fixture
async def metrics() -> AsyncIterator[Metrics]:
    """Those of a loop that is measured all the time."""
    measured = Metrics()
    with patch.object(loop_lag, "_TICK_SECONDS", 0):
        measure = asyncio.create_task(loop_lag.measure(measured))
        await asyncio.sleep(0)
        yield measured
        measure.cancel()
        await asyncio.gather(measure, return_exceptions=True)


async def test_a_long_stop_of_the_loop_is_measured_and_logged(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    time.sleep(LONG)  # noqa: ASYNC251 - holds the loop up
    await asyncio.sleep(0)
    assert metrics.loop_lag_seconds[()].sum >= LONG
    (record,) = caplog.records
    assert record.getMessage() == "the event loop was held up, and every webhook with it"
    assert record.fields["seconds"] >= LONG  # type: ignore[attr-defined]


async def test_an_ordinary_delay_is_not_logged(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert sum(metrics.loop_lag_seconds[()].counts) > 0
    assert metrics.loop_lag_seconds[()].sum < LONG
    assert caplog.records == []


async def test_observations_are_counted_before_they_fill_the_memory(metrics: Metrics) -> None:
    """Also where nobody reads the metrics."""
    series = metrics.response_seconds["published"]
    series.observe(0.5)
    for _ in range(3):
        await asyncio.sleep(0)
    assert series._new == []  # noqa: SLF001
    assert sum(series.counts) == 1
    assert series.sum == 0.5
