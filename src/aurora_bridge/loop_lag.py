"""How late the event loop wakes up, which delays every delivery: a metric, and a log line for a long delay."""

import asyncio
import logging
from time import monotonic

from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.25
_HELD_UP_SECONDS = 1.0
"""A tenth of Aurora's budget: from here on a late wake-up gets a line."""
_LINES_A_MINUTE = 20


async def measure(metrics: Metrics) -> None:
    """Measure until cancelled. A long delay is over before Prometheus scrapes, so it is logged."""
    quota = Quota(_LINES_A_MINUTE, monotonic)
    while True:
        due = monotonic() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        lag = max(0.0, monotonic() - due)
        metrics.loop_lag_seconds[()].observe(lag)
        metrics.settle()  # four times a second is often enough for the histograms, too
        if lag > _HELD_UP_SECONDS and (left_out := quota.take()) is not None:
            more = fields(seconds=round(lag, 3), **({"left_out": left_out} if left_out else {}))
            log.warning("the event loop was held up, and every webhook with it", extra=more)
