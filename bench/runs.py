"""What is measured, and in which order.

A scenario gets a fresh daemon and a fresh hello-world, both warmed up, and then rounds in which each is measured while
the other is idle, the order changing from round to round. Medians of the rounds are the scenario's figures; the ratio
is the median of the rounds' own ratios. Memory after many webhooks and the time to listen are runs of their own.
`servers` has the processes, `load` the other end of the wire.
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.servers import Server

WARM_UP_WEBHOOKS = 2_000
MILLION_STEPS = 10


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

    def median(self, figure: str) -> float:
        """Return the median of a figure (an attribute of `Result`) over the rounds."""
        return float(statistics.median(getattr(result, figure) for result in self.rounds))


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The two servers in one scenario."""

    scenario: Scenario
    hello: Record
    daemon: Record
    ratio: float
    """The daemon's webhooks per CPU second in units of the hello-world's."""
    outcomes: dict[str, int]
    """What the daemon says became of its webhooks, those of the warm-up among them."""


def compare(scenario: Scenario, rounds: int, folder: Path, bootstrap: str) -> Comparison:
    """Measure the daemon and the hello-world in turns."""
    with servers.hello_world(folder / "hello") as hello, servers.daemon(folder / "daemon", bootstrap) as daemon:
        servers.wait_for_kafka(daemon)
        warm_up = dataclasses.replace(scenario, count=WARM_UP_WEBHOOKS, rate=None)
        for server in (hello, daemon):
            _load(server, warm_up)
        results: dict[str, list[Result]] = {hello.name: [], daemon.name: []}
        for number in range(rounds):
            for server in (hello, daemon) if number % 2 else (daemon, hello):
                results[server.name].append(_load(server, scenario))
        of_hello, of_daemon = (
            Record(server.name, results[server.name], *servers.resident_megabytes(server.pid))
            for server in (hello, daemon)
        )
        outcomes = _outcomes(daemon)
    pairs = zip(of_hello.rounds, of_daemon.rounds, strict=True)
    ratio = statistics.median(one.cpu_per_webhook / other.cpu_per_webhook for one, other in pairs)
    return Comparison(scenario, of_hello, of_daemon, ratio, outcomes)


def memory(webhooks: int, connections: int, folder: Path, bootstrap: str) -> Iterator[tuple[int, float, float]]:
    """Send so many webhooks to one daemon; yield (webhooks, MB, peak MB) before, on the way and at the end."""
    step = Scenario("memory", connections, webhooks // MILLION_STEPS)
    with servers.daemon(folder / "memory", bootstrap) as daemon:
        servers.wait_for_kafka(daemon)
        yield 0, *servers.resident_megabytes(daemon.pid)
        for number in range(1, MILLION_STEPS + 1):
            _load(daemon, step)
            yield number * step.count, *servers.resident_megabytes(daemon.pid)


def seconds_to_listen(rounds: int, folder: Path, bootstrap: str) -> float:
    """Return the median time from the daemon's start to its first accepted connection."""
    seconds = []
    for number in range(rounds):
        with servers.daemon(folder / str(number), bootstrap) as daemon:
            seconds.append(daemon.listening_after)
    return statistics.median(seconds)


def _load(server: Server, scenario: Scenario) -> Result:
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


def _outcomes(daemon: Server) -> dict[str, int]:
    outcomes: Counter[str] = Counter()
    for series, value in servers.metrics(daemon).items():
        if series.startswith("aurora_bridge_deliveries_total{") and (outcome := re.search(r'outcome="(\w+)"', series)):
            outcomes[outcome[1]] += int(value)
    return {outcome: count for outcome, count in outcomes.items() if count}
