"""`python -m bench`: the options, and the figures as a plain table (and as JSON)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import following, routes, runs
from bench.runs import SCENARIOS, Comparison, Record, Scenario
from tests.support.broker import KafkaCluster
from tests.support.ports import HOST, free_ports

COLUMNS = ("", "per CPU-s", "CPU us", "ratio", "per s", "p50 ms", "p99 ms", "p99.9 ms", "RSS MB", "peak MB")
MILLION = 1_000_000
FOLLOWED = 200_000


def main() -> None:
    """Start a broker and measure what was asked for."""
    options = _options()
    figures: dict[str, Any] = {}
    if options.routes:
        measured = routes.measure(options.rounds)
        _show_routes(measured)
        figures["routes"] = [few_or_many._asdict() for few_or_many in measured]
    if options.start or options.million or options.follow or options.scenarios:
        _measure_daemon(options, figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _measure_daemon(options: argparse.Namespace, figures: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="aurora-bridge-bench-") as name, KafkaCluster() as kafka:
        folder = Path(name)
        if options.start:
            for state, bootstrap in (("up", kafka.bootstrap), ("down", f"{HOST}:{free_ports(1)[0]}")):
                seconds = runs.seconds_to_listen(options.rounds, folder / state, bootstrap)
                print(f"Kafka {state}: the daemon listens {seconds:.2f} s after its start", flush=True)
                figures[f"seconds_to_listen_with_kafka_{state}"] = seconds
        if options.million:
            figures["memory"] = []
            for step in runs.memory(options.count or MILLION, options.connections or 64, folder, kafka.bootstrap):
                print("after {:>9,} webhooks: {:4.0f} MB resident, {:4.0f} MB at the peak".format(*step), flush=True)
                figures["memory"].append(step)
        if options.follow:
            speed = following.follow(options.count or FOLLOWED, folder / "following", kafka.bootstrap)
            rate, cpu = speed.records / speed.seconds, speed.cpu_seconds / speed.records
            print(f"follower: {speed.records:,} records in {speed.seconds:.1f} s, {rate:,.0f} a second", end="")
            print(f", {1e6 * cpu:.1f} us of CPU each", flush=True)
            figures["follower"] = speed._asdict()
        for number, scenario in enumerate(options.scenarios):
            comparison = runs.compare(scenario, options.rounds, folder / str(number), kafka.bootstrap)
            _show(comparison)
            figures[scenario.name] = dataclasses.asdict(comparison)


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a webhook costs.")
    add = parser.add_argument
    add("--scenario", action="append", default=[], choices=names, help="only this one (can be given several times)")
    add("--connections", type=int, help="a scenario of your own, with so many connections (default 64)")
    add("--rate", type=float, help="a scenario of your own, with so many webhooks a second by the clock")
    add("--count", type=int, help="webhooks a round, instead of the scenario's own number")
    add("--rounds", type=int, default=5, help="how often each server is measured (default 5)")
    add("--million", action="store_true", help="the daemon's memory on the way to a million webhooks (or to --count)")
    add("--follow", action="store_true", help="how fast a replica learns what others published (--count records)")
    add("--start", action="store_true", help="the time from the daemon's start until it listens")
    add("--routes", action="store_true", help="what finding and reading cost with few and with many routes")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    options = parser.parse_args()
    options.scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.scenario]
    if (options.connections or options.rate) and not options.million:
        options.scenarios.append(Scenario("own", options.connections or 64, 40_000, options.rate))
    if not (options.start or options.million or options.follow or options.routes or options.scenarios):
        options.start, options.scenarios = True, list(SCENARIOS)
    if options.count:
        options.scenarios = [dataclasses.replace(scenario, count=options.count) for scenario in options.scenarios]
    return options


def _show_routes(measured: list[routes.Figures]) -> None:
    few, many = measured
    print(f"\n{'CPU us a webhook, by route':30}{f'{few.routes} routes':>12}{f'{many.routes} routes':>12}{'ratio':>8}")
    for kind, cost in few.microseconds.items():
        print(f"{kind:30}{cost:12.1f}{many.microseconds[kind]:12.1f}{many.microseconds[kind] / cost:8.2f}")
    print(f"{'memory, MB':30}{few.megabytes:12.2f}{many.megabytes:12.2f}")
    print(f"{'CPU s to make them':30}{few.seconds_to_make:12.3f}{many.seconds_to_make:12.3f}", flush=True)


def _show(comparison: Comparison) -> None:
    scenario = comparison.scenario
    speed = f"{scenario.rate:,.0f} webhooks a second" if scenario.rate else "as fast as the answers come"
    print(f"\n{scenario.connections} connections, {speed}; {scenario.count:,} webhooks a round, medians of the rounds")
    lines = [COLUMNS, _cells(comparison.hello, 1), _cells(comparison.daemon, comparison.ratio)]
    print(*(f"{name:13}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in lines), sep="\n")
    counted = (f"{count:,} {outcome}" for outcome, count in comparison.outcomes.items())
    print("every webhook got 200; the daemon counts, warm-up included:", ", ".join(counted), flush=True)


def _cells(record: Record, ratio: float) -> tuple[str, ...]:
    cpu = record.median("cpu_per_webhook")
    return (
        record.server,
        f"{1 / cpu:,.0f}",
        f"{1e6 * cpu:.1f}",
        f"{ratio:.2f}",
        f"{record.median('per_second'):,.0f}",
        *(f"{1e3 * record.median(latency):.2f}" for latency in ("p50", "p99", "p999")),
        f"{record.megabytes:.0f}",
        f"{record.megabytes_peak:.0f}",
    )


if __name__ == "__main__":
    main()
