"""The daemon on the clock of the fault tests: `launch.py CLOCK SWITCH serve`.

Aurora tries again after 30 s to 20 h; here all of it is `CLOCK` times as fast, and the daemon's idea of when a retry is
due has to be, too. The intervals are wider than the product's, by what a busy machine adds; `tests/dedup` tests those.
SWITCH is one of `mutants` or `hooks`, or `none`.

With FAULTS_DAY_SECONDS in the environment, a day of the index lasts so long. The metrics have two more, of what may not
grow: the tasks of the event loop, and the blocks of memory that Python's objects take.
"""

import asyncio
import os
import sys
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aurora_bridge import cli, daemon
from aurora_bridge.dedup import index_file, recurrence, segments
from aurora_bridge.metrics import Metrics
from aurora_bridge.web.connection import Connection
from tests.faults.hooks import HOOKS
from tests.faults.mutants import MUTANTS


def run_faster(clock: float) -> None:
    """Make Aurora's schedule so many times as fast."""
    due = [seconds * 1000 / clock for _, seconds in recurrence.SCHEDULE]
    ends = [*(after / 2 for after in due[1:]), due[-1] * 3]
    intervals = zip(recurrence._INTERVALS, (after / 2 for after in due), ends, strict=True)
    recurrence._INTERVALS = tuple((interval, begin, end) for (interval, _, _), begin, end in intervals)


def expire_faster(day_seconds: float) -> None:
    """Make a day of the index so long; it looks for what is too old eight times in that."""
    index_file._DAY_MS = int(day_seconds * 1000)
    segments._DAY_MS = int(day_seconds * 1000)
    index_file._STEP_SECONDS = day_seconds / 8


class Growth(Collector):
    """How many tasks the event loop has, without those of connections, and how many blocks of memory are in use."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        others = sum(name != Connection.start.__qualname__ for name in names)
        yield GaugeMetricFamily("faults_tasks", "Tasks of the event loop without those of connections.", others)
        yield GaugeMetricFamily("faults_blocks", "Blocks of memory of Python's objects.", sys.getallocatedblocks())


def tell_growth() -> None:
    """Add these to the daemon's metrics."""
    make = daemon.make_metrics

    def counting(*, subscriptions: bool = True) -> Metrics:
        metrics = make(subscriptions=subscriptions)
        metrics.registry.register(Growth())
        return metrics

    daemon.make_metrics = counting


if __name__ == "__main__":
    run_faster(float(sys.argv[1]))
    tell_growth()
    if "FAULTS_DAY_SECONDS" in os.environ:
        expire_faster(float(os.environ["FAULTS_DAY_SECONDS"]))
    if sys.argv[2] != "none":
        (MUTANTS | HOOKS)[sys.argv[2]]()
    sys.argv[1:] = sys.argv[3:]
    sys.exit(cli.main())
