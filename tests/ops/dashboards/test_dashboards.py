"""The dashboards as they lie in the repository: fresh, whole, and asking for what the daemon has."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.models import units
from prometheus_client import CollectorRegistry, ProcessCollector

from aurora_bridge.daemon import make_metrics
from aurora_bridge.metric_types import Counter, Gauge, Histogram
from grafana.__main__ import DASHBOARDS, encoded, main
from tests.support.dashboards import FOLDER, asked, dashboards, panels, replaced

SELECTOR = re.compile(r"\b((?:aurora_bridge|process)_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
OF_THE_SCRAPE = {"cluster", "namespace", "job", "pod", "instance"}
CORE = {"stat", "timeseries", "bargauge", "heatmap", "state-timeline"}
"""Kinds of panels that every Grafana has."""
UNITS = {value for value in vars(units).values() if isinstance(value, str)}
COUNTS_AGAINST_THE_BUDGET = re.compile(
    r"aurora_bridge_(response|stage|publish)_seconds_bucket|aurora_bridge_(oldest_unanswered|loop_lag)_seconds"
)

EVERY_PANEL = [
    pytest.param(panel, id=f"{name} {panel['id']}") for name, board in dashboards().items() for panel in panels(board)
]


def known() -> dict[str, dict[str, set[str]]]:
    """Return the labels of every series of the daemon, by its name, and their values; none where they are open."""
    found: dict[str, dict[str, set[str]]] = {}
    for metric in vars(make_metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            labels = {label: set(values) for label, values in metric.labels}
            match metric:
                case Counter():
                    found[f"{metric.name}_total"] = labels
                case Gauge():
                    found[metric.name] = labels
                case Histogram():
                    bounds = {sample.labels["le"] for sample in metric.collect().samples if "le" in sample.labels}
                    found[f"{metric.name}_bucket"] = labels | {"le": bounds}
                    found[f"{metric.name}_count"] = found[f"{metric.name}_sum"] = labels
    for family in ProcessCollector(registry=CollectorRegistry()).collect():
        for sample in family.samples:
            found[sample.name] = {}
    return found


def rows_and_panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a dashboard and its panels, as if every row was open."""
    return [*(panel for panel in board["panels"] if panel["type"] == "row"), *panels(board)]


def test_they_are_what_their_code_makes() -> None:
    for name, make in DASHBOARDS.items():
        assert encoded(make()) == (FOLDER / f"{name}.json").read_text(), (
            f"grafana/dashboards/{name}.json: make dashboards"
        )
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in DASHBOARDS}


def test_a_stale_one_fails_the_check_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("grafana.__main__.FOLDER", tmp_path)
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "aurora.json").write_text("{}\n")
    assert main(["--check"]) == 1
    assert (
        capsys.readouterr().err == "grafana/dashboards/aurora.json is out of date: run make dashboards, and commit it\n"
    )


def test_ids_and_titles_are_unique() -> None:
    boards = dashboards().values()
    assert len(boards) == len({board["uid"] for board in boards}) == len({board["title"] for board in boards})
    for board in boards:
        ids = [panel["id"] for panel in rows_and_panels(board)]
        assert len(ids) == len(set(ids))
        titles = [panel["title"] for panel in panels(board)]
        assert len(titles) == len(set(titles))


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_every_panel_says_what_it_means_what_is_normal_and_what_to_do(panel: dict[str, Any]) -> None:
    means, normal, act = panel["description"].split("\n\n")
    assert means
    assert normal.startswith("**Normal:** ")
    assert act.startswith("**Otherwise:** ")
    for part in (means, normal, act):
        assert part.endswith(".")


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_every_panel_has_a_unit_and_is_of_a_kind_that_needs_no_plugin(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["type"] in CORE


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_what_counts_against_auroras_ten_seconds_shows_where_they_end(panel: dict[str, Any]) -> None:
    """As a line; a number by its thresholds, a heatmap by the border of its topmost row."""
    text = " ".join(target["expr"] for target in panel["targets"])
    if panel["fieldConfig"]["defaults"]["unit"] not in {"s", "cpm"} or not COUNTS_AGAINST_THE_BUDGET.search(text):
        return
    match panel["type"]:
        case "timeseries":
            assert "max(aurora_bridge_budget_seconds" in panel["targets"][-1]["expr"]
            overrides = {override["matcher"]["options"]: override for override in panel["fieldConfig"]["overrides"]}
            assert panel["targets"][-1]["legendFormat"] in overrides
        case "stat":
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1] == {"color": "red", "value": 10}
        case "heatmap":
            assert "|10.0|\\\\+Inf" in text
        case kind:
            pytest.fail(f"a {kind} of times has no line")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_width_and_none_lies_on_another(name: str) -> None:
    places: set[tuple[int, int]] = set()
    for panel in rows_and_panels(dashboards()[name]):
        at = panel["gridPos"]
        covers = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert places.isdisjoint(covers), panel["title"]
        places |= covers
    assert places == {(x, y) for x in range(24) for y in range(max(y for _, y in places) + 1)}


def test_every_query_parses(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"q{at}", "expr": replaced(query.expression)} for at, query in enumerate(asked())]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", path], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


