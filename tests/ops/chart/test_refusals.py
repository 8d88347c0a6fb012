"""Values that would lose events, or render settings that the daemon refuses, are refused with the remedy.

The rules are those of the daemon; `test_properties` looks for one that the chart does not know.
"""

import json
from typing import Any, Final

import jsonschema
import pytest
import yaml

from tests.ops.chart.rendering import CHART, MINIMAL, merged, refusal, render

SECRET: Final = {"existingSecret": "s", "key": "k"}
FILE: Final = {"file": "/run/agent/k"}


def kafka(**settings: object) -> dict[str, Any]:
    return {"settings": {"kafka": settings}}


def settings(**groups: object) -> dict[str, Any]:
    return {"settings": groups}


def oauth(**settings: object) -> dict[str, Any]:
    right = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": "https://login.example.com/token",
        "oauth_client_id": "bridge",
        "oauth_client_secret": SECRET,
    }
    return kafka(**(right | settings))


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
        "extraEnv: AURORA_BRIDGE_TENANT came; the environment would win over the settings file, unchecked. Put it",
    ),
    "a setting that a command replaced": (
        settings(index={"resend_in_progress": False}),
        "settings.index.resend_in_progress: this setting is gone; `aurora-bridge resend begin` in each pod has taken",
    ),
    "a key of Aurora's API without an owner": (
        settings(aurora={"api_token": SECRET}),
        "api_token came without tenant_id or partner_application_id; allowed is both or neither",
    ),
    "an owner without a key of Aurora's API": (
        settings(aurora={"tenant_id": "t"}),
        "tenant_id or partner_application_id came without api_token; allowed is both or neither",
    ),
    "two owners": (
        settings(aurora={"api_token": SECRET, "tenant_id": "t", "partner_application_id": "p"}),
        "settings.aurora: tenant_id and partner_application_id came; allowed is one of the two",
    ),
    "a key of Aurora's API in plain text": (
        settings(aurora={"api_token": SECRET, "tenant_id": "t", "api_url": "http://127.example.com"}),
        "settings.aurora.api_url: http://127.example.com came; plain http is allowed on loopback only",
    ),
    "a port of Aurora's API that is none": (
        settings(aurora={"api_url": "https://aurora.example.com:65536"}),
        "settings.aurora.api_url: https://aurora.example.com:65536 came; allowed is a port up to 65535",
    ),
    "no Kafka": (kafka(**NO_KAFKA), "ask for the pod's own log in so many words: settings.embedded=true"),
    "Kafka and the own log": (settings(embedded=True), "Leave embedded out to publish to Kafka"),
    "own logs of two pods": (settings(embedded=True, kafka=NO_KAFKA), "Set replicaCount=1, or name Kafka"),
    "an own log without a volume": (
        {"replicaCount": 1, "persistence": {"enabled": False}, **settings(embedded=True, kafka=NO_KAFKA)},
        "the events would end with the pod",
    ),
    "topics without Kafka": (
        {"replicaCount": 1, "topicsJob": {"enabled": True}, **settings(embedded=True, kafka=NO_KAFKA)},
        "there are no topics. Leave it out",
    ),
    "a drain without Kafka": (
        {"replicaCount": 1, "drain": {"claim": "state-0"}, **settings(embedded=True, kafka=NO_KAFKA)},
        "a volume is drained into Kafka",
    ),
    "a broker's port": (kafka(bootstrap_servers="kafka:70000"), "allowed is a port from 1 to 65535"),
    "deadlines out of order": (settings(deadlines={"publish_seconds": 6}), "allowed is each less than the next"),
    "no credentials": (settings(auth={"tokens": None}), "settings.auth: no credentials came"),
    "no credentials of a route": (
        routes({"template": "/a"}, auth={"tokens": None}, default_route=False),
        "settings.routes[0]: no credentials came",
    ),
    "a route that takes no one": (
        routes({"template": "/a", "allow_anonymous": False}, auth={"tokens": None, "allow_anonymous": True}),
        "settings.routes[0]: no credentials came",
    ),
    "a query parameter without tokens": (
        settings(auth={"tokens": None, "basic": SECRET, "query_parameter": "key"}),
        'settings.auth.query_parameter: "key" came without tokens',
    ),
    "a route's query parameter without tokens": (
        routes({"template": "/a", "basic": SECRET, "query_parameter": "key"}),
        'settings.routes[0].query_parameter: "key" came without tokens',
    ),
    "a certificate without key": (settings(ingress={"tls_certificate": SECRET}), "came without tls_key"),
    "a key without certificate": (settings(ingress={"tls_key": SECRET}), "tls_key came without tls_certificate"),
    "the PROXY protocol of nobody": (settings(ingress={"proxy_protocol": True}), "came without trusted_proxies"),
    "a secret of two places": (settings(auth={"tokens": FILE}), "one place: existingSecret with its key, or file"),
    "a secret without key": (settings(auth={"tokens": {"key": None}}), "Name the key in which the secret holds it"),
    "a route's secret without place": (
        routes({"template": "/a", "tokens": {"key": "k"}}),
        "settings.routes[0].tokens: ",
    ),
    "SASL on a plain listener": (
        kafka(sasl_mechanism="PLAIN"),
        "settings.kafka.sasl_mechanism: it came with security_protocol PLAINTEXT, which does not use it",
    ),
    "TLS on a plain listener": (
        kafka(tls_ca=SECRET),
        "settings.kafka.tls_ca: it came with security_protocol PLAINTEXT, which does not use it",
    ),
    "no host names on a plain listener": (
        kafka(tls_check_hostname=False),
        "settings.kafka.tls_check_hostname: it came with security_protocol PLAINTEXT",
    ),
    "SASL without mechanism": (
        kafka(security_protocol="SASL_SSL"),
        "Set the one that the brokers' listener takes",
    ),
    "a password missing": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="u"),
        "settings.kafka.sasl_password: nothing came with sasl_mechanism SCRAM-SHA-512, which takes sasl_username and",
    ),
    "a password too many": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token=FILE, sasl_password=SECRET),
        "settings.kafka.sasl_password: it came with sasl_mechanism OAUTHBEARER",
    ),
    "a token and an identity provider": (
        oauth(sasl_token=FILE),
        "settings.kafka.sasl_token: it came with sasl_mechanism OAUTHBEARER, which takes oauth_token_url and",
    ),
    "an identity provider without secret": (
        oauth(oauth_client_secret={}),
        "settings.kafka.oauth_client_secret: nothing came with sasl_mechanism OAUTHBEARER",
    ),
    "neither a token nor an identity provider": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER"),
        "which takes sasl_token (or oauth_token_url, oauth_client_id and oauth_client_secret) and nothing",
    ),
    "a scope without identity provider": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token=FILE, oauth_scope="a"),
        "settings.kafka.oauth_scope: it came with sasl_mechanism OAUTHBEARER",
    ),
    "an extension twice": (oauth(oauth_extensions=["a=1", "a=2"]), "settings.kafka.oauth_extensions: a came twice"),
    "the token as an extension": (
        oauth(oauth_extensions=["auth=1"]),
        "settings.kafka.oauth_extensions: auth came and is the token's own",
    ),
    "a port of the identity provider that is none": (
        oauth(oauth_token_url="https://login.example.com:70000/token"),  # noqa: S106 - an address
        "settings.kafka.oauth_token_url: https://login.example.com:70000/token came; allowed is a port up to 65535",
    ),
    "a region missing": (
        kafka(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM"),
        "settings.kafka.aws_region: nothing came with sasl_mechanism AWS_MSK_IAM, which takes aws_region and nothing",
    ),
    "a region too many": (
        oauth(aws_region="eu-west-1"),
        "settings.kafka.aws_region: it came with sasl_mechanism OAUTHBEARER",
    ),
    "a client's key without certificate": (
        kafka(security_protocol="SSL", tls_key=SECRET),
        "settings.kafka.tls_key: it came without tls_certificate",
    ),
    "no route": (settings(default_route=False), "there is no other route"),
    "a template without slash": (templates("leads"), "begins neither with a scheme and host"),
    "a fragment": (templates("/a#b"), "has a #, which begins a fragment"),
    "percent-encoding": (templates("/a%20b"), "has percent-encoding"),
    "a plus in a query": (templates("/a?x=1+2"), "or a plus in the query"),
    "half a placeholder": (templates("/a/<X"), "has a < or > that is no part of a placeholder"),
    "placeholders that touch": (templates("/a?x=<A><B>"), "has two placeholders without anything between them"),
    "a parameter without name": (templates("/a?=1"), "has a parameter without a name"),
    "a placeholder for a name": (templates("/a?<X>=1"), "has a placeholder for the name of a parameter"),
    "a parameter twice": (templates("/a?x=1&x=<X>"), "has a parameter twice"),
    "a secret in the path": (templates("/a/<SESSION_TOKEN>"), "<SESSION_TOKEN> is a secret and stands in the path"),
    "a secret in the path, by Aurora's other name": (
        routes({"template": "/a/<DESIGN_REQUEST_ID_IN_AURORA>"}, ingress={"secret_parameters": ["design_request_id"]}),
        "<DESIGN_REQUEST_ID_IN_AURORA> is a secret",
    ),
    "a token in the path": (
        routes({"template": "/a/<API-KEY>"}, {"template": "/b", "tokens": SECRET, "query_parameter": "api_key"}),
        "<API-KEY> is a secret",
    ),
    "a route's header in the path": (
        routes({"template": "/a/<X_ACME_KEY>"}, {"template": "/b", "tokens": SECRET, "header": "X-Acme-Key"}),
        "<X_ACME_KEY> is a secret",
    ),
    "static parameters that are secrets": (templates("/a?x[token]=1", "/a?x[token]=2"), "could both match one request"),
    "routes that are equal": (templates("/a", "https://h/a"), "settings.routes[0] and settings.routes[1] could both"),
    "a placeholder and a literal": (templates("/a/<X>", "/a/b"), "could both match one request"),
    "a slash at the end": (templates("/a", "/a/"), "could both match one request"),
    "a slash at the end and an empty placeholder": (templates("/a/<X>", "/a?x=<X>"), "could both match one request"),
    "a value with a slash at the end": (templates("/a/<X>", "/a/b/<X>"), "could both match one request"),
    "a pattern and a literal": (templates("/v-<X>.json", "/v-b.json"), "could both match one request"),
    "two patterns": (templates("/v-<X>", "/v-x-<Y>"), "could both match one request"),
    "a static parameter on one side only": (templates("/a?k=1", "/a"), "could both match one request"),
    "an event without identifier": (
        settings(events={"roof_painted": {"recurrence": "once"}}),
        "settings.events.roof_painted: recurrence once came, and nothing tells which attribute identifies the thing",
    ),
    "an event without state": (
        settings(events={"roof_painted": {"recurrence": "state", "identifier": "roof_id"}}),
        "nothing tells which attribute holds the state",
    ),
    "a volatile identifier": (
        settings(events={"project_status_updated": {"volatile_attributes": ["status"]}}),
        "status came, and it tells one project_status_changed from the next",
    ),
    "an identifier that is volatile everywhere": (
        settings(index={"volatile_attributes": ["lead_id"]}),
        "settings.index.volatile_attributes: lead_id came",
    ),
    "a volume that is too small": ({"persistence": {"size": "3071Mi"}}, "allowed is 3072Mi or more"),
    "pods that come and go with their volumes": ({"autoscaling": {"enabled": True}}, "or persistence.enabled=false"),
    "a range upside down": (
        {"persistence": {"enabled": False}, "autoscaling": {"enabled": True, "minReplicas": 7}},
        "autoscaling.maxReplicas: 6 came with minReplicas 7",
    ),
    "two monitors": (
        {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
        "alerts would count everything twice",
    ),
    "an alert that there is not": (
        {"prometheusRule": {"disabled": {"AuroraBridgeSilence": True}}},
        "prometheusRule.disabled: AuroraBridgeSilence came, and no alert is called that",
    ),
    "an Ingress without host": ({"ingress": {"enabled": True}}, "Name the host that Aurora sends to"),
    "an HTTPRoute without gateway": (
        {"httpRoute": {"enabled": True, "hostnames": ["a.example.com"]}},
        "Name the gateway",
    ),
    "an Ingress that leads elsewhere": (
        {"ingress": below("/hooks")},
        "settings.ingress.base_path: / came; allowed is a path that leads here, at or below /hooks of ingress.hosts[0]",
    ),
    "an HTTPRoute that leads elsewhere": (
        {"httpRoute": HTTP_ROUTE | {"path": "/hooks"}, **settings(ingress={"base_path": "/hooks2"})},
        "base_path: /hooks2 came; allowed is a path that leads here, at or below /hooks of httpRoute. Correct",
    ),
    "a route that nothing leads to": (
        {"ingress": below("/hooks"), **templates("/hook/<X>")},
        "settings.routes[0].template: /hook/<X> came; allowed is a path that leads here, at or below /hooks of",
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
        "https://a.example.com/b/<X> came; allowed is a path that leads here, at or below /a of ingress.hosts[0].",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_remedy(case: str, helm4: str) -> None:
    values, remedy = REFUSED[case]
    assert remedy in refusal(helm4, values)


@pytest.mark.parametrize("name", RENAMED)
def test_a_value_that_was_renamed_is_refused_with_its_new_name(name: str, helm: str) -> None:
    values, remedy = RENAMED[name]
    assert remedy in refusal(helm, values)


def test_all_that_is_wrong_is_told_at_once(helm4: str) -> None:
    told = refusal(helm4, {"image": {"repository": ""}, "autoscaling": {"enabled": True}, **templates("/a#b")})
    assert all(words in told for words in ("image.repository:", "autoscaling.enabled:", "settings.routes[0]"))


def test_both_helms_refuse(helm: str) -> None:
    assert "set image.repository" in refusal(helm, {"image": {"repository": ""}})
    assert "tenent" in refusal(helm, settings(tenent="x"))
    assert "publish_seconds" in refusal(helm, settings(deadlines={"publish_seconds": None}))
    assert "kafka" in refusal(helm, settings(kafka=None))


@pytest.mark.parametrize(
    "values",
    [
        templates("/a", "/b"),
        templates("/a/<X>", "/a/b/<X>/c"),
        templates("/a/<X>?k=1", "/a/b?k=2"),
        templates("/a", "/a//", "/a/v-<X>", "/a/b/<X>"),
        templates("/a/<X>?k=1", "/a?k=2"),
        templates("/v-<X>-<Y>", "/v-x"),
        templates("/v-<X>", "/w-<X>"),
        templates("/<X>.json", "/<X>.xml"),
        templates("/a?t=<SESSION_TOKEN>"),
        settings(events={"lead_changed": {"volatile_attributes": ["lead_id"]}}),
        settings(index={"volatile_attributes": ["updated_at"]}),
        settings(auth={"tokens": None, "basic": SECRET}),
        routes({"template": "/a", "tokens": SECRET}, auth={"tokens": None, "allow_anonymous": True}),
        kafka(bootstrap_servers="[::1]:9092,kafka-1.example.com:65535"),
        oauth(oauth_token_url="https://[::1]:65535/token", oauth_extensions=["a=1", "b=a=1"]),  # noqa: S106 - an address
        {"persistence": {"size": "3072Mi"}},
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
    settings(deadlines={"answer_seconds": 10}),
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
