"""What each value does to the workload and its pods, where a scenario does not show it."""

import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.ops.chart.rendering import CHART, MINIMAL, SELECTOR, merged, render

NO_VOLUMES: Final = {"persistence": {"enabled": False}}


def test_by_default_two_replicas_have_a_volume_each_that_nothing_deletes(helm4: str) -> None:
    objects = render(helm4, {})
    assert not objects.has("Deployment")
    spec = objects.one("StatefulSet")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (2, "Parallel")
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["serviceName"] == objects.one("Service", "-admin")["metadata"]["name"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
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
    assert {"name": "state", "emptyDir": {"sizeLimit": "10Gi"}} in objects.pod()["volumes"]
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


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 10 + 8 + 10 + 15),
        ({"settings": {"ingress": {"shutdown_pause_seconds": 0.5}}}, 34),
        ({"settings": {"ingress": {"shutdown_pause_seconds": 600}, "deadlines": {"answer_seconds": 9.5}}}, 635),
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
    """Nor do pods whose settings were in order ever see those of which the daemon refuses to start."""
    before, changed = render(helm4, {}), render(helm4, {"settings": {"log": {"level": "debug"}}})
    assert before.pod_template() != changed.pod_template()
    assert before.one("ConfigMap")["metadata"]["name"] != changed.one("ConfigMap")["metadata"]["name"]
    other = render(helm4, {"replicaCount": 5, "podMonitor": {"enabled": True}})
    assert before.pod_template() == other.pod_template()


def test_each_key_of_a_secret_that_is_named_is_in_the_volume_once_and_no_other(helm4: str) -> None:
    secret = {"existingSecret": "a.b", "key": "t"}
    (route, other) = ({"template": f"/{path}", "event": "lead_created", "tokens": secret} for path in "ab")
    other["tokens"] = secret | {"file": None}
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


def test_the_pods_know_which_subscriptions_are_left_out_or_off_on_purpose(helm4: str) -> None:
    tables = [
        {"events": ["lead_created", "lead_changed"], "left_out": True},
        {"events": ["asset_created"], "enabled": False, "id": "a-1"},
    ]
    assert render(helm4, {"settings": {"subscriptions": tables}}).settings()["subscriptions"] == tables


def test_a_value_of_another_file_can_be_replaced_by_another_place(helm4: str) -> None:
    tokens = {"existingSecret": None, "key": None, "file": "/run/agent/tokens"}
    objects = render(helm4, {"settings": {"auth": {"tokens": tokens}}})
    assert objects.settings()["auth"]["tokens_file"] == "/run/agent/tokens"


def test_what_is_given_for_the_pod_is_there(helm4: str) -> None:
    extras: dict[str, Any] = {
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "x", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "x", "mountPath": "/x"}],
        "extraContainers": [{"name": "side", "image": "i"}],
        "initContainers": [{"name": "init", "image": "i"}],
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"limits": {"cpu": 1}},
        "envFrom": [{"secretRef": {"name": "proxy"}}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["kafka-1"]}],
        "livenessProbe": {"failureThreshold": 9},
        "securityContext": {"readOnlyRootFilesystem": False, "runAsUser": 1000},
        "minReadySeconds": 7,
    }
    objects = render(helm4, extras)
    pod, container, metadata = objects.pod(), objects.container(), objects.pod_template()["metadata"]
    assert extras["extraEnv"][0] in container["env"]
    assert extras["extraVolumes"][0] in pod["volumes"]
    assert extras["extraVolumeMounts"][0] in container["volumeMounts"]
    assert extras["extraContainers"][0] in pod["containers"]
    of_pod = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets")
    for name in (*of_pod, "dnsConfig", "hostAliases"):
        assert pod[name] == extras[name]
    assert [each["name"] for each in pod["initContainers"]] == ["init", "config"]
    for name in ("envFrom", "lifecycle"):
        assert container[name] == extras[name]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
    assert (container["livenessProbe"]["failureThreshold"], container["livenessProbe"]["periodSeconds"]) == (9, 10)
    restricted = render(helm4, {}).container()["securityContext"]
    assert container["securityContext"] == restricted | extras["securityContext"]
    assert objects.one("StatefulSet")["spec"]["minReadySeconds"] == 7
    assert metadata["labels"]["team"] == "a"
    assert metadata["annotations"]["note"] == "b"
    assert container["resources"]["limits"] == {"memory": "512Mi", "cpu": 1}
    assert {*of_pod, "dnsConfig", "hostAliases"}.isdisjoint(render(helm4, {}).pod())


