"""What each value does to names, and to how the pods are reached, where a scenario does not show it."""

import re
from typing import Any

import pytest
from kubernetes_validate.utils import validate

from tests.ops.chart.rendering import SELECTOR, render


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
    ends = {each["metadata"]["name"].removeprefix(name).strip("-") for each in objects if each["kind"] != "ConfigMap"}
    assert ends == {"", "admin", "test"}
    assert re.fullmatch(rf"{name}-[0-9a-f]{{10}}", objects.one("ConfigMap")["metadata"]["name"])


@pytest.mark.parametrize("name", ["1e3", "null", "on"])
def test_a_name_that_yaml_could_take_for_something_else_stays_a_text(name: str, helm4: str) -> None:
    tokens = {"existingSecret": name, "key": name}
    given = {"fullnameOverride": "null", "nameOverride": "on", "settings": {"auth": {"tokens": tokens}}}
    given |= {"persistence": {"storageClass": name}, "priorityClassName": name, "serviceAccount": {"name": name}}
    given |= {"ingress": {"enabled": True, "className": name, "hosts": [{"host": name}]}, "drain": {"claim": name}}
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


def test_the_service_for_webhooks_is_as_the_values_say(helm4: str) -> None:
    given = {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}, "loadBalancerClass": "x/y"}
    given |= {"loadBalancerSourceRanges": ["10.0.0.0/8"], "externalTrafficPolicy": "Local"}
    service = render(helm4, {"service": given}).one("Service", "aurora-bridge")
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert service["spec"]["loadBalancerClass"] == "x/y"
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert service["spec"]["ports"][0]["port"] == 443
    assert service["spec"]["selector"] == SELECTOR
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    plain = render(helm4, {"service": given | {"type": "ClusterIP"}}).one("Service", "aurora-bridge")
    assert {"loadBalancerClass", "externalTrafficPolicy"}.isdisjoint(plain["spec"])


def test_the_admin_service_also_lists_pods_that_are_not_ready(helm4: str) -> None:
    spec = render(helm4, {}).one("Service", "-admin")["spec"]
    assert (spec["publishNotReadyAddresses"], spec["selector"]) == (True, SELECTOR)


def test_an_ingress_leads_each_host_to_the_webhooks_and_gives_the_public_url(helm4: str) -> None:
    given = {"enabled": True, "className": "nginx", "annotations": {"a": "b"}}
    paths = [{"path": "/hooks"}, {"path": "/all", "pathType": "ImplementationSpecific"}]
    given |= {"hosts": [{"host": "a.example.com", "paths": paths}, {"host": "b.example.com"}]}
    given |= {"tls": [{"secretName": "t", "hosts": ["a.example.com"]}]}
    objects = render(helm4, {"ingress": given, "settings": {"ingress": {"base_path": "/hooks"}}})
    ingress = objects.one("Ingress")
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["tls"]) == ("nginx", given["tls"])
    assert [
        (rule["host"], path["path"], path["pathType"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ] == [
        ("a.example.com", "/hooks", "Prefix"),
        ("a.example.com", "/all", "ImplementationSpecific"),
        ("b.example.com", "/", "Prefix"),
    ]
    path = ingress["spec"]["rules"][0]["http"]["paths"][0]
    assert path["backend"]["service"] == {"name": "release-aurora-bridge", "port": {"name": "webhooks"}}
    assert objects.settings()["ingress"]["public_url"] == "https://a.example.com"
    assert not render(helm4, {}).has("Ingress")


def test_an_http_route_leads_to_the_webhooks_and_gives_the_public_url(helm4: str) -> None:
    given: dict[str, Any] = {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["a.example.com"]}
    below = {"settings": {"ingress": {"base_path": "/hooks/v2"}}}
    objects = render(helm4, {"httpRoute": given | {"annotations": {"a": "b"}, "path": "/hooks"}, **below})
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


@pytest.mark.parametrize(
    ("url", "port"), [("https://login.example.com/token", 443), ("https://[::1]:8443/token", 8443)]
)
def test_the_network_policy_lets_the_pods_reach_the_identity_provider(url: str, port: int, helm4: str) -> None:
    kafka = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": url,
        "oauth_client_id": "bridge",
        "oauth_client_secret": {"existingSecret": "s", "key": "k"},
    }
    _dns, _kafka, identity = render(helm4, {"settings": {"kafka": kafka}}).one("NetworkPolicy")["spec"]["egress"]
    assert identity == {"ports": [{"port": port, "protocol": "TCP"}]}


def test_the_network_policy_lets_the_pods_ask_aws_for_credentials(helm4: str) -> None:
    kafka = {"security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM", "aws_region": "eu-west-1"}
    _dns, _kafka, sts = render(helm4, {"settings": {"kafka": kafka}}).one("NetworkPolicy")["spec"]["egress"]
    assert sts == {"ports": [{"port": 443, "protocol": "TCP"}]}


def test_a_node_is_drained_one_pod_at_a_time(helm4: str) -> None:
    spec = render(helm4, {}).one("PodDisruptionBudget")["spec"]
    assert (spec["maxUnavailable"], spec["selector"]["matchLabels"]) == (1, SELECTOR)
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert not render(helm4, {"podDisruptionBudget": {"enabled": False}}).has("PodDisruptionBudget")


def test_auroras_api_is_reached_where_there_is_a_key_for_it(helm4: str) -> None:
    aurora = {"api_token": {"existingSecret": "aurora", "key": "api-token"}, "tenant_id": "t"}
    for url, port in {"https://api.aurorasolar.com": 443, "https://aurora.example.com:8443/v1": 8443}.items():
        values = {"settings": {"aurora": {**aurora, "api_url": url}}}
        _dns, _kafka, api = render(helm4, values).one("NetworkPolicy")["spec"]["egress"]
        assert api == {"ports": [{"port": port, "protocol": "TCP"}]}
