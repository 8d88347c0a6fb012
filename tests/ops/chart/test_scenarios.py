"""Each scenario in `ci/` is rendered by both Helms, fits the Kubernetes versions of the chart, and starts the daemon.

Both Helms render the same, which is a test; so the others use one of them.
"""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from kubernetes_validate.utils import latest_version, validate

from tests.ops.chart.rendering import CHART, SCENARIOS, Object, daemon_says, merged, render

VERSIONS: Final = [f"1.{minor}" for minor in range(28, 38)]
"""Of Kubernetes: what Chart.yaml allows, as far as there are schemas."""

GKE: Final = {"HealthCheckPolicy", "GCPBackendPolicy"}
CUSTOM: Final = {"PodMonitor", "ServiceMonitor", "Probe", "PrometheusRule", "HTTPRoute", *GKE}
"""Kinds without a schema here; `test_live` has the real ones, but for those of GKE."""

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda file: file.stem)


def test_all_scenarios_are_there() -> None:
    names = {file.stem for file in SCENARIOS}
    of_others = {"msk-scram", "msk-iam", "confluent-cloud", "confluent-oauth", "gke", "azure-event-hubs"}
    assert of_others | {"minimal", "production", "multi-tenant", "embedded", "openshift-strimzi"} <= names


@each_scenario
def test_helm_lints_it_strictly(scenario: Path, helm: str) -> None:
    arguments = ["lint", "--strict", "--quiet", str(CHART), "--values", str(scenario)]
    ended = subprocess.run([helm, *arguments], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, "")


@each_scenario
def test_both_helms_render_the_same(scenario: Path, helm: str, helm4: str) -> None:
    assert render(helm, scenario) == render(helm4, scenario)


@each_scenario
def test_the_daemon_takes_the_rendered_settings_without_a_warning(
    scenario: Path, helm4: str, tmp_path: Path, pem: Path
) -> None:
    ended = daemon_says(render(helm4, scenario), tmp_path, pem)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["ingress"]["host"] == "0.0.0.0"  # noqa: S104 - a pod's address


@each_scenario
def test_every_object_fits_the_schemas_of_the_newest_kubernetes(scenario: Path, helm4: str) -> None:
    fits(scenario, helm4, VERSIONS[-1])


@pytest.mark.ops
@pytest.mark.parametrize("kubernetes", VERSIONS[:-1])
@each_scenario
def test_every_object_fits_the_schemas_of_each_kubernetes(scenario: Path, kubernetes: str, helm4: str) -> None:
    fits(scenario, helm4, kubernetes)


def fits(scenario: Path, helm4: str, kubernetes: str) -> None:
    for each in render(helm4, scenario, kube=f"{kubernetes}.0"):
        if each["kind"] not in CUSTOM:
            validate(each, kubernetes, strict=True)


def test_the_versions_are_those_that_the_chart_allows() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == version("aurora-bridge")
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"
    assert latest_version() == f"{VERSIONS[-1]}.0"


@each_scenario
def test_every_pod_keeps_to_pod_security_restricted_and_has_no_token(scenario: Path, helm4: str) -> None:
    for pod in render(helm4, scenario).pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser") == (None if scenario.stem == "openshift-strimzi" else 65532)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        allowed = {"projected", "emptyDir", "persistentVolumeClaim", "configMap", "secret"}
        assert {key for volume in pod.get("volumes", []) for key in volume if key != "name"} <= allowed


@each_scenario
def test_secrets_are_files_that_kubernetes_renews_never_environment_nor_settings(scenario: Path, helm4: str) -> None:
    jobs: dict[str, Any] = {"topicsJob": {"enabled": True}, "drain": {"claim": "state-2"}}
    values = yaml.safe_load(scenario.read_text())
    objects = render(helm4, scenario if values["settings"].get("embedded") else merged(values, jobs))
    assert not objects.has("Secret")
    for container in (container for pod in objects.pods() for container in containers(pod)):
        assert not any("valueFrom" in each for each in container.get("env", []))
        assert "envFrom" not in container
        assert not any("subPath" in mount or "subPathExpr" in mount for mount in container.get("volumeMounts", []))


@each_scenario
def test_nothing_leads_to_the_admin_port_but_its_own_service(scenario: Path, helm4: str) -> None:
    objects = render(helm4, scenario)
    admin = objects.one("Service", "-admin")
    assert (admin["spec"]["type"], admin["spec"]["clusterIP"]) == ("ClusterIP", "None")
    public = objects.one("Service", "aurora-bridge")
    assert [port["targetPort"] for port in public["spec"]["ports"]] == ["webhooks"]
    for kind in ("Ingress", "HTTPRoute"):
        if objects.has(kind):
            assert "admin" not in json.dumps(objects.one(kind))


@each_scenario
def test_every_object_has_the_labels_by_which_kubernetes_tools_know_it(scenario: Path, helm4: str) -> None:
    for each in render(helm4, scenario):
        if each["kind"] in {"HealthCheckPolicy", "GCPBackendPolicy"}:  # the user's own
            continue
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "aurora-bridge"
        assert labels["app.kubernetes.io/instance"] == "release"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def containers(pod: Object) -> list[Object]:
    return [*pod["containers"], *pod.get("initContainers", [])]