OF_A = 'job="aurora-bridge", instance="a:9090"'


@pytest.mark.parametrize(
    ("place", "series", "shown"),
    [
        ("overview 107 A", {}, {"{}": 0}),
        ("overview 107 A", {f"aurora_bridge_ready{{{OF_A}}}": "0x30"}, {"{}": 0}),
        ("overview 107 A", {f"aurora_bridge_ready{{{OF_A}}}": "1x30"}, {"{}": 1}),
        ("overview 110 G", {f'aurora_bridge_broken_files{{file="spool.db", {OF_A}}}': "1x30"}, {"{}": 1}),
        ("pipeline 403 A", {f"aurora_bridge_spool_bytes{{{OF_A}}}": "0x30"}, {}),
        ("pipeline 403 A", {f"aurora_bridge_spool_bytes{{{OF_A}}}": "0+6x30"}, {f"{{{OF_A}}}": 8200}),
        ("pipeline 403 A", {f"aurora_bridge_spool_bytes{{{OF_A}}}": "960x30"}, {f"{{{OF_A}}}": 0}),
    ],
    ids=str,
)
def test_the_worst_is_shown_and_not_left_empty(
    place: str, series: dict[str, str], shown: dict[str, float], promtool: str, tmp_path: Path
) -> None:
    """A number of what is gone is 0, and so is the time that a full spool has: a query for either finds nothing."""
    (query,) = [query for query in asked() if query.place == place]
    room = {f"aurora_bridge_spool_room_bytes{{{OF_A}}}": "1000x30"}
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in (series | room).items()],
        "promql_expr_test": [
            {
                "expr": replaced(query.expression),
                "eval_time": "30m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in shown.items()],
            }
        ],
    }
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"tests": [case]}))
    tried = subprocess.run([promtool, "test", "rules", path], check=False, capture_output=True, text=True)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def selectors() -> Iterator[tuple[str, str, str]]:
    """Yield every selector: the expression it is in, its metric, its matchers."""
    for query in asked():
        for metric, matchers in SELECTOR.findall(query.expression):
            yield query.expression, metric, matchers


def test_every_selector_is_one_of_the_daemon_and_of_the_chosen_instances() -> None:
    metrics = known()
    for expression, metric, text in selectors():
        assert metric in metrics, expression
        matchers = {label: (kind, value) for label, kind, value in MATCHER.findall(text)}
        for label, variable in {"cluster": "cluster", "namespace": "namespace", "job": "release"}.items():
            assert matchers.pop(label) == ("=~", f"${variable}")
        assert matchers.pop("instance") == ("=~", "$instance")
        if "event" in matchers:
            assert "event" in metrics[metric], expression
        for label, (_, value) in matchers.items():
            values = set(value.replace("\\\\", "").split("|")) - {f"${label}"}
            assert values <= metrics[metric][label], expression


def test_no_metric_goes_without_a_selection() -> None:
    for query in asked():
        bare = SELECTOR.sub("", query.expression)
        assert not re.search(r"\b(aurora_bridge|process|python)_\w+", bare), query


def test_series_are_told_apart_by_labels_that_they_have() -> None:
    metrics = known()
    for query in asked():
        found = [metrics[metric] for metric, _ in SELECTOR.findall(query.expression)]
        had = OF_THE_SCRAPE.union(*found)
        used = {
            name.strip()
            for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", query.expression)
            for name in names.split(",")
        }
        assert used <= had, query


def test_every_metric_of_the_daemon_has_a_panel_or_a_reason() -> None:
    """What nobody looks at need not be exported."""
    shown = {metric for _, metric, _ in selectors()}
    names = {name for name in known() if name.startswith("aurora_bridge_")}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    missing = {name for name in families if not any(metric.startswith(name) for metric in shown)}
    assert missing == {
        "aurora_bridge_auto_disable_risk",  # of one replica; the dashboards show what it is made of
        "aurora_bridge_aurora_api_last_success_timestamp_seconds",  # failed looks are shown
        "aurora_bridge_in_flight_deliveries",  # the age of the oldest is shown, and overloaded among the answers 5xx
        "aurora_bridge_last_refused_timestamp_seconds",  # refusals are shown over time
        "aurora_bridge_retry_pending_until_timestamp_seconds",  # aurora-bridge resend request tells it
        "aurora_bridge_secret_file_reloads_total",  # the log says it, with the file; nothing to watch
    }


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_variables_are_those_of_the_scrape_events_and_tenants_and_choose_everything_at_first(name: str) -> None:
    source, *others = dashboards()[name]["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    chosen = ["cluster", "namespace", "release", "instance", "event", *(["tenant"] if name == "aurora" else [])]
    assert [variable["name"] for variable in others] == chosen
    for variable in others:
        assert (variable["includeAll"], variable["multi"], variable["allValue"]) == (True, True, ".*")
        assert variable["current"]["value"] == "$__all"


def test_every_panel_asks_the_chosen_data_source() -> None:
    for query in asked():
        sources = [query.panel["datasource"], *(target["datasource"] for target in query.panel["targets"])]
        assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)
