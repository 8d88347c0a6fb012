"""What a daemon costs before its first webhook: time to import and to listen, memory and CPU at rest."""

from __future__ import annotations

import dataclasses
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench import servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.runs import Contender

IMPORT = "from time import perf_counter as now; t = now(); import aurora_bridge.cli.serve; print(now() - t)"


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Seconds, one for each round."""

    server: str
    seconds: list[float]

    def show(self, what: str) -> None:
        """Print them."""
        low, middle, high = min(self.seconds), statistics.median(self.seconds), max(self.seconds)
        print(f"{self.server}: {what} {middle:.2f} s ({low:.2f} to {high:.2f})", flush=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Idle:
    """What a daemon used without a webhook."""

    server: str
    seconds: float
    cpu: float
    """Seconds of CPU time a second."""
    megabytes: float


def imports(rounds: int, sources: Mapping[str, Path]) -> list[Times]:
    """Measure how long a new interpreter takes to import the daemon, in turns."""
    found: dict[str, list[float]] = {name: [] for name in sources}
    for number in range(rounds + 1):
        for name in random.sample(sorted(sources), len(sources)):
            environment = os.environ | {"PYTHONPATH": str(sources[name])}
            done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, stdout=subprocess.PIPE, check=True)
            if number:  # the first one reads the disk
                found[name].append(float(done.stdout))
    return [Times(name, seconds) for name, seconds in found.items()]


def starts(rounds: int, daemons: Mapping[str, Contender], folder: Path, bootstrap: str) -> list[Times]:
    """Measure the time from a daemon's start to its first accepted connection, in turns."""
    found: dict[str, list[float]] = {name: [] for name in daemons}
    for number in range(rounds):
        for name in random.sample(sorted(daemons), len(daemons)):
            with daemons[name](folder / f"{name}-{number}", bootstrap) as server:
                found[name].append(server.listening_after)
    return [Times(name, seconds) for name, seconds in found.items()]


def idle(seconds: float, daemons: Sequence[Contender], folder: Path, bootstrap: str) -> list[Idle]:
    """Start all daemons, and measure what they use while nothing comes."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(daemon(folder / str(number), bootstrap)) for number, daemon in enumerate(daemons)
        ]
        for server in running:
            servers.wait_for_kafka(server)
        before, began = [servers.cpu_seconds(server.pid) for server in running], time.perf_counter()
        time.sleep(seconds)
        used = [servers.cpu_seconds(server.pid) - cpu for server, cpu in zip(running, before, strict=True)]
        wall = time.perf_counter() - began
        return [
            Idle(server.name, wall, cpu / wall, servers.resident_megabytes(server.pid)[0])
            for server, cpu in zip(running, used, strict=True)
        ]
