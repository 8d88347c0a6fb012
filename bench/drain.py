"""How fast a backlog drains beside live traffic (`python -m bench drain`): what an outage of Kafka costs afterwards.

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
from bench.load import Load, quantiles, webhooks
from bench.runs import SPOOLED, WARM_UP_WEBHOOKS, check_answers
from bench.servers import Variant

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs import Daemon
    from bench.servers import Server
    from tests.support.broker import KafkaCluster

CONNECTIONS = 64
LIVE_RATE, LIVE_BATCH = 500.0, 50
"""Webhooks a second while the backlog drains, and how many of them are sent before the next look."""
ROOMY = Variant(settings={"SPOOL__MAX_BYTES": "8GiB"})
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 600.0
DRAINED = "aurora_bridge_drained_total"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What one daemon did with its backlog; times in seconds."""

    server: str
    backlog: int
    until_first: float
    """From the broker's return until the last look at which no event had left the spool."""
    seconds: float
    """From then until the spool was empty."""
    cpu_per_event: float
    """With what the live webhooks cost."""
    live: int
    p50: float
    p99: float
    max: float
    """Of the live webhooks' answers."""


def measure(backlog: int, daemon: Daemon, folder: Path, kafka: KafkaCluster) -> Figures:
    """Let so many webhooks wait for Kafka; measure how they drain."""
    with daemon(folder, kafka.bootstrap, variant=ROOMY) as server:
        servers.wait_for_kafka(server)
        _deliver(server, WARM_UP_WEBHOOKS)
        for node in kafka.nodes:
            node.pause()
        try:
            _deliver(server, backlog)
            before = servers.metrics(server)
        finally:
            for node in kafka.nodes:
                node.resume()
        returned, cpu = time.perf_counter(), servers.cpu_seconds(server.pid)
        empty = Event()
        with ThreadPoolExecutor(1) as pool:
            live = pool.submit(_deliver_live, server, empty)
            try:
                first, last = drained(server, returned, before[DRAINED])
            finally:
                empty.set()
            latencies = live.result()
        cpu = servers.cpu_seconds(server.pid) - cpu
        p50, p99, _, worst = quantiles(latencies)
        waiting = int(before[SPOOLED])
        return Figures(server.name, waiting, first, last - first, cpu / waiting, len(latencies), p50, p99, worst)


def show(figures: Figures) -> None:
    """Print what it did."""
    print(
        f"{figures.server}: {figures.backlog:,} events drained in {figures.seconds:.1f} s, "
        f"{figures.backlog / figures.seconds:,.0f} a second, after {figures.until_first:.1f} s; "
        f"{1e6 * figures.cpu_per_event:.1f} us of CPU each; {figures.live:,} live webhooks meanwhile, "
        f"p50 {1e3 * figures.p50:.1f} ms, p99 {1e3 * figures.p99:.1f} ms, at most {1e3 * figures.max:.1f} ms",
        flush=True,
    )


def _deliver(server: Server, count: int) -> None:
    requests = webhooks()
    with Load(server.port, CONNECTIONS) as load:
        for _ in range(0, count, WARM_UP_WEBHOOKS):
            load.run(list(islice(requests, WARM_UP_WEBHOOKS)), None)
    check_answers(server, load.outcomes)


def _deliver_live(server: Server, empty: Event) -> list[float]:
    requests = webhooks()
    with Load(server.port, CONNECTIONS) as load:
        while True:
            load.run(list(islice(requests, LIVE_BATCH)), LIVE_RATE)
            if empty.is_set():
                break
    check_answers(server, load.outcomes)
    return list(load.latencies)


def drained(server: Server, returned: float, begin: float) -> tuple[float, float]:
    """Return when the drain began and ended, in seconds since the broker's return.

    It begins with the last look that found no event gone, so that even a drain between two looks takes time.
    """
    first = 0.0
    while (after := time.perf_counter() - returned) < PATIENCE_SECONDS:
        series = servers.metrics(server)
        if series[DRAINED] == begin:
            first = after
        elif series[SPOOLED] == 0:
            return first, after
        time.sleep(LOOK_SECONDS)
    message = f"FAILED: {server.name} has not drained after {PATIENCE_SECONDS:g} s\n{server.last_words}"
    raise SystemExit(message)
