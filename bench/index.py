"""What many fingerprints in the index cost (`python -m bench index`): memory, CPU time, delays of the event loop.

A daemon with an empty index and one whose index was filled beforehand, on topics that are empty. Each is started and
gets a webhook now and then until it calls its index complete; then both are measured in turns with new webhooks, at a
rate at which nothing else holds up the event loop.
"""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING
from urllib.error import URLError

from bench import servers
from bench.fill_index import fill_index
from bench.load import Load, webhooks
from bench.runs import Record, Scenario, check_answers, interleave

if TYPE_CHECKING:
    from pathlib import Path

    from bench.runs import Daemon
    from bench.servers import Server

SCENARIO = Scenario(connections=64, count=10_000, rate=1000)
EMPTY = "empty index"
COMPLETE_SECONDS = 300.0
LOOK_SECONDS = 0.05
RATE, BATCH = 100.0, 10
"""Webhooks a second until the index is complete, and how many of them are sent before the next look."""


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """From the start of a daemon until its index is complete."""

    seconds: float
    megabytes: float
    """Resident memory at the end of it."""
    answered: int
    """Webhooks that were answered with 200 meanwhile."""
    slowest: float
    """The longest of these answers took so many seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What a daemon with so many fingerprints in its index did."""

    fingerprints: int
    start: Start
    record: Record


def measure(fingerprints: int, rounds: int, daemon: Daemon, folder: Path, bootstrap: str) -> list[Figures]:
    """Measure an empty index and one with so many fingerprints."""
    counts = {EMPTY: 0, (filled := f"{fingerprints:,} fingerprints"): fingerprints}
    fill_index(folder / filled / servers.STATE, fingerprints)
    starts: dict[str, Start] = {}
    with ExitStack() as stack:
        running = []
        for name in counts:
            running.append(stack.enter_context(daemon(folder / name, bootstrap, name=name)))
            starts[name] = _until_complete(running[-1])
        results = interleave(SCENARIO, rounds, running)
        return [
            Figures(counts[server.name], starts[server.name], Record.of(server, results[server.name]))
            for server in running
        ]


def _until_complete(server: Server) -> Start:
    complete = Event()
    with ThreadPoolExecutor(1) as pool:
        delivering = pool.submit(_deliver, server, complete)
        try:
            _wait_until_complete(server)
        finally:
            complete.set()
        seconds, (megabytes, _) = time.perf_counter() - server.started, servers.resident_megabytes(server.pid)
        return Start(seconds, megabytes, *delivering.result())


def _wait_until_complete(server: Server) -> None:
    while time.perf_counter() - server.started < COMPLETE_SECONDS:
        try:
            series = servers.metrics(server)
        except URLError:  # the admin port may open after the ingress
            series = {servers.COMPLETE: 0}
        if servers.COMPLETE not in series:
            message = f"this daemon has no metric {servers.COMPLETE}"
            raise SystemExit(message)
        if series[servers.COMPLETE] == 1:
            return
        time.sleep(LOOK_SECONDS)
    message = f"FAILED: {server.name} is not complete {COMPLETE_SECONDS:g} s after its start\n{server.last_words}"
    raise SystemExit(message)


def _deliver(server: Server, complete: Event) -> tuple[int, float]:
    requests = webhooks()
    with Load(server.port, connections=BATCH) as load:
        while not complete.is_set():
            load.run(list(islice(requests, BATCH)), RATE)
    check_answers(server, load.outcomes)
    return load.outcomes.total(), max(load.latencies)
