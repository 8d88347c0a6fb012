"""Values that would lose events are refused by Helm, settings that contradict each other by the daemon.

`test_properties` has that every setting reaches the daemon.
"""

import io
import json
import os
import sys
from typing import Any, Final

import jsonschema
import pytest
import yaml

from tests.cli.in_process import here
from tests.ops.chart.rendering import CHART, MINIMAL, manifests, merged, refusal, render

SECRET: Final = {"existingSecret": "s", "key": "k"}
FILE: Final = {"file": "/run/agent/k"}


def kafka(**settings: object) -> dict[str, Any]:
    return {"settings": {"kafka": settings}}


def settings(**groups: object) -> dict[str, Any]:
    return {"settings": groups}


def routes(*given: dict[str, Any], **groups: object) -> dict[str, Any]:
    return settings(routes=[{"event": "lead_created", **route} for route in given], **groups)


def templates(*given: str) -> dict[str, Any]:
    return routes(*({"template": template} for template in given))


INGRESS: Final = {"enabled": True, "hosts": [{"host": "a.example.com"}]}


def below(path: str) -> dict[str, Any]:
    return {"enabled": True, "hosts": [{"host": "a.example.com", "paths": [{"path": path}]}]}


HTTP_ROUTE: Final = {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["b.example.com"]}
NO_KAFKA: Final = {"bootstrap_servers": ""}

RENAMED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "replicas": ({"replicas": 3}, "replicas: it is called replicaCount now. Rename it."),
    "sidecars": ({"sidecars": []}, "sidecars: it is called extraContainers now. Rename it."),
    "hosts": ({"ingress": {"enabled": True, "hosts": ["a.example.com"]}}, "Write - host: a.example.com."),
    "path": ({"ingress": INGRESS | {"path": "/hooks"}}, "hosts: [{host: hooks.example.com, paths: [{path: /hooks}]}]"),
}

REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no image": ({"image": {"repository": ""}}, "set image.repository to its name there"),
    "a setting in the environment": (
        {"extraEnv": [{"name": "AURORA_BRIDGE_TENANT", "value": "x"}]},
        "extraEnv: AURORA_BRIDGE_TENANT would override the settings file, unchecked. Put it",
    ),
    "a setting that a command replaced": (
        settings(index={"resend_in_progress": False}),
        "settings.index.resend_in_progress: this setting is gone; `aurora-bridge resend begin` in each pod has taken",
    ),
    "own logs of two pods": (settings(embedded=True, kafka=NO_KAFKA), "Set replicaCount=1, or name Kafka"),
    "no credentials": (settings(auth={"tokens": None}), "settings.auth: no credentials, so that anybody"),
    "no credentials of a route": (
        routes({"template": "/a"}, auth={"tokens": None}, default_route=False),
        "settings.routes[0]: no credentials, so that anybody",
    ),
    "a route that takes no one": (
        routes({"template": "/a", "allow_anonymous": False}, auth={"tokens": None, "allow_anonymous": True}),
        "settings.routes[0]: no credentials, so that anybody",
    ),
    "a secret of two places": (settings(auth={"tokens": FILE}), "one place: existingSecret with its key, or file"),
    "a secret without key": (settings(auth={"tokens": {"key": None}}), "Name the key in which the secret holds it"),
    "a route's secret without place": (
        routes({"template": "/a", "tokens": {"key": "k"}}),
        "settings.routes[0].tokens: ",
    ),
    "a volume that is too small": ({"persistence": {"size": "3071Mi"}}, "expected 3072Mi or more"),
    "pods that come and go with their volumes": ({"autoscaling": {"enabled": True}}, "or persistence.enabled=false"),
    "an Ingress without hosts": ({"ingress": {"enabled": True}}, "Name the hosts that Aurora sends to"),
    "an HTTPRoute without gateways": (
        {"httpRoute": HTTP_ROUTE | {"parentRefs": []}},
        "httpRoute.parentRefs: required with httpRoute.enabled. Name its gateway",
    ),
    "fewer pods at most than at least": (
        {"persistence": {"enabled": False}, "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 2}},
        "autoscaling.maxReplicas: invalid 2; expected 3 or more",
    ),
    "two monitors": (
        {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
        "alerts would count everything twice",
    ),
    "an alert that there is not": (
        {"prometheusRule": {"disabled": {"Silent": True}}},
        "prometheusRule.disabled: Silent is no alert's name",
    ),
    "an Ingress that leads elsewhere": (
        {"ingress": below("/hooks")},
        "settings.ingress.base_path: invalid /; expected a path that leads here, at or below /hooks of ingress",
    ),
    "an HTTPRoute that leads elsewhere": (
        {"httpRoute": HTTP_ROUTE | {"path": "/hooks"}, **settings(ingress={"base_path": "/hooks2"})},
        "base_path: invalid /hooks2; expected a path that leads here, at or below /hooks of httpRoute. Correct",
    ),
    "a route that nothing leads to": (
        {"ingress": below("/hooks"), **templates("/hook/<X>")},
        "settings.routes[0].template: invalid /hook/<X>; expected a path that leads here, at or below /hooks of",
    ),
    "a route whose host leads elsewhere": (
        {"ingress": INGRESS, "httpRoute": HTTP_ROUTE, **templates("https://c.example.com/a")},
        "leads here: a.example.com of ingress.hosts[0], or b.example.com of httpRoute. Add c.example.com there",
    ),
    "a route at the path of another host": (
        {
            "ingress": below("/a"),
            "httpRoute": HTTP_ROUTE | {"path": "/b"},
            **templates("https://a.example.com/b/<X>"),
        },
        "https://a.example.com/b/<X>; expected a path that leads here, at or below /a of ingress.hosts[0].",
    ),
    "an emptyDir that is too small": (
        {"persistence": {"enabled": False, "size": "1Gi"}},
        "expected 1536Mi or more, one and a half times settings.index.max_bytes, because",
    ),
}


TOLD_BY_DAEMON: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no Kafka": (kafka(**NO_KAFKA), "Set AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS"),
    "Kafka and the own log": ({"replicaCount": 1, **settings(embedded=True)}, "expected one of the two"),
    "an own log without a volume": (
        {"replicaCount": 1, "persistence": {"enabled": False}, **settings(embedded=True, kafka=NO_KAFKA)},
        "requires Kafka, which is not configured",
    ),
    "deadlines out of order": (settings(deadlines={"publish_seconds": 6}), "expected each less than the next"),
    "a certificate without key": (settings(ingress={"tls_certificate": SECRET}), "expected both or neither"),
    "an owner without a key of Aurora's API": (settings(aurora={"tenant_id": "t"}), "the key of Aurora's API"),
    "a password missing": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="u"),
        "AURORA_BRIDGE_KAFKA__SASL_PASSWORD_FILE",
    ),
    "routes that are equal": (templates("/a", "https://h/a"), "could both match one request"),
    "a volatile identifier": (settings(index={"volatile_attributes": ["lead_id"]}), "lead_id"),
}


