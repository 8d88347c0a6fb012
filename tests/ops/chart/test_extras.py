"""What each value does to what watches the pods, and to Jobs, where a scenario does not show it."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.ops.chart.rendering import CHART, SELECTOR, RefusedError, merged, render
from tests.support.daemon import Daemon


def test_a_pod_monitor_reads_the_metrics_of_each_pod(helm4: str) -> None:
    monitor = render(helm4, {"podMonitor": {"enabled": True, "labels": {"release": "p"}}}).one("PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["selector"]["matchLabels"] == SELECTOR
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    named = {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}
    assert endpoint == {"port": "admin", "path": "/metrics", "interval": "30s", "relabelings": [named]}


def test_a_service_monitor_reads_the_same_through_the_admin_service(helm4: str) -> None:
    given = {"enabled": True, "labels": {"release": "p"}}
    objects = render(helm4, {"serviceMonitor": given})
    monitor = objects.one("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [
        each for each in objects if each["kind"] == "Service" and selector <= each["metadata"]["labels"].items()
    ]
    assert selected == [objects.one("Service", "-admin")]
    assert "admin" in [port["name"] for port in selected[0]["spec"]["ports"]]
    pods = render(helm4, {"podMonitor": given}).one("PodMonitor")["spec"]
    assert monitor["spec"]["endpoints"] == pods["podMetricsEndpoints"]
    assert monitor["spec"]["jobLabel"] == pods["jobLabel"]


@pytest.mark.parametrize("monitor", ["podMonitor", "serviceMonitor"])
def test_labels_and_pace_of_metrics_are_as_the_values_say(monitor: str, helm4: str) -> None:
    cluster = {"targetLabel": "cluster", "replacement": "eu"}
    drop = {"sourceLabels": ["__name__"], "regex": "python_.*", "action": "drop"}
    given = {"interval": "15s", "scrapeTimeout": "10s", "relabelings": [cluster], "metricRelabelings": [drop]}
    spec = render(helm4, {monitor: given | {"enabled": True}}).one(monitor[0].upper() + monitor[1:])["spec"]
    (endpoint,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "10s")
    assert (endpoint["relabelings"][1:], endpoint["metricRelabelings"]) == ([cluster], [drop])


def test_the_job_label_of_metrics_is_the_releases_name(helm4: str) -> None:
    objects = render(helm4, {"podMonitor": {"enabled": True}})
    label = objects.one("PodMonitor")["spec"]["jobLabel"]
    assert objects.pod_template()["metadata"]["labels"][label] == "release"
    assert objects.one("Service", "-admin")["metadata"]["labels"][label] == "release"


def test_there_is_no_monitor_unasked(helm4: str) -> None:
    assert not any(render(helm4, {}).has(kind) for kind in ("PodMonitor", "ServiceMonitor"))


RULES: Final = """\
# A comment.
groups:
  - name: aurora-bridge
    rules:
      - alert: Some
        expr: up == 0
        annotations:
          summary: "{{ $labels.pod }} is {{ $value | humanize }}"
          runbook_url: docs/runbooks/Some.md
      - alert: Other
        expr: up == 0
        annotations:
          runbook_url: https://example.com/x/docs/runbooks/Other.md
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart as in the repository, links included, beside rules and dashboards of which a test knows the text."""
    root = tmp_path_factory.mktemp("repository")
    chart = root / "helm" / "aurora-bridge"
    shutil.copytree(CHART, chart, symlinks=True)
    rules, dashboards = root / "grafana" / "rules", root / "grafana" / "dashboards"
    (rules / "tests").mkdir(parents=True)
    dashboards.mkdir()
    (rules / "aurora-bridge.rules.yaml").write_text(RULES)
    (rules / "tests" / "some.yaml").write_text("no rules")
    (dashboards / "overview.json").write_text('{"legendFormat": "{{pod}}"}\n')
    return chart


def test_rules_are_installed_as_they_stand(copy: Path, helm4: str) -> None:
    given = {"prometheusRule": {"enabled": True, "labels": {"release": "p"}}}
    rule = render(helm4, given, chart=copy).one("PrometheusRule")
    assert rule["metadata"]["name"] == "release-aurora-bridge-aurora-bridge"
    assert rule["metadata"]["labels"]["release"] == "p"
    assert rule["spec"] == yaml.safe_load(RULES)


def test_alerts_can_be_switched_off_by_name_and_labelled(copy: Path, helm4: str) -> None:
    given = {"enabled": True, "disabled": {"Some": True, "Other": False}, "additionalRuleLabels": {"team": "a"}}
    (group,) = render(helm4, {"prometheusRule": given}, chart=copy).one("PrometheusRule")["spec"]["groups"]
    assert [(rule["alert"], rule["labels"]) for rule in group["rules"]] == [("Other", {"team": "a"})]


def test_a_label_for_every_alert_leaves_their_severities_and_the_recorded_series_as_they_are(helm4: str) -> None:
    def rules(**given: object) -> list[dict[str, Any]]:
        groups = render(helm4, {"prometheusRule": {"enabled": True, **given}}).one("PrometheusRule")["spec"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    labelled = rules(additionalRuleLabels={"team": "a", "severity": "b"})
    assert [rule for rule in labelled if "record" in rule] == [rule for rule in rules() if "record" in rule]
    for before, after in zip(rules(), labelled, strict=True):
        if "alert" in before:
            assert after["labels"] == {"team": "a"} | before["labels"]


def test_the_links_of_rules_lead_to_the_users_runbooks(copy: Path, helm4: str) -> None:
    given = {"prometheusRule": {"enabled": True, "runbookBaseUrl": "https://git.example.com/runbooks/"}}
    (group,) = render(helm4, given, chart=copy).one("PrometheusRule")["spec"]["groups"]
    assert [rule["annotations"]["runbook_url"] for rule in group["rules"]] == [
        "https://git.example.com/runbooks/Some.md",
        "https://git.example.com/runbooks/Other.md",
    ]
    assert group["rules"][0]["annotations"]["summary"] == "{{ $labels.pod }} is {{ $value | humanize }}"


def test_dashboards_are_installed_for_grafanas_sidecar(copy: Path, helm4: str) -> None:
    given = {"enabled": True, "annotations": {"grafana_folder": "Aurora"}, "namespace": "grafana"}
    config_map = render(helm4, {"dashboards": given}, chart=copy).one("ConfigMap", "-dashboard-overview")
    assert config_map["data"] == {"aurora-bridge-overview.json": '{"legendFormat": "{{pod}}"}\n'}
    metadata = config_map["metadata"]
    assert (metadata["namespace"], metadata["annotations"]) == ("grafana", {"grafana_folder": "Aurora"})
    assert metadata["labels"]["grafana_dashboard"] == "1"


def test_neither_rules_nor_dashboards_are_installed_unasked(copy: Path, helm4: str) -> None:
    objects = render(helm4, {}, chart=copy)
    assert not objects.has("PrometheusRule")
    assert len([each for each in objects if each["kind"] == "ConfigMap"]) == 1


def test_every_rule_file_and_dashboard_of_the_repository_is_installed(helm4: str) -> None:
    objects = render(helm4, {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}})
    grafana = CHART.parents[1] / "grafana"
    rules = [each["spec"] for each in objects if each["kind"] == "PrometheusRule"]
    assert rules == [yaml.safe_load(file.read_text()) for file in sorted((grafana / "rules").glob("*.yaml"))]
    dashboards = [each["data"] for each in objects if "-dashboard-" in each["metadata"]["name"]]
    files = sorted((grafana / "dashboards").glob("*.json"))
    assert dashboards == [{f"aurora-bridge-{file.name}": file.read_text()} for file in files]


def test_a_probe_asks_for_health_by_the_public_url_under_the_job_of_the_pods(helm4: str) -> None:
    given: dict[str, Any] = {
        "probe": {"enabled": True, "prober": "blackbox:9115", "labels": {"release": "p"}},
        "settings": {"ingress": {"base_path": "/x/"}},
        "ingress": {"enabled": True, "hosts": [{"host": "hooks.example.com"}]},
    }
    probe = render(helm4, given).one("Probe")
    assert probe["metadata"]["labels"]["release"] == "p"
    assert probe["spec"] == {
        "jobName": "release",
        "interval": "60s",
        "module": "http_2xx",
        "prober": {"url": "blackbox:9115"},
        "targets": {
            "staticConfig": {
                "static": ["https://hooks.example.com/x/-/healthy"],
                "labels": {"probe": "aurora-bridge"},
            }
        },
    }
    assert not render(helm4, {}).has("Probe")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ingress": {"enabled": True, "hosts": [{"host": "hooks.example.com"}]}}, "Name the blackbox exporter"),
        ({"probe": {"prober": "blackbox:9115"}}, "Set settings.ingress.public_url"),
    ],
)
def test_a_probe_without_an_exporter_or_a_url_is_refused(given: dict[str, Any], said: str, helm4: str) -> None:
    with pytest.raises(RefusedError, match=said):
        render(helm4, merged(given, {"probe": {"enabled": True}}))


def test_where_the_chart_has_the_release_scraped_its_rules_tell_that_it_is_gone_and_no_other(helm4: str) -> None:
    given: dict[str, Any] = {"prometheusRule": {"enabled": True}, "podMonitor": {"enabled": True}}
    rules = render(helm4, given).one("PrometheusRule")["spec"]["groups"]
    (down,) = [rule for group in rules for rule in group["rules"] if rule.get("alert") == "AuroraBridgeDown"]
    assert down["expr"].endswith(
        'or on (namespace, job) absent(aurora_bridge_build_info{namespace="hooks", job="release"})'
    )


def test_the_package_holds_rules_and_dashboards_and_no_tests(copy: Path, helm: str, tmp_path: Path) -> None:
    subprocess.run([helm, "package", copy, "--destination", tmp_path], check=True, capture_output=True)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("aurora-bridge/") for name in archive.getnames()}
    assert {"files/rules/aurora-bridge.rules.yaml", "files/dashboards/overview.json", "README.md"} <= names
    assert not [name for name in names if name.startswith(("ci/", "files/rules/tests/"))]


def test_a_copy_of_the_chart_without_the_linked_files_is_refused_once_it_needs_them(helm4: str, tmp_path: Path) -> None:
    chart = tmp_path / "aurora-bridge"
    shutil.copytree(CHART, chart, symlinks=True)
    for link in (chart / "files" / "rules", chart / "files" / "dashboards"):
        target = str(link.readlink())
        link.unlink()
        link.write_text(target)  # as Git does where there are no links
    render(helm4, {}, chart=chart)
    for value in ("prometheusRule", "dashboards"):
        with pytest.raises(RefusedError, match=f"{value}.enabled: true, .* helm package helm/aurora-bridge"):
            render(helm4, {value: {"enabled": True}}, chart=chart)


def test_a_job_creates_the_topics_if_it_is_asked_for_and_waits_for_no_pod_to_be_ready(helm4: str) -> None:
    objects = render(helm4, {"topicsJob": {"enabled": True}})
    job = objects.one("Job")
    assert "annotations" not in job["metadata"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["topics", "--apply"]
    assert settings_mount(container) == settings_mount(objects.container())
    assert not render(helm4, {}).has("Job")


def test_what_changes_the_job_or_its_settings_makes_another_since_a_job_cannot_be_changed(helm4: str) -> None:
    def name(values: dict[str, Any]) -> str:
        return str(render(helm4, {"topicsJob": {"enabled": True}} | values).one("Job")["metadata"]["name"])

    changes: list[dict[str, Any]] = [
        {},
        {"image": {"tag": "2"}},
        {"nodeSelector": {"disk": "ssd"}},
        {"settings": {"kafka": {"partitions": 6}}},
    ]
    assert len({name(values) for values in changes}) == len(changes)
    assert name({}) == name({"replicaCount": 5})
    assert re.fullmatch(r"release-aurora-bridge-topics-[0-9a-f]{8}", name({}))


def test_a_job_drains_the_volume_of_a_replica_that_is_gone(helm4: str) -> None:
    objects = render(helm4, {"drain": {"claim": "state-release-aurora-bridge-2", "patience": 9}})
    job = objects.one("Job", "-2")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["drain", "/var/lib/aurora-bridge", "--patience", "9"]
    assert settings_mount(container) == settings_mount(objects.container())
    claim = {"claimName": "state-release-aurora-bridge-2"}
    assert {"name": "state", "persistentVolumeClaim": claim} in pod["volumes"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert not SELECTOR.items() <= labels.items()


def test_files_that_an_agent_brings_for_the_daemon_it_brings_for_the_jobs_too(helm4: str) -> None:
    jobs: dict[str, Any] = {"topicsJob": {"enabled": True}, "drain": {"claim": "state-2"}}
    values = merged(yaml.safe_load((CHART / "ci" / "multi-tenant.yaml").read_text()), jobs)
    objects = render(helm4, values)
    pods = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Job"]
    assert len(pods) == 2
    for pod in pods:
        assert [each["name"] for each in pod["initContainers"]] == ["agent"]
        assert pod["initContainers"] == objects.pod()["initContainers"][:1]
    assert "initContainers" not in objects.one("Pod")["spec"]


def settings_mount(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [mount for mount in container["volumeMounts"] if mount["name"] == "settings"]


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://release-aurora-bridge.hooks.svc:80/-/healthy"),
        ({"settings": {"ingress": {"base_path": "/x/"}}}, "http://release-aurora-bridge.hooks.svc:80/x/-/healthy"),
        (
            {
                "service": {"port": 443},
                "settings": {
                    "ingress": {
                        "tls_certificate": {"existingSecret": "t", "key": "tls.crt"},
                        "tls_key": {"existingSecret": "t", "key": "tls.key"},
                    }
                },
            },
            "https://release-aurora-bridge.hooks.svc:443/-/healthy",
        ),
    ],
)
def test_helm_test_asks_through_the_service_whether_a_pod_accepts(values: dict[str, Any], url: str, helm4: str) -> None:
    pod = render(helm4, values).one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    assert container["args"] == [url]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("proxy_protocol", [False, True], ids=["direct", "proxy-protocol"])
def test_what_helm_test_runs_tells_a_daemon_that_accepts_from_none(
    helm4: str, pem: Path, tmp_path: Path, *, proxy_protocol: bool, tls: bool
) -> None:
    proxies = ["127.0.0.1"] * proxy_protocol
    ingress = {"proxy_protocol": proxy_protocol, "trusted_proxies": proxies}
    (container,) = render(helm4, {"settings": {"ingress": ingress}}).one("Pod")["spec"]["containers"]
    _python, *options = container["command"]
    settings: dict[str, object] = {
        "ingress__proxy_protocol": proxy_protocol,
        "ingress__trusted_proxies": ",".join(proxies),
    }
    if tls:
        settings |= {"ingress__tls_certificate_file": pem, "ingress__tls_key_file": pem}
    with Daemon(tmp_path, **settings) as daemon:
        _, _, address = daemon.url.partition("://")
        asked = [sys.executable, *options, f"{'https' if tls else 'http'}://{address}/-/healthy"]
        healthy = subprocess.run(asked, check=False, capture_output=True, text=True)
    gone = subprocess.run(asked, check=False, capture_output=True)
    assert (healthy.returncode, healthy.stdout.split()[:1]) == (0, ["200"])
    assert gone.returncode != 0
