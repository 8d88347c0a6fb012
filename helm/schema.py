"""`values.schema.json`: closed, bounded, with the descriptions of `values.yaml`.

What is below `settings` comes from the daemon's models, in `settings_schema`; here is what is Kubernetes's. What it
checks itself (a toleration, a container) is left to it, as is what must hold between values to the templates.
"""

from collections.abc import Mapping
from typing import Any, Final

from helm.settings_schema import Schema, settings_schema

_BOOLEAN: Final[Schema] = {"type": "boolean"}
_OBJECT: Final[Schema] = {"type": "object"}
_OBJECTS: Final[Schema] = {"type": "array", "items": _OBJECT}
_STRINGS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}


def _text(pattern: str, longest: int = 253) -> Schema:
    return {"type": "string", "pattern": pattern, "maxLength": longest}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_NAME = _text(r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$")
_SHORT_NAME = _text(r"^([a-z]([a-z0-9-]*[a-z0-9])?)?$", 40)
_LABELS: Final[Schema] = {
    "type": "object",
    "additionalProperties": _text(r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", 63),
}
_HOST = _text(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
_HOSTS: Final[Schema] = {"type": "array", "items": _HOST}
_PATH = _text(r"^/[A-Za-z0-9._~/-]*$", 1000)
_QUANTITY = _text(r"^[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$", 20)
_PROBE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "initialDelaySeconds": _whole(0, 3600),
        "periodSeconds": _whole(1, 3600),
        "timeoutSeconds": _whole(1, 3600),
        "successThreshold": {"const": 1},  # Kubernetes allows no other for a startup or liveness probe
        "failureThreshold": _whole(1, 10_000),
    },
}
_READINESS_PROBE = _PROBE | {"properties": _PROBE["properties"] | {"successThreshold": _whole(1, 100)}}
_AMOUNTS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"], "pattern": _QUANTITY["pattern"]},
}