@pytest.mark.parametrize("case", TOLD_BY_DAEMON)
def test_what_contradicts_itself_in_the_settings_is_told_by_the_daemon(
    case: str, helm4: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, remedy = TOLD_BY_DAEMON[case]
    monkeypatch.setattr(sys, "stdin", io.StringIO(manifests(helm4, values)))
    said = here("config", "-")
    assert said.returncode == os.EX_CONFIG
    assert remedy in said.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_remedy(case: str, helm4: str) -> None:
    values, remedy = REFUSED[case]
    assert remedy in refusal(helm4, values)


@pytest.mark.parametrize("name", RENAMED)
def test_a_value_that_was_renamed_is_refused_with_its_new_name(name: str, helm: str) -> None:
    values, remedy = RENAMED[name]
    assert remedy in refusal(helm, values)


def test_all_that_is_wrong_is_told_at_once(helm4: str) -> None:
    told = refusal(helm4, {"image": {"repository": ""}, "autoscaling": {"enabled": True}, "sidecars": []})
    assert all(words in told for words in ("image.repository:", "autoscaling.enabled:", "sidecars:"))


def test_both_helms_refuse(helm: str) -> None:
    assert "set image.repository" in refusal(helm, {"image": {"repository": ""}})
    assert "tenent" in refusal(helm, settings(tenent="x"))
    assert "publish_seconds" in refusal(helm, settings(deadlines={"publish_seconds": None}))
    assert "kafka" in refusal(helm, settings(kafka=None))


@pytest.mark.parametrize(
    "values",
    [
        settings(auth={"tokens": None, "basic": SECRET}),
        routes({"template": "/a", "tokens": SECRET}, auth={"tokens": None, "allow_anonymous": True}),
        templates("/a%20b/<X>"),
        {"persistence": {"size": "3072Mi"}},
        {"livenessProbe": {"successThreshold": 1}, "readinessProbe": {"successThreshold": 2}},
        {"persistence": {"enabled": False}, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 2}},
        {
            "ingress": below("/hooks/"),
            **routes({"template": "/hooks?id=<X>"}, ingress={"base_path": "/hooks"}),
        },
        {"ingress": below("/hooks"), **routes({"template": "/hooks/<X>"}, default_route=False)},
        {"ingress": INGRESS, **templates("HTTPS://A.example.com:8443/<X>", "/a/b")},
        {"ingress": below("/hooks") | {"enabled": False}, **templates("https://elsewhere.example.com/a")},
        {
            "ingress": below("/a"),
            "httpRoute": HTTP_ROUTE | {"path": "/b"},
            **routes({"template": "https://a.example.com/a"}, {"template": "/b/<X>"}, default_route=False),
        },
    ],
)
def test_what_is_right_is_not_refused(values: dict[str, Any], helm4: str) -> None:
    render(helm4, values)


UNBOUNDED: Final[list[dict[str, Any]]] = [
    {"replicaCount": -1},
    {"replicaCount": "2"},
    {"unknown": 1},
    {"image": {"pullPolicy": "Sometimes"}},
    {"persistence": {"size": "4G"}},
    {"resources": {"limits": {"memory": "lots"}}},
    {"podSecurityContext": {"runAsNonRoot": False}},
    {"podSecurityContext": {"runAsUser": 0}},
    {"podSecurityContext": {"hostNetwork": True}},
    {"securityContext": {"allowPrivilegeEscalation": True}},
    {"securityContext": {"privileged": True}},
    {"livenessProbe": {"httpGet": {"path": "/"}}},
    {"livenessProbe": {"successThreshold": 2}},
    {"startupProbe": {"successThreshold": 2}},
    {"ingress": {"hosts": [{"host": "a.example.com", "paths": [{"path": "/", "pathType": "Exact"}]}]}},
    {"service": {"type": "ExternalName"}},
    {"ingress": {"hosts": [{"host": "Not A Host"}]}},
    {"terminationMarginSeconds": 0},
    settings(tenant=""),
    settings(state_dir="/x"),
    settings(admin={"port": 1}),
    settings(spool={"enabled": False}),
    settings(ingress={"port": 1}),
    settings(ingress={"base_path": "no-slash"}),
    settings(ingress={"shutdown_pause_seconds": 601}),
    settings(ingress={"secret_parameters": []}),
    settings(deadlines={"answer_seconds": 9.51}),
    settings(auth={"tokens_file": "/x"}),
    settings(auth={"tokens": {"existingSecret": "Not_A_Name"}}),
    settings(events={"Lead": {}}),
    routes({"template": "/a b"}),
    routes({"template": "/a", "header": ""}),
    kafka(bootstrap_servers="kafka"),
    kafka(compression="zstd"),
    kafka(partitions=0),
    kafka(topic_prefix="a/"),
    kafka(oauth_token_url="http://login.example.com/token"),  # noqa: S106 - an address
    kafka(oauth_token_url="https://user:word@login.example.com/token"),  # noqa: S106 - an address
    kafka(oauth_scope=" two  spaces "),
    kafka(oauth_extensions=["no_letters_only=1"]),
    kafka(oauth_client_authentication="none"),
    kafka(aws_region="Europe"),
]


@pytest.mark.parametrize("values", UNBOUNDED, ids=str)
def test_the_schema_is_closed_and_bounded(values: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    whole = merged(merged(defaults, MINIMAL), values)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(whole)
