"""The rules of Prometheus: each alert fires and does not, says what it means, has a page, and names metrics there are.

promtool evaluates every rule of a file at each step, so here each of its test files sees the one group it is about,
which stands in its name before the underscore; `promtool test rules` with all of them does the same in a minute.
"""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from aurora_bridge.daemon import make_metrics
from aurora_bridge.metric_types import Counter, Gauge, Histogram
from aurora_bridge.outcomes import Reason

REPOSITORY: Final = Path(__file__).parents[3]
RULES: Final = REPOSITORY / "grafana" / "rules" / "aurora-bridge.rules.yaml"
TESTS: Final = sorted((RULES.parent / "tests").glob("*.yaml"))
RUNBOOKS: Final = REPOSITORY / "docs" / "runbooks"

GROUPS: Final = {group["name"]: group["rules"] for group in yaml.safe_load(RULES.read_text())["groups"]}
EVERY: Final = [rule for rules in GROUPS.values() for rule in rules]
ALERTING: Final = [rule for rule in EVERY if "alert" in rule]
ALERTS: Final[dict[str, list[dict[str, Any]]]] = {
    name: [rule for rule in ALERTING if rule["alert"] == name] for name in sorted({rule["alert"] for rule in ALERTING})
}
"""The rules of each alert: one, or several that differ in their labels."""
LONG: Final = {"deliveries", "service_days", "silence", "silence_quiet", "silence_refused"}
"""Those of TESTS with weeks of webhooks, which take promtool a minute: `make check-rules` runs them."""
SECONDS: Final = 600
OF_OTHERS: Final = {"process_start_time_seconds"}
"""Metrics that prometheus_client adds."""

MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield each metric that an expression names, with its matchers: label, operator, value."""
    for name, matchers in re.findall(r"\b((?:aurora_bridge|process)_\w+)(?:\{([^}]*)\})?", expression):
        yield name, MATCHER.findall(matchers)


@cache
def known() -> dict[str, dict[str, set[str] | None]]:
    """Return the values of each label by metric, None where they are not fixed."""
    found: dict[str, dict[str, set[str] | None]] = {name: {} for name in OF_OTHERS}
    for metric in vars(make_metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            labels = {label: set(values) or None for label, values in metric.labels}
            if isinstance(metric, Histogram):
                bounds = {sample.labels["le"] for sample in metric.collect().samples if sample.name.endswith("_bucket")}
                found[f"{metric.name}_count"] = found[f"{metric.name}_sum"] = labels
                found[f"{metric.name}_bucket"] = {**labels, "le": bounds}
            else:
                found[f"{metric.name}_total" if isinstance(metric, Counter) else metric.name] = labels
    return found


def promtool_says(promtool: str, what: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, what, "rules", path], check=False, capture_output=True, text=True, timeout=SECONDS)


def test_promtool_finds_no_fault_in_the_rules(promtool: str) -> None:
    done = promtool_says(promtool, "check", RULES)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.ops] * (path.stem in LONG)) for path in TESTS],
)
def test_alerts_fire_and_stay_silent_as_promtools_tests_say(promtool: str, path: Path, tmp_path: Path) -> None:
    name = f"aurora-bridge-{path.stem.partition('_')[0]}"
    (tmp_path / RULES.name).write_text(yaml.dump({"groups": [{"name": name, "rules": GROUPS[name]}]}))
    (tmp_path / "tests").mkdir()
    here = tmp_path / "tests" / path.name
    here.write_text(path.read_text())
    done = promtool_says(promtool, "test", here)
    assert done.returncode == 0, done.stdout + done.stderr


def rule_id(rule: dict[str, Any]) -> str:
    return "-".join((rule["alert"], *rule["labels"].values())) if "alert" in rule else rule["record"]


@cache
def cases() -> list[dict[str, Any]]:
    """Return what the tests of promtool expect of alerts."""
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return [case for test in tests for case in test["alert_rule_test"]]


@pytest.mark.parametrize("rule", ALERTING, ids=rule_id)
def test_each_alert_is_tested_both_ways(rule: dict[str, Any]) -> None:
    expected = [
        [alert for alert in case["exp_alerts"] if alert["exp_labels"].items() >= rule["labels"].items()]
        for case in cases()
        if case["alertname"] == rule["alert"]
    ]
    assert {bool(alerts) for alerts in expected} == {True, False}


@pytest.mark.parametrize("rule", ALERTING, ids=rule_id)
def test_each_alert_says_how_urgent_it_is_what_it_means_and_where_its_page_is(rule: dict[str, Any]) -> None:
    alert, annotations = rule["alert"], rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert "{{" in annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"docs/runbooks/{alert}.md"
    assert (REPOSITORY / annotations["runbook_url"]).read_text().startswith(f"# {alert}\n")


def test_each_page_is_an_alerts_and_in_the_index() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("AuroraBridge*.md")}
    index = re.findall(r"\[(\w+)\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())
    assert set(ALERTS) == pages == {name for name, page in index if name == page}


def test_an_alert_that_is_named_is_there() -> None:
    texts = [path for part in ("docs", "helm", "tests/ops") for path in (REPOSITORY / part).rglob("*")]
    named = {
        name
        for path in texts
        if path.suffix in {".md", ".yaml", ".json", ".py"}
        for name in re.findall(r"\bAuroraBridge[A-Z]\w+", path.read_text())
    }
    assert named == ALERTS.keys()


@pytest.mark.parametrize("rule", EVERY, ids=rule_id)
def test_rules_name_metrics_and_labels_that_the_daemon_has(rule: dict[str, Any]) -> None:
    for name, matchers in selectors(rule["expr"]):
        labels = known()[name]
        for label, operator, value in matchers:
            values = labels[label]
            wanted = re.compile(value if "~" in operator else re.escape(value))
            assert values is None or any(wanted.fullmatch(one) for one in values), (name, label, value)


@pytest.mark.parametrize("rule", EVERY, ids=rule_id)
def test_rules_build_on_records_that_stand_before_them(rule: dict[str, Any]) -> None:
    before = [one.get("record") for rules in GROUPS.values() if rule in rules for one in rules[: rules.index(rule)]]
    assert set(re.findall(r"\baurora_bridge:[\w:]+", rule["expr"])) <= set(before)


@pytest.mark.parametrize("rule", EVERY, ids=rule_id)
def test_what_is_told_by_namespace_is_told_by_cluster(rule: dict[str, Any]) -> None:
    text = rule["expr"] + rule.get("annotations", {}).get("description", "")
    lists = re.findall(r"\b(?:by|on|ignoring|group_left|without) \(([^)]*)\)|\{([^{}]*namespace=[^{}]*)\}", text)
    assert all("cluster" in labels for pair in lists for labels in pair if "namespace" in labels)


def test_the_bridges_own_refusals_are_those_with_a_5xx() -> None:
    own = {reason.value for reason in Reason if reason.status >= 500}
    named = [
        value
        for rule in EVERY
        for name, matchers in selectors(rule["expr"])
        for label, operator, value in matchers
        if name == "aurora_bridge_refusals_total" and label == "reason" and operator == "=~" and "spool" in value
    ]
    assert named
    for value in named:
        assert own == {reason.value for reason in Reason if re.fullmatch(value, reason.value)}
