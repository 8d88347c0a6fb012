"""What is measured, and in which order.

In a scenario all servers run at the same time, each fresh and warmed up; in a round each of them is measured while the
others are idle, in an order that is shuffled for every round, so that the noise of the machine hits all alike. Medians
of the rounds are the scenario's figures; a ratio is the median of the rounds' own ratios. Memory after many webhooks
and the time to listen are runs of their own. `servers` has the processes, `load` the other end of the wire.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Result
from bench.servers import Server
from tests.support.topics import count_records, topic_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WARM_UP_WEBHOOKS = 2_000
MILLION_STEPS = 10

Contender = Callable[[Path, str], AbstractContextManager[Server]]
"""Runs a server in a folder of its own, with a Kafka to write to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load: `rate` webhooks a second by the clock, or, without a rate, as fast as the answers come."""

    name: str
    connections: int
    count: int
    rate: float | None = None


SCENARIOS = (
    Scenario("64", connections=64, count=40_000),
    Scenario("256", connections=256, count=40_000),
    Scenario("2000/s", connections=64, count=10_000, rate=2_000),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What one server did in one scenario."""

    server: str
    rounds: list[Result]
    megabytes: float
    megabytes_peak: float
    outcomes: dict[str, int]
    """What a daemon says became of its webhooks, those of the warm-up among them."""

    @classmethod
    def of(cls, server: Server, rounds: list[Result]) -> Record:
        """Add to a server's rounds what is known of it at their end."""
        return cls(server.name, rounds, *servers.resident_megabytes(server.pid), _outcomes(server))

    def median(self, figure: str) -> float:
        """Return the median of a figure (an attribute of `Result`) over the rounds."""
        return float(statistics.median(getattr(result, figure) for result in self.rounds))

    def cpu_ratio(self, other: Record) -> float:
        """Return the CPU time a webhook in units of another server's."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine.cpu_per_webhook / its.cpu_per_webhook for mine, its in pairs)


def compare(
    scenario: Scenario, rounds: int, contenders: Sequence[Contender], folder: Path, bootstrap: str
) -> list[Record]:
    """Measure servers in turns."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(contender(folder / str(number), bootstrap))
            for number, contender in enumerate(contenders)
        ]
        results = interleave(scenario, rounds, running)
        for server in running:
            _check_stored(server, WARM_UP_WEBHOOKS + rounds * scenario.count, bootstrap)
        return [Record.of(server, results[server.name]) for server in running]


def interleave(scenario: Scenario, rounds: int, running: Sequence[Server]) -> dict[str, list[Result]]:
    """Warm the servers up and measure them in turns; return each one's rounds, by its name."""
    for server in running:
        if server.admin_port is not None:
            servers.wait_for_kafka(server)
        load(server, dataclasses.replace(scenario, count=WARM_UP_WEBHOOKS, rate=None))
    results: dict[str, list[Result]] = {server.name: [] for server in running}
    for _ in range(rounds):
        for server in random.sample(running, len(running)):
            results[server.name].append(load(server, scenario))
    return results


def memory(webhooks: int, connections: int, folder: Path, bootstrap: str) -> Iterator[tuple[int, float, float]]:
    """Send so many webhooks to one daemon; yield (webhooks, MB, peak MB) before, on the way and at the end."""
    step = Scenario("memory", connections, webhooks // MILLION_STEPS)
    with servers.daemon(folder / "memory", bootstrap) as daemon:
        servers.wait_for_kafka(daemon)
        yield 0, *servers.resident_megabytes(daemon.pid)
        for number in range(1, MILLION_STEPS + 1):
            load(daemon, step)
            yield number * step.count, *servers.resident_megabytes(daemon.pid)


def seconds_to_listen(rounds: int, daemon: Contender, folder: Path, bootstrap: str) -> float:
    """Return the median time from the daemon's start to its first accepted connection."""
    seconds = []
    for number in range(rounds):
        with daemon(folder / str(number), bootstrap) as server:
            seconds.append(server.listening_after)
    return statistics.median(seconds)


def load(server: Server, scenario: Scenario) -> Result:
    """Send the scenario's webhooks to a server. A webhook that is not answered with 200 ends the run."""
    arguments = dataclasses.asdict(scenario) | {"port": server.port, "pid": server.pid}
    del arguments["name"]
    command = [sys.executable, "-m", "bench.load", json.dumps(arguments)]
    generator = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    result = Result(**json.loads(generator.stdout)) if generator.returncode == 0 else None
    if result is None or result.outcomes.keys() != {"200"}:
        outcomes = result.outcomes if result else "it is gone"
        message = f"FAILED: {server.name} did not answer every webhook with 200: {outcomes}\n{server.last_words}"
        raise SystemExit(message)
    return result


def _check_stored(server: Server, answered: int, bootstrap: str) -> None:
    """End the run unless Kafka has a record for each webhook that was answered; what waits in a spool may come yet."""
    if server.topic_prefix is None:
        return
    deadline = time.perf_counter() + servers.PATIENCE_SECONDS
    while (stored := count_records(bootstrap, topic_names(bootstrap, server.topic_prefix))) < answered:
        if time.perf_counter() > deadline:
            message = f"FAILED: {server.name} answered {answered:,} webhooks with 200, but Kafka has {stored:,} records"
            raise SystemExit(message)
        time.sleep(0.1)


def _outcomes(server: Server) -> dict[str, int]:
    if server.admin_port is None:
        return {}
    outcomes: Counter[str] = Counter()
    for series, value in servers.metrics(server).items():
        if series.startswith("aurora_bridge_deliveries_total{") and (outcome := re.search(r'outcome="(\w+)"', series)):
            outcomes[outcome[1]] += int(value)
    return {outcome: count for outcome, count in outcomes.items() if count}
