"""Whether memory grows: webhooks by the clock for a long time, and a straight line through the resident memory.

The line is least squares over the second half of the time: until then caches fill. Each sample's webhooks come on
connections of their own, so that connections come and go, too. An index grows, and its Bloom filter with it, until it
is full: with a small one, what still grows is a leak.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Load, webhooks
from bench.runs import check_answers
from bench.servers import Variant
from tests.faults.trend import trend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.runs import Contender
    from bench.servers import Server

FULL_INDEX = Variant(settings={"INDEX__MAX_BYTES": "16MiB"})
"""Some 200,000 events."""
CONNECTIONS = 16
SAMPLE_SECONDS, FEWEST_SAMPLES = 10.0, 40
QUANTILE = 2.10
"""Of Student's t for 95 %, with the 18 degrees of freedom that 20 blocks of samples leave."""
SHOWN = 20
"""Samples that are printed on the way."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What one daemon's memory did."""

    server: str
    rate: float
    samples: list[tuple[int, float]]
    """(webhooks, MB)."""
    slope: float
    """Bytes a webhook, over the second half."""
    margin: float
    """Of the 95 % confidence interval: the slope give or take this."""

    @classmethod
    def of(cls, server: str, rate: float, samples: list[tuple[int, float]]) -> Figures:
        """Draw the line."""
        line = trend([(webhooks, 1e6 * megabytes) for webhooks, megabytes in samples[len(samples) // 2 :]])
        return cls(server, rate, samples, line.slope, QUANTILE * line.error)


def measure(seconds: float, rate: float, daemons: Sequence[Contender], folder: Path, bootstrap: str) -> list[Figures]:
    """Send webhooks to all daemons at once, each at this rate, for so long."""
    steps = max(FEWEST_SAMPLES, int(seconds / SAMPLE_SECONDS))
    count = max(1, round(rate * seconds / steps))
    with ExitStack() as stack:
        running = [
            stack.enter_context(daemon(folder / str(number), bootstrap)) for number, daemon in enumerate(daemons)
        ]
        for server in running:
            servers.wait_for_kafka(server)
        pool = stack.enter_context(ThreadPoolExecutor(len(running)))
        samples: dict[str, list[tuple[int, float]]] = {server.name: [] for server in running}
        for step in range(1, steps + 1):
            list(pool.map(partial(_deliver, count, rate), running))
            for server in running:
                samples[server.name].append((step * count, servers.resident_megabytes(server.pid)[0]))
            if step % (steps // SHOWN) == 0:
                now = ", ".join(f"{name} {taken[-1][1]:.1f} MB" for name, taken in samples.items())
                print(f"after {step * count:>10,} webhooks: {now}", flush=True)
        return [Figures.of(name, rate, taken) for name, taken in samples.items()]


def show(figures: Figures) -> None:
    """Print the slope."""
    a_day = 50 * 86_400 / 1e6
    print(
        f"{figures.server}: memory grows by {figures.slope:.2f} ± {figures.margin:.2f} bytes a webhook, that is "
        f"{figures.slope * a_day:.1f} ± {figures.margin * a_day:.1f} MB a day at 50/s",
        flush=True,
    )


def _deliver(count: int, rate: float, server: Server) -> None:
    with Load(server.port, CONNECTIONS) as load:
        load.run(list(islice(webhooks(), count)), rate)
    check_answers(server, load.outcomes)
