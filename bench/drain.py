"""How fast a backlog drains beside live traffic (`python -m bench --drain`): what an outage of Kafka costs afterwards.

The broker is stopped while the webhooks come, and goes on when all of them lie in the spool. Each daemon is measured
alone, one after another.
"""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Load, webhooks
from bench.runs import WARM_UP_WEBHOOKS, Contender

if TYPE_CHECKING:
    from pathlib import Path

    from bench.servers import Server
    from tests.support.broker import KafkaCluster

CONNECTIONS = 64
LIVE_RATE, LIVE_BATCH = 500.0, 50
"""Webhooks a second while the backlog drains, and how many of them are sent before the next look."""
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 600.0
SPOOLED = "aurora_bridge_spool_events"
DRAINED = "aurora_bridge_drained_total"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What one daemon did with its backlog; times in seconds."""

    server: str
    backlog: int
    until_first: float
    """From the broker's return until the first event left the spool."""
    seconds: float
    """From then until the spool was empty."""
    cpu_per_event: float
    """With what the live webhooks cost."""
    live: int
    p50: float
    p99: float
    """Of the live webhooks' answers."""


def measure(backlog: int, daemon: Contender, folder: Path, kafka: KafkaCluster) -> Figures:
    """Let so many webhooks wait for Kafka; measure how they drain."""
    with daemon(folder, kafka.bootstrap) as server:
        servers.wait_for_kafka(server)
        _deliver(server, WARM_UP_WEBHOOKS)
        for node in kafka.nodes:
            node.pause()
        try:
            _deliver(server, backlog)
            waiting = int(servers.metrics(server)[SPOOLED])
        finally:
            for node in kafka.nodes:
                node.resume()
        returned, cpu = time.perf_counter(), servers.cpu_seconds(server.pid)
        empty = Event()
        with ThreadPoolExecutor(1) as pool:
            live = pool.submit(_deliver_live, server, empty)
            try:
                first, last = _drained(server, returned)
            finally:
                empty.set()
            latencies = live.result()
        cpu = servers.cpu_seconds(server.pid) - cpu
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        return Figures(server.name, waiting, first, last - first, cpu / waiting, len(latencies), p50, p99)


def show(figures: Figures) -> None:
    """Print what it did."""
    print(
        f"{figures.server}: {figures.backlog:,} events drained in {figures.seconds:.1f} s, "
        f"{figures.backlog / figures.seconds:,.0f} a second, after {figures.until_first:.1f} s; "
        f"{1e6 * figures.cpu_per_event:.1f} us of CPU each; {figures.live:,} live webhooks meanwhile, "
        f"p50 {1e3 * figures.p50:.1f} ms, p99 {1e3 * figures.p99:.1f} ms",
        flush=True,
    )


def _deliver(server: Server, count: int) -> None:
    requests = webhooks()
    with Load(server.port, CONNECTIONS) as load:
        for _ in range(0, count, WARM_UP_WEBHOOKS):
            load.run(list(islice(requests, WARM_UP_WEBHOOKS)), None)
    _check(server, load)


def _deliver_live(server: Server, empty: Event) -> list[float]:
    requests = webhooks()
    with Load(server.port, CONNECTIONS) as load:
        while not empty.is_set():
            load.run(list(islice(requests, LIVE_BATCH)), LIVE_RATE)
    _check(server, load)
    return sorted(load.latencies)


def _check(server: Server, load: Load) -> None:
    if load.outcomes.keys() != {"200"}:
        message = f"FAILED: {server.name} did not answer every webhook with 200: {load.outcomes}\n{server.last_words}"
        raise SystemExit(message)


def _drained(server: Server, returned: float) -> tuple[float, float]:
    """Return when the first event left the spool, and when the last did, in seconds since the broker's return."""
    first = None
    begin = servers.metrics(server)[DRAINED]
    while (after := time.perf_counter() - returned) < PATIENCE_SECONDS:
        series = servers.metrics(server)
        if first is None and series[DRAINED] > begin:
            first = after
        if first is not None and series[SPOOLED] == 0:
            return first, after
        time.sleep(LOOK_SECONDS)
    message = f"FAILED: {server.name} has not drained after {PATIENCE_SECONDS:g} s\n{server.last_words}"
    raise SystemExit(message)
