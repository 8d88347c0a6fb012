"""`python -m bench`: the options, and what is measured for them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import drain, following, index, revisions, routes, runs, servers, simulator, tables
from bench.peers.catalogue import PEERS, PeerMissingError, peer
from bench.runs import SCENARIOS, Scenario
from tests.support.broker import KafkaCluster
from tests.support.ports import HOST, free_ports

if TYPE_CHECKING:
    from bench.runs import Contender

COMPILED = "compiled build"
MILLION = 1_000_000
FOLLOWED = 200_000
FINGERPRINTS = 10_000_000
BACKLOG = 200_000
SIMULATOR_SECONDS = 300

Figures = dict[str, Any]


def main() -> None:
    """Measure what was asked for."""
    options = _options()
    figures: Figures = {}
    if options.routes:
        measured = routes.measure(options.rounds)
        tables.show_routes(measured)
        figures["routes"] = [few_or_many._asdict() for few_or_many in measured]
    if options.simulator:
        with tempfile.TemporaryDirectory(prefix="aurora-bridge-bench-") as folder:
            figures["simulator"] = [each._asdict() for each in simulator.measure(options.simulator, Path(folder))]
    if options.start or options.million or options.follow or options.index or options.drain or options.scenarios:
        with tempfile.TemporaryDirectory(prefix="aurora-bridge-bench-") as folder:
            _measure_servers(options, Path(folder), figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, default=dataclasses.asdict) + "\n")


def _measure_servers(options: argparse.Namespace, folder: Path, figures: Figures) -> None:
    daemons = _daemons(options, folder)
    _, *others = daemons
    peers = _installed(options.peer) if options.scenarios else []
    with KafkaCluster() as kafka:
        bootstrap = kafka.bootstrap
        if options.start:
            figures["seconds_to_listen"] = _start(options.rounds, daemons, folder / "start", bootstrap)
        if options.million:
            figures["memory"] = []
            for step in runs.memory(options.count or MILLION, options.connections or 64, folder, bootstrap):
                print("after {:>9,} webhooks: {:4.0f} MB resident, {:4.0f} MB at the peak".format(*step), flush=True)
                figures["memory"].append(step)
        if options.follow:
            speed = following.follow(options.count or FOLLOWED, folder / "following", bootstrap)
            rate, cpu = speed.records / speed.seconds, speed.cpu_seconds / speed.records
            print(f"follower: {speed.records:,} records in {speed.seconds:.1f} s, {rate:,.0f} a second", end="")
            print(f", {1e6 * cpu:.1f} us of CPU each", flush=True)
            figures["follower"] = speed._asdict()
        if options.index:
            scenario = dataclasses.replace(index.SCENARIO, count=options.count or index.SCENARIO.count)
            indexes = index.measure(options.index, scenario, options.rounds, folder / "index", bootstrap)
            tables.show_index(indexes)
            figures["index"] = [each._asdict() for each in indexes]
        if options.drain:
            drained = [
                drain.measure(options.drain, each, folder / "drain" / name, kafka) for name, each in daemons.items()
            ]
            for figure in drained:
                drain.show(figure)
            figures["drain"] = drained
        contenders = [servers.hello_world, *daemons.values(), *peers]
        for number, scenario in enumerate(options.scenarios):
            records = runs.compare(scenario, options.rounds, contenders, folder / str(number), bootstrap)
            tables.show_scenario(scenario, records, others[0] if others else None)
            figures[scenario.name] = records


def _daemons(options: argparse.Namespace, folder: Path) -> dict[str, Contender]:
    """Return the daemon of this checkout, then the others that were asked for."""
    daemons: dict[str, Contender] = {"aurora-bridge": servers.daemon}
    if options.against:
        revision, sources = revisions.extract(options.against, folder / "revision")
        daemons[revision] = partial(servers.daemon, name=revision, sources=sources)
    if options.compiled:
        daemons[COMPILED] = partial(servers.daemon, name=COMPILED, sources=revisions.unpack(options.compiled, folder))
    return daemons


def _installed(names: list[str]) -> list[Contender]:
    """Return the peers that can be run here; say of the others what is missing."""
    found: list[Contender] = []
    for name in dict.fromkeys(names):
        try:
            command = PEERS[name].install()
        except PeerMissingError as error:
            print(f"the peer {name} is left out: {error}", flush=True)
        else:
            found.append(partial(peer, title=PEERS[name].title, command=command))
    return found


def _start(rounds: int, daemons: dict[str, Contender], folder: Path, bootstrap: str) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for state, address in (("up", bootstrap), ("down", f"{HOST}:{free_ports(1)[0]}")):
        for name, daemon in daemons.items():
            seconds = runs.seconds_to_listen(rounds, daemon, folder / state / name, address)
            print(f"Kafka {state}: {name} listens {seconds:.2f} s after its start", flush=True)
            figures.setdefault(name, {})[state] = seconds
    return figures


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a webhook costs.")
    add = parser.add_argument
    add("--against", metavar="REV", help="measure the daemon of another revision, too (any name that git knows)")
    add("--compiled", type=Path, metavar="WHEEL", help="measure the daemon of a wheel that `make compiled` made, too")
    add("--peer", action="append", default=[], choices=PEERS, help="measure a hand-written peer, too (several times)")
    add("--peers", dest="peer", action="store_const", const=list(PEERS), help="measure all of them")
    add("--scenario", action="append", default=[], choices=names, help="only this one (can be given several times)")
    add("--connections", type=int, help="a scenario of your own, with so many connections (default 64)")
    add("--rate", type=float, help="a scenario of your own, with so many webhooks a second by the clock")
    add("--count", type=int, help="webhooks a round, instead of the scenario's own number")
    add("--rounds", type=int, default=5, help="how often each server is measured (default 5)")
    add("--million", action="store_true", help="the daemon's memory on the way to a million webhooks (or to --count)")
    add("--follow", action="store_true", help="how fast a replica learns what others published (--count records)")
    add("--start", action="store_true", help="the time from the daemon's start until it listens")
    add(
        "--drain",
        nargs="?",
        type=int,
        const=BACKLOG,
        metavar="N",
        help="how fast N events drain after an outage, beside live traffic (default 200,000)",
    )
    add("--routes", action="store_true", help="what finding and reading cost with few and with many routes")
    add(
        "--simulator",
        nargs="?",
        type=int,
        const=SIMULATOR_SECONDS,
        metavar="SECONDS",
        help="CPU and memory of the simulator at 2,000 webhooks a second (default 300 s)",
    )
    add("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    add(
        "--index",
        nargs="?",
        type=int,
        const=FINGERPRINTS,
        metavar="N",
        help="what N fingerprints in the index cost (default ten million)",
    )
    options = parser.parse_args()
    options.scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.scenario]
    if (options.connections or options.rate) and not options.million:
        options.scenarios.append(Scenario("own", options.connections or 64, 40_000, options.rate))
    others = (options.start, options.million, options.follow, options.routes, options.index, options.drain)
    if not (any(others) or options.simulator or options.scenarios):
        options.start, options.scenarios = True, list(SCENARIOS)
    if options.count:
        options.scenarios = [dataclasses.replace(scenario, count=options.count) for scenario in options.scenarios]
    return options


if __name__ == "__main__":
    main()
