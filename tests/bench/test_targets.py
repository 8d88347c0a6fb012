"""What is made of the figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench import targets
from bench.load import Result, quantiles
from bench.runs import REQUESTS, Record, Scenario, counted, worst_lag
from bench.tables import spread


def result(cpu: float, *, seconds: float = 1.0, p50: float = 0.001) -> Result:
    return Result({"200": 100}, seconds, cpu, 0.0, p50, 0.002, 0.003, 0.004, written=500)


def record(server: str, *cpu: float) -> Record:
    return Record(server, [result(each) for each in cpu], 50.0, 60.0, {})


def as_json(*records: Record) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(json.dumps(records, default=dataclasses.asdict))
    return found


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    """A round that was slow for all of them changes nothing."""
    assert record("daemon", 2.0, 30.0, 4.4).ratio(record("hello", 1.0, 10.0, 2.0)) == pytest.approx(2.2)


def test_a_record_is_what_it_was_before_it_was_written() -> None:
    (written,) = as_json(before := record("daemon", 1.0, 2.0))
    assert Record.read(written) == before


def test_the_spread_has_median_least_and_largest() -> None:
    assert spread([84.2, 75.0, 78.1]) == "78.1 (75-84)"


def test_the_slowest_of_a_thousand_is_p99_9_and_the_maximum() -> None:
    assert quantiles([i / 1000 for i in range(1000, 0, -1)]) == (0.501, 0.991, 1.0, 1.0)
    assert quantiles([]) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("64", None, Scenario(64, 40_000)),
        ("16", 500, Scenario(16, 500)),
        ("100/s", None, Scenario(64, 1000, 100.0)),
        ("spool-2000/s", 10, Scenario(64, 10, 2000.0, "spool")),
        ("burst-64", None, Scenario(64, 40_000, None, "burst")),
    ],
)
def test_a_scenario_is_what_its_name_says(name: str, count: int | None, expected: Scenario) -> None:
    assert Scenario.named(name, count) == expected


@pytest.mark.parametrize("name", ["no", "0", "64/m", "flood-64", "spool", "-64"])
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Scenario.named(name, None)


def test_what_is_counted_is_the_growth_of_all_brokers() -> None:
    series = 'aurora_bridge_kafka_request_seconds_count{{broker="{}"}}'.format
    before, after = {series(1): 5.0}, {series(1): 7.0, series(2): 4.0, "aurora_bridge_spool_events": 9.0}
    assert counted(REQUESTS, before, after) == 6.0


def test_the_worst_lag_is_the_bucket_that_holds_all_that_came_since() -> None:
    series = 'aurora_bridge_loop_lag_seconds_bucket{{le="{}"}}'.format
    before = {series("0.001"): 1.0, series("0.005"): 1.0, series("1.0"): 2.0, series("+Inf"): 2.0}
    after = {series("0.001"): 4.0, series("0.005"): 5.0, series("1.0"): 6.0, series("+Inf"): 6.0}
    assert worst_lag(before, after) == 0.005
    assert worst_lag(after, after) == 0.0
    assert worst_lag({}, {}) == 0.0


def test_each_row_says_whether_its_target_was_missed() -> None:
    figures = {"64": as_json(record("hello-world", 1.0), record("aurora-bridge", 1.9), record("compiled build", 1.3))}
    *_, compiled, interpreted = targets.table(figures).splitlines()
    assert compiled.endswith("| at most 1.35 times the hello-world | 1.3 | `bench 64` |")
    assert interpreted.endswith("| at most 1.8 times the hello-world | 1.9, **missed** | `bench 64` |")


def test_what_was_not_measured_is_said() -> None:
    figures = {"100/s": as_json(record("hello-world", 1.0), record("aurora-bridge", 1.0))}
    *_, compiled, interpreted = targets.table(figures).splitlines()
    assert "| not measured |" in compiled
    assert "| 1 |" in interpreted


def test_every_target_reads_what_its_measurement_writes() -> None:
    """With figures of every kind, each row has one."""
    both = [record("hello-world", 1.0), record("Go, franz-go", 1.0)]
    both += [record(name, 1.0) for name in targets.BUILDS.values()]
    variants = ("one event type, one partition", "duplicates", "Kafka away")
    both += [record(f"{name}, {title}", 1.0) for name in targets.BUILDS.values() for title in variants]
    one: dict[str, Any] = {"backlog": 1, "seconds": 1.0, "p99": 1.0}
    times = {"seconds": [1.0, 2.0]}
    idle = {"megabytes": 50.0, "cpu": 0.001}
    soak = {"slope": 1.0, "margin": 2.0}
    special: dict[str, dict[str, Any]] = {
        "drain": one,
        "import": times,
        "start": times,
        "idle": idle,
        "soak-1000/s": soak,
        "soak-full-1000/s": soak,
        "soak": soak,
    }
    figures = dict.fromkeys((target.measurement for target in targets.TARGETS), as_json(*both))
    for name, fields in special.items():
        figures[name] = [fields | {"server": server} for server in targets.BUILDS.values()]
    figures["follow"] = [{"server": "aurora-bridge", "records": 100, "seconds": 2.0}]
    empty, filled = as_json(record("empty index", 1.0), record("10 fingerprints", 1.2))
    figures["index"] = [{"record": empty}, {"record": filled}]

    rows = targets.table(figures).splitlines()[2:]

    assert len(rows) == len(targets.TARGETS)
    assert [row for row in rows if "not measured" in row] == []
    assert "| ... CPU | at most 1.1 times an empty index | 1.2, **missed** | `bench index` |" in rows
    assert "| rebuilding the index | at least 50,000 records/s | 50, **missed** | `bench follow` |" in rows


def test_the_page_has_every_target() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    rows = [target.row({}).split("| not")[0] for target in targets.TARGETS]
    assert [row for row in rows if row not in page] == []
