"""What the simulator costs (`python -m bench simulator`): 2,000 webhooks a second, to the hello-world.

Its clock goes a day a second, so that after some seconds as many stories end as begin. Its ledger is full after 50 s,
the things that its API serves after 200 s: from then on its memory has to be flat. It prints a line for each attempt,
as into any pipe; these are counted.
"""

from __future__ import annotations

import sys
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from aurora_bridge.simulator.aurora import LEDGER_DELIVERIES
from aurora_bridge.simulator.stories import STORIES
from bench.servers import cpu_seconds, hello_world, resident_megabytes, running
from tests.support.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 2000
SPEED = 86_400
"""Simulated seconds a second."""
STORIES_PER_DAY = RATE * len(STORIES) / sum(map(len, STORIES.values()))
STEP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one step."""

    webhooks: int
    """Since the start."""
    per_second: float
    cores: float
    """CPU seconds a second."""
    megabytes: float
    """Resident at its end."""


def measure(seconds: int, folder: Path) -> list[Figures]:
    """Measure for so long, and print each step."""
    print(f"simulator: {RATE:,} webhooks a second; the ledger is full after {LEDGER_DELIVERIES:,}", flush=True)
    found = []
    for figures in _steps(seconds, folder):
        print(
            "{:>9,} webhooks, {:5,.0f} a second, {:.2f} cores, {:4.0f} MB resident".format(*astuple(figures)),
            flush=True,
        )
        found.append(figures)
    return found


def _steps(seconds: int, folder: Path) -> Iterator[Figures]:
    (port,) = free_ports(1)
    with hello_world(folder / "hello", "") as hello:
        options = ("--to", f"http://{HOST}:{hello.port}", "--rate", str(STORIES_PER_DAY), "--speed", str(SPEED))
        command = (sys.executable, "-m", "aurora_bridge", "simulate", "run", "--port", str(port), *options)
        with (
            running("simulator", command, {}, folder / "simulator", port) as simulator,
            simulator.log.open("rb") as log,
        ):
            webhooks, at, cpu = _lines(log.read()), time.perf_counter(), cpu_seconds(simulator.pid)
            for _ in range(0, seconds, STEP_SECONDS):
                time.sleep(STEP_SECONDS)
                before = webhooks, at, cpu
                webhooks, at, cpu = webhooks + _lines(log.read()), time.perf_counter(), cpu_seconds(simulator.pid)
                wall = at - before[1]
                megabytes, _ = resident_megabytes(simulator.pid)
                yield Figures(webhooks, (webhooks - before[0]) / wall, (cpu - before[2]) / wall, megabytes)


def _lines(written: bytes) -> int:
    return written.count(b"\n")
