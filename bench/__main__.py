"""`python -m bench`: the list of measurements, and which of them were asked for."""

from __future__ import annotations

import argparse
import compileall
import dataclasses
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import (
    drain,
    following,
    index,
    instructions,
    profile,
    revisions,
    routes,
    runs,
    servers,
    simulator,
    soak,
    tables,
    targets,
    unloaded,
)
from bench.peers.catalogue import PEERS, PeerMissingError, peer
from bench.runs import Contender, Daemon, Scenario
from bench.servers import DIRECT, Variant
from tests.support.broker import KafkaCluster

Figures = list[Any]
KAFKAS_DEFAULTS = {"num.network.threads": "3", "num.io.threads": "8", "metadata.max.idle.interval.ms": "500"}
"""Of a broker with work to do, which those of the tests seldom have."""


class Bench:
    """What the measurements share, each part made when it is first asked for."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options, self._stack = options, stack
        self.rounds: int = options.rounds
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aurora-bridge-bench-")))

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(prefix=name.replace("/", "-"), dir=self._folder))

    @cached_property
    def kafka(self) -> KafkaCluster:
        """A real broker."""
        return self._stack.enter_context(KafkaCluster(properties=KAFKAS_DEFAULTS))

    @cached_property
    def sources(self) -> dict[str, Path]:
        """Where the daemons' packages are: this checkout's, then the others that were asked for."""
        found = {servers.DAEMON_NAME: servers.SOURCES}
        if self._options.compiled:
            found[servers.COMPILED] = revisions.unpack(self._options.compiled, self.folder("compiled"))
        if self._options.against:
            revision, sources = revisions.extract(self._options.against, self.folder("revision"))
            found[revision] = sources
        for path in found.values():
            compileall.compile_dir(path, quiet=1)  # as pip does when it installs
        return found

    @property
    def daemons(self) -> dict[str, Daemon]:
        """The daemons, by name."""
        return {name: partial(servers.daemon, name=name, sources=path) for name, path in self.sources.items()}

    @cached_property
    def peers(self) -> list[Contender]:
        """The peers that can be run here; of the others it is said what is missing."""
        found: list[Contender] = []
        for name in dict.fromkeys(self._options.peer):
            try:
                command = PEERS[name].install()
            except PeerMissingError as error:
                print(f"the peer {name} is left out: {error}", flush=True)
            else:
                found.append(partial(peer, title=PEERS[name].title, command=command))
        return found


class Measurement(NamedTuple):
    """One entry of the list."""

    measure: Callable[[Bench, int], Figures]
    size: int
    what: str
    """What it measures, with `{}` for its size."""


def _imports(bench: Bench, rounds: int) -> Figures:
    found = unloaded.imports(rounds, bench.sources)
    for times in found:
        times.show("import")
    return found


def _start(bench: Bench, rounds: int) -> Figures:
    away = servers.VARIANTS["spool"]
    daemons: dict[str, Contender] = {**bench.daemons}
    daemons |= {f"{name}, {away.title}": partial(daemon, variant=away) for name, daemon in bench.daemons.items()}
    found = unloaded.starts(rounds, daemons, bench.folder("start"), bench.kafka.bootstrap)
    for times in found:
        times.show("listens after")
    return found


def _idle(bench: Bench, seconds: int) -> Figures:
    found = unloaded.idle(seconds, list(bench.daemons.values()), bench.folder("idle"), bench.kafka.bootstrap)
    for idle in found:
        print(f"{idle.server}: idle, {idle.megabytes:.1f} MB, {100 * idle.cpu:.2f} % CPU", flush=True)
    return found


def _follow(bench: Bench, records: int) -> Figures:
    found = following.follow(records, bench.folder("follow"), bench.kafka.bootstrap)
    each = 1e6 * found.cpu_seconds / found.records
    print(f"follower: {found.records:,} records in {found.seconds:.1f} s, ", end="")
    print(f"{found.records / found.seconds:,.0f} a second, {each:.1f} us of CPU each", flush=True)
    return [found]


def _index(bench: Bench, fingerprints: int) -> Figures:
    daemon = bench.daemons[servers.DAEMON_NAME]
    found = index.measure(fingerprints, bench.rounds, daemon, bench.folder("index"), bench.kafka.bootstrap)
    tables.show_index(found)
    return found


def _drain(bench: Bench, backlog: int) -> Figures:
    found = []
    for daemon in bench.daemons.values():
        found.append(drain.measure(backlog, daemon, bench.folder("drain"), bench.kafka))
        drain.show(found[-1])
    return found


def _soak(bench: Bench, seconds: int, rate: float, variant: Variant = DIRECT) -> Figures:
    daemons = [partial(daemon, variant=variant) for daemon in bench.daemons.values()]
    found = soak.measure(seconds, rate, daemons, bench.folder("soak"), bench.kafka.bootstrap)
    for figures in found:
        soak.show(figures)
    return found


def _routes(bench: Bench, rounds: int) -> Figures:
    del bench
    found = routes.measure(rounds)
    tables.show_routes(found)
    return found


def _instructions(bench: Bench, webhooks: int) -> Figures:
    daemons = list(bench.daemons.values())
    found = instructions.measure(webhooks, bench.rounds, daemons, bench.folder("instructions"), bench.kafka.bootstrap)
    instructions.show(found)
    return found


def _profile(bench: Bench, seconds: int) -> Figures:
    for daemon in bench.daemons.values():
        profile.measure(seconds, daemon, bench.folder("profile"), bench.kafka.bootstrap)
    return []


def _scenario(bench: Bench, scenario: Scenario, name: str) -> Figures:
    contenders = runs.contenders(scenario, list(bench.daemons.values()), bench.peers)
    found = runs.compare(scenario, bench.rounds, contenders, bench.folder(name), bench.kafka.bootstrap)
    tables.show_scenario(scenario, found)
    return found


MEASUREMENTS = {
    "import": Measurement(_imports, 9, "the time to import the daemon, {} rounds"),
    "start": Measurement(_start, 9, "the time from the start until it listens, {} rounds"),
    "idle": Measurement(_idle, 30, "memory and CPU without webhooks, for {} s"),
    "routes": Measurement(_routes, 5, "what few and many routes cost, {} rounds"),
    "follow": Measurement(_follow, 200_000, "how fast {} records of others are read into an index"),
    "index": Measurement(_index, 10_000_000, "what {} fingerprints in the index cost"),
    "drain": Measurement(_drain, 1_000_000, "how fast {} events drain after an outage, beside live traffic"),
    "soak-1000/s": Measurement(partial(_soak, rate=1000.0), 600, "whether memory grows, at 1,000/s for {} s"),
    "soak-full-1000/s": Measurement(
        partial(_soak, rate=1000.0, variant=soak.FULL_INDEX),
        900,
        "the same with an index that is full long before half-way, for {} s",
    ),
    "soak": Measurement(partial(_soak, rate=50.0), 86_400, "whether memory grows, at 50/s for {} s"),
    "simulator": Measurement(
        lambda bench, seconds: simulator.measure(seconds, bench.folder("simulator")),
        300,
        "CPU and memory of the simulator at 2,000 webhooks a second, for {} s",
    ),
    "instructions": Measurement(_instructions, 2_000, "instructions of a webhook, by Callgrind, {} webhooks a round"),
    "profile": Measurement(_profile, 20, "where the time of a busy daemon goes, by py-spy for {} s"),
}
SCENARIOS = ("64", "256", "2000/s", "100/s", "burst-64", "duplicates-64", "spool-64", "spool-2000/s")
USUAL = ("import", "start", "idle", *SCENARIOS, "follow", "index", "drain", "soak-1000/s")


def main() -> None:
    """Measure what was asked for."""
    options = _options()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": options.rounds,
    }
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        bench = Bench(options, stack)
        for name, measure in options.measurements.items():
            print(f"\n== {name}, load of the machine {os.getloadavg()[0]:.1f}", flush=True)
            figures[name] = measure(bench)
            plain = json.dumps({"about": about, "figures": figures}, indent=1, default=dataclasses.asdict)
            if options.json:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(plain + "\n")
    print("\n" + targets.table(json.loads(plain)["figures"]))


def measurement(argument: str) -> tuple[str, Callable[[Bench], Figures]]:
    """Read `NAME` or `NAME=SIZE`; return the name, and what measures."""
    name, _, size = argument.partition("=")
    number = int(size.replace("_", "").replace(",", "")) if size else None
    if name in MEASUREMENTS:
        entry = MEASUREMENTS[name]
        return name, lambda bench: entry.measure(bench, number or entry.size)
    scenario = Scenario.named(name, number)
    return name, lambda bench: _scenario(bench, scenario, name)


def _options() -> argparse.Namespace:
    lines = [f"  {name:14}{entry.what.format(f'{entry.size:,}')}" for name, entry in MEASUREMENTS.items()]
    lines += [
        "  64            any number of connections, each of which sends its next webhook as soon as it has its answer",
        "  2000/s        any number of webhooks a second by the clock",
        "  burst-, duplicates-, spool- before these two: one event type and partition; the same again; without Kafka",
    ]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What a webhook costs. NAME is one of these; =SIZE replaces the number in its line, or is the "
        "webhooks a round.\n\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("measurements", nargs="*", metavar="NAME[=SIZE]", help=f"what to measure (default: {' '.join(USUAL)})")
    add("--against", metavar="REV", help="measure the daemon of another revision, too (any name that git knows)")
    add("--compiled", type=Path, metavar="WHEEL", help="measure the daemon of a wheel that `make compiled` made, too")
    add("--peer", action="append", default=[], choices=PEERS, help="measure a hand-written peer, too (several times)")
    add("--peers", dest="peer", action="store_const", const=list(PEERS), help="measure all of them")
    add("--rounds", type=int, default=5, help="how often each server is measured (default 5)")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    options = parser.parse_args()
    try:
        options.measurements = dict(map(measurement, options.measurements or USUAL))
    except ValueError as error:
        parser.error(f"no such measurement: {error}")
    return options


if __name__ == "__main__":
    main()
