"""What the chart says of itself is true: the table, the defaults, the templates to paste."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from aurora_bridge.settings import Settings
from aurora_bridge.settings.names import SETTINGS
from tests.cli.in_process import here
from tests.ops.chart.rendering import CHART, MINIMAL, SCENARIOS, merged, render, settings_folder

VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
README: Final = (CHART / "README.md").read_text()

OTHERWISE: Final = {
    "embedded": False,  # empty means "on loopback", which a pod never is
    "ingress.shutdown_pause_seconds": 10,  # as the daemon's reference advises for Kubernetes
}
"""The chart's defaults that are not the daemon's."""

MULTI_TENANT: Final = CHART / "ci" / "multi-tenant.yaml"
HEADER: Final = "the header X-Aurora-Webhook-Token"

BY_CHART: Final = {"state_dir", "ingress.host", "ingress.port", "admin.host", "admin.port", "spool.enabled"}


def test_schema_catalogue_and_table_are_up_to_date() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "helm.reference", "--check"], check=False, cwd=CHART.parents[1], capture_output=True
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")


def test_every_value_is_described() -> None:
    described = set(re.findall(r"^\| `([A-Za-z_.]+)` \|", README, re.MULTILINE))
    undescribed = [path for path in leaves(VALUES) if not any(f"{path}.".startswith(f"{one}.") for one in described)]
    assert undescribed == []


def leaves(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield above + key


def test_every_setting_of_the_daemon_is_there_with_its_default() -> None:
    defaults = Settings().model_dump(mode="json")
    expected: dict[str, Any] = {}
    for key in SETTINGS.keys() - BY_CHART:
        group, _, name = key.rpartition(".")
        value = (defaults[group] if group else defaults)[name]
        if name.endswith("_file"):
            expected[key.removesuffix("_file")] = {}
        else:
            expected[key] = OTHERWISE.get(key, value)
    found = dict(flat(VALUES["settings"]))
    assert (found.pop("routes"), found.pop("subscriptions"), found.pop("events")) == ([], [], {})
    for key in ("auth.query_parameter", "kafka.sasl_mechanism"):
        expected[key] = ""
    assert found == expected


def flat(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and key != "events":
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def objects_in(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects_in(inner)


def test_the_schema_is_closed_everywhere_and_takes_the_defaults() -> None:
    assert all(each["additionalProperties"] is False for each in objects_in(SCHEMA) if each.get("type") == "object")
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda file: file.stem)
def test_the_notes_print_what_the_daemon_would_have_pasted(
    scenario: Path, helm4: str, tmp_path: Path, pem: Path
) -> None:
    file = settings_folder(render(helm4, scenario), tmp_path, pem)
    printed = here("templates", "--config", str(file), ingress__host="0.0.0.0").stdout  # noqa: S104 - as in a pod
    wanted = [line.split("\t")[-1] for line in printed.splitlines()]
    assert len(wanted) > 0
    assert (
        re.findall(r"^ *(https://\S+\?\S+)$", notes(helm4, scenario).replace("PUT-THE-TOKEN-HERE", "***"), re.MULTILINE)
        == wanted
    )


@cache
def notes(helm: str, scenario: Path) -> str:
    """Return what Helm prints after an installation."""
    arguments = ["install", "release", str(CHART), "--dry-run=client", "--namespace=hooks", f"--values={scenario}"]
    ended = subprocess.run([helm, *arguments], check=True, capture_output=True, text=True)
    return ended.stdout.partition("NOTES:")[2]


def test_the_notes_say_what_to_look_at(helm4: str) -> None:
    said = {scenario.stem: notes(helm4, scenario) for scenario in SCENARIOS}
    ready = r" +kubectl --namespace hooks rollout status \S+/release-aurora-bridge --timeout=10m\n"
    test = r" +helm test release --namespace hooks\n"
    assert all(re.search(ready + test, words) for words in said.values())
    assert "HOST is where you let Aurora in" in said["minimal"]
    assert "HOST" not in said["production"].replace("HTTPS", "")
    assert "Never make replicas smaller" in said["production"]
    assert "--set drain.claim=state-release-aurora-bridge-N --show-only templates/job-drain.yaml" in said["production"]
    assert "Authentication of all: the header X-Aurora-Webhook-Token, with a line of the key" in said["production"]
    assert "Authentication of all: none" in said["embedded"]
    assert "There are no volumes, and so no spool" in said["confluent-cloud"]
    assert "There is no Kafka" in said["embedded"]
    assert "statefulset/release-aurora-bridge" in said["production"]
    assert "deployment/release-aurora-bridge" in said["confluent-cloud"]


def test_below_each_url_the_notes_say_what_its_webhooks_must_bring(helm4: str) -> None:
    tokens, basic = (f"with a line of the key {key} of the secret acme" for key in ("tokens", "basic"))
    said = re.findall(r"^ +(https\S+)\n +Authentication: (.+)$", notes(helm4, MULTI_TENANT), re.MULTILINE)
    assert [(url.partition("?")[0].split("/", 3)[-1], words) for url, words in said] == [
        ("acme/agreements/<PROJECT_ID>", f"{HEADER}, {tokens}"),
        ("acme/agreements/<PROJECT_ID>", f"{HEADER}, {tokens}; or Basic, {basic}"),
        ("sunny/leads", f"{HEADER} or the parameter key, with a line of the key tokens of the secret sunny"),
        (
            "bright/projects/p-<PROJECT_ID>.json",
            "the header X-Bright-Token, with a line of the file /run/agent/bright-tokens",
        ),
    ]
    assert "Authentication of" not in notes(helm4, MULTI_TENANT)


def test_the_notes_do_not_mix_the_credentials_of_routes_with_those_of_auth(helm4: str, tmp_path: Path) -> None:
    acme = {"existingSecret": "acme", "key": "tokens"}
    given: list[dict[str, Any]] = [{"tokens": acme}, {}, {"allow_anonymous": True}, {"header": "X-Mine"}]
    routes = [{"template": f"/{number}", "event": "lead_created", **route} for number, route in enumerate(given)]
    minimal = yaml.safe_load((CHART / "ci" / "minimal.yaml").read_text())
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps(merged(minimal, {"settings": {"routes": routes}})))
    common = "with a line of the key tokens of the secret aurora-bridge"
    said = notes(helm4, values)
    assert re.findall(r"^ +Authentication: (.+)$", said, re.MULTILINE) == [
        f"{HEADER}, with a line of the key tokens of the secret acme",
        f"{HEADER}, {common}",
        "none",
        f"the header X-Mine, {common}",
    ]
    assert f"Authentication of those without a line of their own: {HEADER}, {common}\n" in said


def test_the_notes_mark_a_route_whose_event_is_neither_in_the_catalogue_nor_a_legacy_name(
    helm4: str, tmp_path: Path
) -> None:
    events = ["lead_created", "project_status_updated", "led_created", "lead"]
    settings = {
        "kafka": {"topic_prefix": "crm."},
        "routes": [{"template": f"/{event}?lead_id=<LEAD_ID>", "event": event, "tenant": "acme"} for event in events],
    }
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps(merged(MINIMAL, {"settings": settings})))
    assert re.findall(r"^(\w+ \(acme\).*)$", notes(helm4, values), re.MULTILINE) == [
        "lead_created (acme)",
        "project_status_updated (acme)",
        "led_created (acme): not known to the bridge, goes to crm.unrecognized",
        "lead (acme): not known to the bridge, goes to crm.unrecognized",
    ]


def test_the_readme_counts_the_events_whose_templates_helm_prints(helm4: str) -> None:
    printed = len(re.findall(r"^https://HOST/", notes(helm4, CHART / "ci" / "minimal.yaml"), re.MULTILINE))
    assert f"the {printed} events whose templates\nHelm prints are {2 * printed} routes" in README


def yaml_examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(yaml_examples())))
def test_the_values_in_the_readme_are_taken(number: int, helm4: str) -> None:
    render(helm4, merged({}, yaml.safe_load(yaml_examples()[number])))


def test_the_readme_has_the_production_scenario_as_it_is_tested() -> None:
    scenario = yaml.safe_load((CHART / "ci" / "production.yaml").read_text())
    assert scenario in [yaml.safe_load(example) for example in yaml_examples()]