_KINDS: Final[Mapping[str, Schema]] = {
    "nameOverride": _SHORT_NAME,
    "fullnameOverride": _SHORT_NAME,
    "image.repository": _text(r"^([a-zA-Z0-9]([a-zA-Z0-9._:/-]*[a-zA-Z0-9])?)?$"),
    "image.tag": _text(r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"),
    "image.digest": _text(r"^(sha256:[0-9a-f]{64})?$"),
    "image.pullPolicy": _one_of("IfNotPresent", "Always", "Never"),
    "imagePullSecrets": _OBJECTS,
    "commonLabels": _LABELS,
    "replicaCount": _whole(0, 100),
    "updateStrategy": _OBJECT,
    "minReadySeconds": _whole(0, 3600),
    "persistence.size": _text(r"^[1-9][0-9]{0,6}(Mi|Gi|Ti)$", 20),
    "persistence.storageClass": _NAME,
    "persistence.accessMode": _one_of("ReadWriteOnce", "ReadWriteOncePod"),
    "persistence.annotations": _STRINGS,
    "listenAddress": _one_of("0.0.0.0", "::"),  # noqa: S104 - a pod's address; who may reach it says the NetworkPolicy
    "terminationMarginSeconds": _whole(5, 600),
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    },
    "startupProbe": _PROBE,
    "livenessProbe": _PROBE,
    "readinessProbe": _READINESS_PROBE,
    "lifecycle": _OBJECT,
    "extraEnv": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": _text(r"^[A-Za-z_][A-Za-z0-9_]*$"),
                "value": {"type": "string"},
                "valueFrom": _OBJECT,
            },
        },
    },
    "envFrom": _OBJECTS,
    "extraVolumes": _OBJECTS,
    "extraVolumeMounts": _OBJECTS,
    "extraContainers": _OBJECTS,
    "initContainers": _OBJECTS,
    "podLabels": _LABELS,
    "podAnnotations": _STRINGS,
    "dnsConfig": _OBJECT,
    "hostAliases": _OBJECTS,
    "podSecurityContext": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "runAsNonRoot": {"const": True},
            "runAsUser": _whole(1, 2**31 - 1),
            "runAsGroup": _whole(0, 2**31 - 1),
            "fsGroup": _whole(0, 2**31 - 1),
            "fsGroupChangePolicy": _one_of("OnRootMismatch", "Always"),
            "supplementalGroups": {"type": "array", "items": _whole(0, 2**31 - 1)},
            "seccompProfile": _OBJECT,
            "seLinuxOptions": _OBJECT,
            "appArmorProfile": _OBJECT,
            "sysctls": _OBJECTS,
        },
    },
    "securityContext": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "allowPrivilegeEscalation": {"const": False},
            "readOnlyRootFilesystem": _BOOLEAN,
            "runAsNonRoot": {"const": True},
            "runAsUser": _whole(1, 2**31 - 1),
            "runAsGroup": _whole(0, 2**31 - 1),
            "capabilities": _OBJECT,
            "seccompProfile": _OBJECT,
            "seLinuxOptions": _OBJECT,
            "appArmorProfile": _OBJECT,
        },
    },
    "serviceAccount.name": _NAME,
    "serviceAccount.annotations": _STRINGS,
    "nodeSelector": _STRINGS,
    "tolerations": _OBJECTS,
    "affinity": _OBJECT,
    "topologySpreadConstraints": _OBJECTS,
    "priorityClassName": _NAME,
    "service.type": _one_of("ClusterIP", "NodePort", "LoadBalancer"),
    "service.port": _whole(1, 65535),
    "service.annotations": _STRINGS,
    "service.loadBalancerClass": _text(r"^[A-Za-z0-9./-]*$"),
    "service.loadBalancerSourceRanges": {"type": "array", "items": _text(r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")},
    "service.externalTrafficPolicy": _one_of("", "Cluster", "Local"),
    "ingress.className": _NAME,
    "ingress.annotations": _STRINGS,
    "ingress.hosts": {
        "type": "array",
        "items": {
            "type": ["object", "string"],  # a text, of an older chart, is refused by the templates
            "additionalProperties": False,
            "required": ["host"],
            "properties": {
                "host": _HOST,
                "paths": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["path"],
                        "properties": {"path": _PATH, "pathType": _one_of("Prefix", "ImplementationSpecific")},
                    },
                },
            },
        },
    },
    "ingress.tls": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"secretName": _NAME, "hosts": _HOSTS},
        },
    },
    "httpRoute.annotations": _STRINGS,
    "httpRoute.parentRefs": _OBJECTS,
    "httpRoute.hostnames": _HOSTS,
    "httpRoute.path": _PATH,
    "networkPolicy.webhooksFrom": _OBJECTS,
    "networkPolicy.adminFrom": _OBJECTS,
    "networkPolicy.kafkaTo": _OBJECTS,
    "networkPolicy.kafkaPorts": {"type": "array", "items": _whole(1, 65535)},
    "networkPolicy.extraEgress": _OBJECTS,
    "podDisruptionBudget.maxUnavailable": _whole(1, 100),
    "autoscaling.minReplicas": _whole(1, 100),
    "autoscaling.maxReplicas": _whole(1, 100),
    "autoscaling.targetCPUUtilizationPercentage": _whole(1, 100),
    "probe.labels": _LABELS,
    "probe.prober": _text(r"^([A-Za-z0-9][A-Za-z0-9.:-]*)?$"),
    "probe.module": _text(r"^[A-Za-z0-9_.-]+$"),
    "probe.interval": _text(r"^[1-9][0-9]*(s|m)$", 10),
    **{
        f"{monitor}.{key}": kind
        for monitor in ("podMonitor", "serviceMonitor")
        for key, kind in {
            "labels": _LABELS,
            "interval": _text(r"^[1-9][0-9]*(s|m)$", 10),
            "scrapeTimeout": _text(r"^([1-9][0-9]*(s|m))?$", 10),
            "relabelings": _OBJECTS,
            "metricRelabelings": _OBJECTS,
        }.items()
    },
    "prometheusRule.labels": _LABELS,
    "prometheusRule.runbookBaseUrl": _text(r"^(https?://[^\s\"'\\$]+)?$", 1000),
    "prometheusRule.disabled": {"type": "object", "additionalProperties": _BOOLEAN},
    "prometheusRule.additionalRuleLabels": _STRINGS,
    "dashboards.labels": _LABELS,
    "dashboards.annotations": _STRINGS,
    "dashboards.namespace": _NAME,
    "drain.claim": _NAME,
    "drain.patience": _whole(1, 86400),
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
"""By path, what a value can be that is neither true or false nor a group."""

_RENAMED: Final = {"replicas": "replicaCount", "sidecars": "extraContainers"}
"""Old names, which are let through here, since the refusal in the templates says what there is instead."""


def schema(values: Mapping[str, Any], descriptions: Mapping[str, str]) -> Schema:
    """Return the schema of the values, whose defaults are given. Raises `KeyError` for one that has no kind."""
    top = _node("", dict(values), descriptions)
    top["required"] += ["settings"]
    top["properties"]["settings"] = settings_schema() | {"description": descriptions["settings"]}
    top["properties"] |= {old: {"description": f"Renamed: {new}."} for old, new in _RENAMED.items()}
    top["properties"]["ingress"]["properties"]["path"] = {"description": "Replaced: paths of each host."}
    top["properties"]["global"] = {"type": "object", "description": "Of a chart above; not used."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of aurora-bridge"} | top


def _node(path: str, value: object, descriptions: Mapping[str, str]) -> Schema:
    described = {"description": descriptions[path]} if path in descriptions else {}
    if path in _KINDS:
        return _KINDS[path] | described
    if isinstance(value, bool):
        return _BOOLEAN | described
    if isinstance(value, dict):
        properties = {
            key: _node(f"{path}.{key}" if path else key, inner, descriptions)
            for key, inner in value.items()
            if path or key != "settings"
        }
        groups = [key for key, inner in properties.items() if "properties" in inner and key not in _KINDS]
        required = {"required": groups} if groups else {}
        return {"type": "object", "additionalProperties": False, "properties": properties} | required | described
    raise KeyError(path)
