"""What is measured under load, and in which order.

In a scenario all servers run at the same time, each fresh and warmed up; in a round each of them is measured while the
others are idle, in an order that is shuffled for every round, so that the noise of the machine hits all alike. Medians
of the rounds are the scenario's figures; a ratio is the median of the rounds' own ratios. `servers` has the processes,
`load` the other end of the wire.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench import servers
from bench.load import Order, Result
from bench.servers import DIRECT, VARIANTS, Server, Variant
from tests.support.topics import count_records, topic_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WARM_UP_WEBHOOKS = 2_000
REST_SECONDS = 1.0
"""Between two looks whether a server has done what it does after its answers."""
CONNECTIONS, COUNT, OPEN_SECONDS = 64, 40_000, 10
"""Of a scenario whose name does not say."""
SPOOLED = "aurora_bridge_spool_events"
REQUESTS = "aurora_bridge_kafka_request_seconds_count{"
SENT = "aurora_bridge_kafka_request_bytes_total{"
LAG = re.compile(r'aurora_bridge_loop_lag_seconds_bucket\{le="([^"]+)"\}')
NAME = re.compile(rf"(?:({'|'.join(VARIANTS)})-)?([1-9]\d*)(/s)?")

Contender = Callable[[Path, str], AbstractContextManager[Server]]
"""Runs a server in a folder of its own, with a Kafka to write to."""


class Daemon(Protocol):
    """`servers.daemon` of this checkout or of others."""

    def __call__(
        self, folder: Path, bootstrap: str, /, *, name: str = ..., variant: Variant = ..., launcher: Sequence[str] = ...
    ) -> AbstractContextManager[Server]:
        """Run it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load: `rate` webhooks a second by the clock, or, without a rate, as fast as the answers come."""

    connections: int
    count: int
    rate: float | None = None
    variant: str | None = None
    """A name in `VARIANTS`, to be measured beside the direct way of new events."""

    @classmethod
    def named(cls, name: str, count: int | None) -> Scenario:
        """Read `64` (connections) or `2000/s`, with `burst-`, `duplicates-` or `spool-` before it for a variant."""
        parts = NAME.fullmatch(name)
        if parts is None:
            raise ValueError(name)
        variant, number, by_clock = parts[1], int(parts[2]), parts[3]
        if by_clock:
            return cls(CONNECTIONS, count or number * OPEN_SECONDS, float(number), variant)
        return cls(number, count or COUNT, None, variant)


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

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Record:
        """Make it of what JSON has of it."""
        return cls(**fields | {"rounds": [Result(**each) for each in fields["rounds"]]})

    def values(self, figure: str) -> list[float]:
        """Return a figure (an attribute of `Result`) of each round."""
        return [getattr(result, figure) for result in self.rounds]

    def median(self, figure: str) -> float:
        """Return its median."""
        return float(statistics.median(self.values(figure)))

    def ratio(self, other: Record, figure: str = "cpu_per_webhook") -> float:
        """Return a figure in units of another server's."""
        pairs = zip(self.values(figure), other.values(figure), strict=True)
        return statistics.median(mine / its for mine, its in pairs)


def contenders(scenario: Scenario, daemons: Sequence[Daemon], peers: Sequence[Contender]) -> list[Contender]:
    """Return who is measured: the daemons beside peers, or each daemon's variant beside its direct way."""
    if scenario.variant is None:
        return [servers.hello_world, *daemons, *peers]
    variant = VARIANTS[scenario.variant]
    both = [(daemon, partial(daemon, variant=variant)) for daemon in daemons]
    return [servers.hello_world, *(each for pair in both for each in pair)]


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
            _check_stored(server, scenario, rounds, bootstrap)
        return [Record.of(server, results[server.name]) for server in running]


def interleave(scenario: Scenario, rounds: int, running: Sequence[Server]) -> dict[str, list[Result]]:
    """Warm the servers up and measure them in turns; return each one's rounds, by its name."""
    for server in running:
        if server.admin_port is not None and server.variant.kafka:
            servers.wait_for_kafka(server)
        load(server, dataclasses.replace(scenario, count=_warm_up(server, scenario), rate=None))
    results: dict[str, list[Result]] = {server.name: [] for server in running}
    for _ in range(rounds):
        for server in random.sample(running, len(running)):
            results[server.name].append(load(server, scenario))
    return results