def test_the_daemon_checks_its_settings_before_it_starts_with_the_same_files_and_environment(helm4: str) -> None:
    objects = render(helm4, {"extraEnv": [{"name": "TZ", "value": "UTC"}]})
    (check,) = objects.pod()["initContainers"]
    container = objects.container()
    assert (check["args"], check["terminationMessagePolicy"]) == (["config"], "FallbackToLogsOnError")
    for same in ("image", "env", "securityContext"):
        assert check[same] == container[same]
    mounts = [mount for mount in container["volumeMounts"] if mount["name"] != "state"]
    assert check["volumeMounts"] == mounts


def test_a_label_of_the_user_does_not_take_a_pod_out_of_its_services(helm4: str) -> None:
    given = {"podLabels": {"app.kubernetes.io/component": "mine"}}
    assert SELECTOR.items() <= render(helm4, given).pod_template()["metadata"]["labels"].items()


def test_labels_and_annotations_for_pods_are_the_jobs_too_and_the_charts_own_win(helm4: str) -> None:
    common = {"team": "a", "app.kubernetes.io/name": "mine", "app.kubernetes.io/component": "mine"}
    given: dict[str, Any] = {"commonLabels": common, "podLabels": {"pod": "b"}, "podAnnotations": {"note": "c"}}
    objects = render(helm4, {**given, "topicsJob": {"enabled": True}, "drain": {"claim": "state-2"}})
    for each in objects:
        assert (each["metadata"]["labels"]["team"], each["metadata"]["labels"]["app.kubernetes.io/name"]) == (
            "a",
            "aurora-bridge",
        )
    templates = [each["spec"]["template"]["metadata"] for each in objects if "template" in each.get("spec", {})]
    assert len(templates) == 3
    for metadata in templates:
        assert {"team": "a", "pod": "b"}.items() <= metadata["labels"].items()
        assert metadata["labels"]["app.kubernetes.io/name"] == "aurora-bridge"
        assert metadata["annotations"]["note"] == "c"
    assert objects.one("Service", "-admin")["metadata"]["labels"]["app.kubernetes.io/component"] == "admin"
    (claim,) = objects.one("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert "team" not in claim["metadata"]["labels"]
    assert "team" not in objects.one("StatefulSet")["spec"]["selector"]["matchLabels"]


def test_the_way_in_which_pods_are_replaced_can_be_another(helm4: str) -> None:
    stateful = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    assert render(helm4, {"updateStrategy": stateful}).one("StatefulSet")["spec"]["updateStrategy"] == stateful
    assert "updateStrategy" not in render(helm4, {}).one("StatefulSet")["spec"]
    recreate = {"type": "Recreate"}
    spec = render(helm4, {**NO_VOLUMES, "updateStrategy": recreate, "minReadySeconds": 3}).one("Deployment")["spec"]
    assert (spec["strategy"], spec["minReadySeconds"]) == (recreate, 3)


def test_objects_of_the_users_own_are_installed_too_and_filled_in(helm4: str) -> None:
    certificate = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": '{{ include "aurora-bridge.fullname" . }}'},
    }
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}\n"
    objects = render(helm4, {"extraObjects": [certificate, text]})
    assert objects.one("Certificate")["metadata"]["name"] == "release-aurora-bridge"
    assert objects.one("Secret")["metadata"]["name"] == "release"


def test_pods_are_spread_over_nodes_and_zones(helm4: str) -> None:
    spread = render(helm4, {}).pod()["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(each["labelSelector"] == {"matchLabels": SELECTOR} for each in spread)
    mine = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    (own,) = render(helm4, {"topologySpreadConstraints": [mine]}).pod()["topologySpreadConstraints"]
    assert (own["topologyKey"], own["maxSkew"]) == ("rack", 2)
    assert "topologySpreadConstraints" not in render(helm4, {"topologySpreadConstraints": []}).pod()


PARENT: Final = """\
apiVersion: v2
name: parent
version: 0.1.0
dependencies: [{name: aurora-bridge, version: ">=0.0.0"}]
"""


def test_openshift_picks_the_users_also_where_the_chart_is_a_dependency(helm: str, tmp_path: Path) -> None:
    """Helm 4 loses a null that a parent's values have for a dependency."""
    shutil.copytree(CHART, tmp_path / "charts" / "aurora-bridge")
    (tmp_path / "Chart.yaml").write_text(PARENT)
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"aurora-bridge": merged(MINIMAL, {"openshift": True})}))
    for security in (pod["securityContext"] for pod in render(helm, {}, chart=tmp_path).pods()):
        assert security.keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}
    dns, _kafka = render(helm, {"openshift": True}).one("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53, 5353}
