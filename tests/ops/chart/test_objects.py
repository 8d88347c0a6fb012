"""What each value does to the objects, where a scenario does not show it."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from kubernetes_validate.utils import validate

from tests.ops.chart.rendering import CHART, render
from tests.support.daemon import Daemon

NO_VOLUMES: Final = {"persistence": {"enabled": False}}
SELECTOR: Final = {
    "app.kubernetes.io/name": "aurora-bridge",
    "app.kubernetes.io/instance": "release",
    "app.kubernetes.io/component": "bridge",
}


# The workload.


def test_by_default_two_replicas_have_a_volume_each_that_nothing_deletes(helm4: str) -> None:
    objects = render(helm4, {})
    assert not objects.has("Deployment")
    spec = objects.one("StatefulSet")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (2, "Parallel")
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["serviceName"] == objects.one("Service", "-admin")["metadata"]["name"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}}
    assert objects.container()["args"] == ["serve"]
    assert {"name": "state", "mountPath": "/var/lib/aurora-bridge"} in objects.container()["volumeMounts"]
    assert objects.settings()["spool"]["enabled"] is True


def test_what_cannot_be_changed_holds_nothing_that_a_new_version_changes(helm4: str) -> None:
    spec = render(helm4, {"podLabels": {"a": "b"}}).one("StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert spec["selector"]["matchLabels"] == SELECTOR
    assert SELECTOR.items() >= claim["metadata"]["labels"].items()


def test_the_volume_is_as_the_values_say(helm4: str) -> None:
    given = {"size": "1Ti", "storageClass": "fast", "accessMode": "ReadWriteOncePod", "annotations": {"a": "b"}}
    (claim,) = render(helm4, {"persistence": given}).one("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["annotations"] == {"a": "b"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Ti"}},
    }


def test_without_volumes_it_is_a_deployment_without_a_spool(helm4: str) -> None:
    objects = render(helm4, NO_VOLUMES)
    assert not objects.has("StatefulSet")
    spec = objects.one("Deployment")["spec"]
    assert (spec["replicas"], spec["selector"]["matchLabels"]) == (2, SELECTOR)
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert {"name": "state", "emptyDir": {}} in objects.pod()["volumes"]
    assert objects.settings()["spool"]["enabled"] is False


def test_an_autoscaler_takes_the_number_of_replicas_over(helm4: str) -> None:
    given = {"enabled": True, "minReplicas": 3, "maxReplicas": 9, "targetCPUUtilizationPercentage": 50}
    objects = render(helm4, {**NO_VOLUMES, "autoscaling": given})
    assert "replicas" not in objects.one("Deployment")["spec"]
    spec = objects.one("HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"]["name"] == objects.one("Deployment")["metadata"]["name"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 9)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert not render(helm4, NO_VOLUMES).has("HorizontalPodAutoscaler")


# The pod.


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 10 + 8 + 10 + 15),
        ({"settings": {"ingress": {"shutdown_pause_seconds": 0.5}}}, 34),
        ({"settings": {"ingress": {"shutdown_pause_seconds": 600}, "deadlines": {"answer_seconds": 9.9}}}, 635),
        ({"terminationMarginSeconds": 5}, 33),
    ],
)
def test_kubernetes_waits_longer_than_the_daemon_takes_to_end(values: dict[str, Any], seconds: int, helm4: str) -> None:
    assert render(helm4, values).pod()["terminationGracePeriodSeconds"] == seconds


def test_probes_ask_the_daemon_itself_and_only_readiness_what_it_can_store(helm4: str) -> None:
    container = render(helm4, {}).container()
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "admin"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"webhooks": 8080, "admin": 9090}


def test_the_daemon_listens_where_kubernetes_reaches_it_whatever_the_image_says(helm4: str) -> None:
    names = ("AURORA_BRIDGE_INGRESS__HOST", "AURORA_BRIDGE_ADMIN__HOST")
    for address in ("0.0.0.0", "::"):  # noqa: S104 - a pod's addresses
        env = {each["name"]: each["value"] for each in render(helm4, {"listenAddress": address}).container()["env"]}
        assert [env[name] for name in names] == [address, address]
        assert env["AURORA_BRIDGE_STATE_DIR"] == "/var/lib/aurora-bridge"


def test_a_changed_setting_rolls_the_pods_and_nothing_else_does(helm4: str) -> None:
    def checksum(values: dict[str, Any]) -> str:
        return str(render(helm4, values).pod_template()["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) != checksum({"settings": {"log": {"level": "debug"}}})
    assert checksum({}) == checksum({"replicas": 5, "podMonitor": {"enabled": True}})


def test_each_key_of_a_secret_that_is_named_is_in_the_volume_once_and_no_other(helm4: str) -> None:
    secret = {"existingSecret": "a.b", "key": "t"}
    (route, other) = ({"template": f"/{path}", "event": "lead_created", "tokens": secret} for path in "ab")
    routed = {"settings": {"auth": {"basic": {"existingSecret": "a.b", "key": "b"}}, "routes": [route, other]}}
    objects = render(helm4, routed)
    (volume,) = (each for each in objects.pod()["volumes"] if each["name"] == "settings")
    sources = volume["projected"]["sources"]
    assert [(each["secret"]["name"], each["secret"]["items"]) for each in sources[1:]] == [
        ("a.b", [{"key": "b", "path": "secret/a.b/b"}]),
        ("aurora-bridge", [{"key": "tokens", "path": "secret/aurora-bridge/tokens"}]),
        ("a.b", [{"key": "t", "path": "secret/a.b/t"}]),
    ]
    assert volume["projected"]["defaultMode"] == 0o440
    assert [each["tokens_file"] for each in objects.settings()["routes"]] == ["secret/a.b/t"] * 2


def test_a_value_of_another_file_can_be_replaced_by_another_place(helm4: str) -> None:
    tokens = {"existingSecret": None, "key": None, "file": "/run/agent/tokens"}
    objects = render(helm4, {"settings": {"auth": {"tokens": tokens}}})
    assert objects.settings()["auth"]["tokens_file"] == "/run/agent/tokens"


def test_what_is_given_for_the_pod_is_there(helm4: str) -> None:
    extras: dict[str, Any] = {
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "x", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "x", "mountPath": "/x"}],
        "sidecars": [{"name": "side", "image": "i"}],
        "initContainers": [{"name": "init", "image": "i"}],
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"limits": {"cpu": 1}},
    }
    objects = render(helm4, extras)
    pod, container, metadata = objects.pod(), objects.container(), objects.pod_template()["metadata"]
    assert extras["extraEnv"][0] in container["env"]
    assert extras["extraVolumes"][0] in pod["volumes"]
    assert extras["extraVolumeMounts"][0] in container["volumeMounts"]
    assert extras["sidecars"][0] in pod["containers"]
    for name in ("initContainers", "nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"):
        assert pod[name] == extras[name]
    assert metadata["labels"]["team"] == "a"
    assert metadata["annotations"]["note"] == "b"
    assert container["resources"]["limits"] == {"memory": "512Mi", "cpu": 1}
    assert {"initContainers", "nodeSelector", "tolerations", "affinity", "priorityClassName"}.isdisjoint(
        render(helm4, {}).pod()
    )


def test_a_label_of_the_user_does_not_take_a_pod_out_of_its_services(helm4: str) -> None:
    given = {"podLabels": {"app.kubernetes.io/component": "mine"}}
    assert SELECTOR.items() <= render(helm4, given).pod_template()["metadata"]["labels"].items()


def test_pods_are_spread_over_nodes_and_zones(helm4: str) -> None:
    spread = render(helm4, {}).pod()["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(each["labelSelector"] == {"matchLabels": SELECTOR} for each in spread)
    mine = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    (own,) = render(helm4, {"topologySpreadConstraints": [mine]}).pod()["topologySpreadConstraints"]
    assert (own["topologyKey"], own["maxSkew"]) == ("rack", 2)
    assert "topologySpreadConstraints" not in render(helm4, {"topologySpreadConstraints": []}).pod()


def test_numbers_can_be_taken_out_of_the_security_context_for_openshift(helm4: str) -> None:
    given = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    security = render(helm4, given).pod()["securityContext"]
    assert security.keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}


# Names and the image.


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "release-aurora-bridge"),
        ({"nameOverride": "hooks"}, "release-hooks"),
        ({"fullnameOverride": "hooks"}, "hooks"),
    ],
)
def test_objects_are_named_after_release_and_chart(values: dict[str, Any], name: str, helm4: str) -> None:
    objects = render(helm4, values)
    assert objects.one("StatefulSet")["metadata"]["name"] == name
    assert {each["metadata"]["name"].removeprefix(name).strip("-") for each in objects} == {"", "admin", "test"}


@pytest.mark.parametrize("name", ["1e3", "null", "on"])
def test_a_name_that_yaml_could_take_for_something_else_stays_a_text(name: str, helm4: str) -> None:
    tokens = {"existingSecret": name, "key": name}
    given = {"fullnameOverride": "null", "nameOverride": "on", "settings": {"auth": {"tokens": tokens}}}
    given |= {"persistence": {"storageClass": name}, "priorityClassName": name, "serviceAccount": {"name": name}}
    given |= {"ingress": {"enabled": True, "className": name, "hosts": [name]}, "drain": {"claim": name}}
    for each in render(helm4, given):
        validate(each, "1.37", strict=True)


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "registry.example.com/aurora-bridge:0.1.0"),
        ({"tag": "1.2"}, "registry.example.com/aurora-bridge:1.2"),
        (
            {"tag": "1.2", "digest": f"sha256:{'a' * 64}"},
            f"registry.example.com/aurora-bridge@sha256:{'a' * 64}",
        ),
    ],
)
def test_the_image_is_the_digest_else_the_tag_else_the_charts_version(
    image: dict[str, str], reference: str, helm4: str
) -> None:
    assert render(helm4, {"image": image}).container()["image"] == reference


def test_a_service_account_is_made_or_named_and_never_has_a_token(helm4: str) -> None:
    made = render(helm4, {"serviceAccount": {"annotations": {"a": "b"}}})
    account = made.one("ServiceAccount")
    assert (account["automountServiceAccountToken"], account["metadata"]["annotations"]) == (False, {"a": "b"})
    assert made.pod()["serviceAccountName"] == account["metadata"]["name"] == "release-aurora-bridge"
    for given, name in (({"create": False, "name": "mine"}, "mine"), ({"create": False}, "default")):
        named = render(helm4, {"serviceAccount": given})
        assert not named.has("ServiceAccount")
        assert named.pod()["serviceAccountName"] == name


# How it is reached.


def test_the_service_for_webhooks_is_as_the_values_say(helm4: str) -> None:
    given = {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}, "loadBalancerClass": "x/y"}
    given |= {"loadBalancerSourceRanges": ["10.0.0.0/8"]}
    service = render(helm4, {"service": given}).one("Service", "aurora-bridge")
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert service["spec"]["loadBalancerClass"] == "x/y"
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert service["spec"]["ports"][0]["port"] == 443
    assert service["spec"]["selector"] == SELECTOR
    plain = render(helm4, {"service": given | {"type": "ClusterIP"}}).one("Service", "aurora-bridge")
    assert "loadBalancerClass" not in plain["spec"]


def test_the_admin_service_also_lists_pods_that_are_not_ready(helm4: str) -> None:
    spec = render(helm4, {}).one("Service", "-admin")["spec"]
    assert (spec["publishNotReadyAddresses"], spec["selector"]) == (True, SELECTOR)


def test_an_ingress_leads_each_host_to_the_webhooks_and_gives_the_public_url(helm4: str) -> None:
    given = {"enabled": True, "className": "nginx", "annotations": {"a": "b"}, "path": "/hooks"}
    given |= {"hosts": ["a.example.com", "b.example.com"], "tls": [{"secretName": "t", "hosts": ["a.example.com"]}]}
    objects = render(helm4, {"ingress": given})
    ingress = objects.one("Ingress")
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["tls"]) == ("nginx", given["tls"])
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == given["hosts"]
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/hooks", "Prefix")
    assert path["backend"]["service"] == {"name": "release-aurora-bridge", "port": {"name": "webhooks"}}
    assert objects.settings()["ingress"]["public_url"] == "https://a.example.com"
    assert not render(helm4, {}).has("Ingress")


def test_an_http_route_leads_to_the_webhooks_and_gives_the_public_url(helm4: str) -> None:
    given: dict[str, Any] = {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["a.example.com"]}
    objects = render(helm4, {"httpRoute": given | {"annotations": {"a": "b"}, "path": "/hooks"}})
    route = objects.one("HTTPRoute")
    assert (route["apiVersion"], route["metadata"]["annotations"]) == ("gateway.networking.k8s.io/v1", {"a": "b"})
    assert route["spec"] == {
        "parentRefs": given["parentRefs"],
        "hostnames": given["hostnames"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/hooks"}}],
                "backendRefs": [{"name": "release-aurora-bridge", "port": 80}],
            }
        ],
    }
    assert objects.settings()["ingress"]["public_url"] == "https://a.example.com"
    own = {"httpRoute": given, "settings": {"ingress": {"public_url": "https://x.example.com/y"}}}
    assert render(helm4, own).settings()["ingress"]["public_url"] == "https://x.example.com/y"
    assert not render(helm4, {}).has("HTTPRoute")


def test_the_network_policy_lets_in_webhooks_and_prometheus_and_out_dns_and_kafka(helm4: str) -> None:
    brokers = {"settings": {"kafka": {"bootstrap_servers": "k-1:9093,k-2:9093,[::1]:9094"}}}
    spec = render(helm4, brokers).one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    webhooks, admin = spec["ingress"]
    assert webhooks == {"ports": [{"port": "webhooks", "protocol": "TCP"}]}
    assert admin["ports"] == [{"port": "admin", "protocol": "TCP"}]
    assert admin["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    dns, kafka = spec["egress"]
    assert dns == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert kafka == {"ports": [{"port": 9093, "protocol": "TCP"}, {"port": 9094, "protocol": "TCP"}]}


def test_the_network_policy_can_be_narrowed_widened_and_left_out(helm4: str) -> None:
    peer, rule = {"podSelector": {"matchLabels": {"a": "b"}}}, {"ports": [{"port": 443}]}
    given = {"webhooksFrom": [peer], "adminFrom": [], "kafkaTo": [peer], "kafkaPorts": [19092], "extraEgress": [rule]}
    spec = render(helm4, {"networkPolicy": given}).one("NetworkPolicy")["spec"]
    (webhooks,) = spec["ingress"]
    test = {"podSelector": {"matchLabels": SELECTOR | {"app.kubernetes.io/component": "test"}}}
    assert webhooks["from"] == [peer, test]
    _dns, kafka, extra = spec["egress"]
    assert [port["port"] for port in kafka["ports"]] == [19092, 9092]
    assert (kafka["to"], extra) == ([peer], rule)
    assert not render(helm4, {"networkPolicy": {"enabled": False}}).has("NetworkPolicy")


def test_a_node_is_drained_one_pod_at_a_time(helm4: str) -> None:
    spec = render(helm4, {}).one("PodDisruptionBudget")["spec"]
    assert (spec["maxUnavailable"], spec["selector"]["matchLabels"]) == (1, SELECTOR)
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert not render(helm4, {"podDisruptionBudget": {"enabled": False}}).has("PodDisruptionBudget")


# Monitoring.


def test_a_pod_monitor_reads_the_metrics_of_each_pod(helm4: str) -> None:
    monitor = render(helm4, {"podMonitor": {"enabled": True, "labels": {"release": "p"}}}).one("PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["selector"]["matchLabels"] == SELECTOR
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "admin", "path": "/metrics", "interval": "30s"}]
    assert not render(helm4, {}).has("PodMonitor")


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


def test_the_package_holds_rules_and_dashboards_and_no_tests(copy: Path, helm: str, tmp_path: Path) -> None:
    subprocess.run([helm, "package", copy, "--destination", tmp_path], check=True, capture_output=True)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("aurora-bridge/") for name in archive.getnames()}
    assert {"files/rules/aurora-bridge.rules.yaml", "files/dashboards/overview.json", "README.md"} <= names
    assert not [name for name in names if name.startswith(("ci/", "files/rules/tests/"))]


# Jobs.


def test_a_job_creates_the_topics_after_each_installation_if_it_is_asked_for(helm4: str) -> None:
    objects = render(helm4, {"topicsJob": {"enabled": True}})
    job = objects.one("Job", "-topics")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["topics", "--apply"]
    assert settings_mount(container) == settings_mount(objects.container())
    assert not render(helm4, {}).has("Job")


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


def test_what_helm_test_runs_tells_a_daemon_that_accepts_from_none(helm4: str, tmp_path: Path) -> None:
    (container,) = render(helm4, {}).one("Pod")["spec"]["containers"]
    _python, *options = container["command"]
    with Daemon(tmp_path) as daemon:
        asked = [sys.executable, *options, f"{daemon.url}/-/healthy"]
        healthy = subprocess.run(asked, check=False, capture_output=True, text=True)
    gone = subprocess.run(asked, check=False, capture_output=True)
    assert (healthy.returncode, healthy.stdout.split()[0]) == (0, "200")
    assert gone.returncode != 0