def _warm_up(server: Server, scenario: Scenario) -> int:
    """Return how many webhooks come before the first round: at least all of what comes again."""
    return WARM_UP_WEBHOOKS if server.variant.traffic == DIRECT.traffic else max(WARM_UP_WEBHOOKS, scenario.count)


def load(server: Server, scenario: Scenario) -> Result:
    """Send the scenario's webhooks to a server. A webhook that is not answered with 200 ends the run."""
    traffic, count, connections, rate = server.variant.traffic, scenario.count, scenario.connections, scenario.rate
    order = Order(server.port, server.pid, traffic, count, connections, rate, REST_SECONDS)
    command = [sys.executable, "-m", "bench.load", json.dumps(dataclasses.asdict(order))]
    before = _metrics(server)
    generator = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if generator.returncode:
        message = f"the load generator of {server.name} failed"
        raise SystemExit(message)
    result = Result(**json.loads(generator.stdout))
    check_answers(server, result.outcomes)
    after = _metrics(server)
    return dataclasses.replace(
        result,
        requests=counted(REQUESTS, before, after),
        sent=counted(SENT, before, after),
        lag=worst_lag(before, after),
    )


def check_answers(server: Server, outcomes: Mapping[str, int]) -> None:
    """End the run unless every webhook was answered with 200."""
    if outcomes.keys() != {"200"}:
        message = f"FAILED: {server.name} did not answer every webhook with 200: {outcomes}\n{server.last_words}"
        raise SystemExit(message)


def counted(start: str, before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return how much all series that start so have grown between two looks at a daemon's metrics."""
    return sum(value - before.get(series, 0) for series, value in after.items() if series.startswith(start))


def worst_lag(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return the bound of the histogram's bucket that holds the event loop's worst delay between two looks."""
    counts = {
        float(bound[1]): value - before.get(series, 0)
        for series, value in after.items()
        if (bound := LAG.fullmatch(series))
    }
    every = max(counts.values(), default=0)
    return min((bound for bound, count in counts.items() if every and count == every), default=0.0)


def _check_stored(server: Server, scenario: Scenario, rounds: int, bootstrap: str) -> None:
    """End the run unless each webhook went where it should: a record in Kafka, a row in the spool, a duplicate.

    What waits in a spool for a Kafka that is there may come yet.
    """
    if server.topic_prefix is None:
        return
    expected, duplicates = _warm_up(server, scenario) + rounds * scenario.count, 0
    if server.variant.traffic == "same again":
        expected, duplicates = _warm_up(server, scenario), rounds * scenario.count
    deadline = time.perf_counter() + servers.PATIENCE_SECONDS
    while (stored := _stored(server, bootstrap)) < expected:
        if time.perf_counter() > deadline:
            message = f"FAILED: {server.name} answered {expected:,} events with 200, and {stored:,} are stored"
            raise SystemExit(message)
        time.sleep(0.1)
    if (outcomes := _outcomes(server)).get("duplicate", 0) < duplicates:
        message = f"FAILED: {server.name} was sent {duplicates:,} duplicates, and counts {outcomes}"
        raise SystemExit(message)


def _stored(server: Server, bootstrap: str) -> int:
    if not server.variant.kafka:
        return int(servers.metrics(server)[SPOOLED])
    return count_records(bootstrap, topic_names(bootstrap, server.topic_prefix or ""))


def _metrics(server: Server) -> dict[str, float]:
    return {} if server.admin_port is None else servers.metrics(server)


def _outcomes(server: Server) -> dict[str, int]:
    outcomes: Counter[str] = Counter()
    for series, value in _metrics(server).items():
        if series.startswith("aurora_bridge_deliveries_total{") and (outcome := re.search(r'outcome="(\w+)"', series)):
            outcomes[outcome[1]] += int(value)
    return {outcome: count for outcome, count in outcomes.items() if count}
