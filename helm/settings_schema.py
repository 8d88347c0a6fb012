"""The part of the chart's schema below `settings`, made from the daemon's own models, so that the two cannot differ.

Stricter than these where the chart cannot follow the daemon: only codecs that the image has, names of events in
snake_case, ASCII. What must hold between settings, and inside the template of a route, the daemon checks in the pod.
`schema` has the rest of the values.
"""

from collections.abc import Mapping
from typing import Any, Final

from aurora_bridge.settings import Settings, SubscriptionSettings
from aurora_bridge.settings.names import REPLACED

Schema = dict[str, Any]

_BY_CHART: Final = {
    "settings": {"state_dir", "admin"},
    "IngressSettings": {"host", "port"},
    "SpoolSettings": {"enabled"},
    "SubscriptionSettings": SubscriptionSettings.model_fields.keys() - {"events", "left_out", "enabled", "id"},
}
"""By model, what the chart sets itself, or leaves out: to change subscriptions is the business of a pipeline."""

_TABLES: Final = {"RouteSettings", "EventSettings", "SubscriptionSettings"}
"""The models of which there can be any number, without defaults in `values.yaml`."""

_EMPTY_IS_NONE: Final = {"AuthSettings": {"query_parameter"}, "KafkaSettings": {"sasl_mechanism"}}
"""By model, the texts of which the empty one means that there is none."""

_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
"""pydantic leaves bounds behind a validator as they are in Python."""

_BROKER = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
_NETWORK = r"([0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*(/[0-9]{1,3})?)"
_SNAKE_CASE = "^[a-z0-9]+(_[a-z0-9]+)*$"

_STRICTER: Final[Mapping[str, Schema]] = {
    "bootstrap_servers": {"pattern": f"^({_BROKER}(,{_BROKER})*)?$"},
    "compression": {"enum": ["none", "gzip"]},
    "template": {"pattern": "^[!-~]+$"},
    "event": {"pattern": _SNAKE_CASE, "maxLength": 128},
    "api_url": {"pattern": r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9_.~/-]*)?$"},  # what urlParse takes
    "sasl_username": {"pattern": "^[ -~]{0,255}$"},
    "trusted_proxies": {"items": {"type": "string", "pattern": f"^{_NETWORK}$"}},
}

_DNS_NAME: Final = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


def settings_schema() -> Schema:
    """Return the schema of `settings`."""
    whole = Settings.model_json_schema()
    top = _object("settings", whole, whole["$defs"])
    top["properties"]["embedded"] = {"type": "boolean"}
    for key in REPLACED:  # let through here, since the refusal in the templates says what there is instead
        group, _, name = key.partition(".")
        top["properties"][group]["properties"][name] = {"description": "Replaced."}
    events = top["properties"]["events"]
    (of_event,) = events.pop("patternProperties").values()
    events |= {"additionalProperties": of_event, "propertyNames": {"pattern": _SNAKE_CASE, "maxLength": 128}}
    return top


def reference(*, config_map: bool = False) -> Schema:
    """Return the schema of where a secret comes from; which of its parts go together, the templates check.

    Null takes out what another values file brings.
    """
    text = {"type": ["string", "null"]}
    name = text | {"pattern": _DNS_NAME, "maxLength": 253}
    properties = {
        "existingSecret": name | {"description": "Name of a Secret in the release's namespace."},
        "existingConfigMap": name | {"description": "Name of a ConfigMap in the release's namespace."},
        "key": text | {"pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$", "maxLength": 253, "description": "Key in it."},
        "file": text
        | {
            "pattern": "^/[A-Za-z0-9._/-]+$",
            "maxLength": 1000,
            "description": "Path of a file that extraVolumes bring.",
        },
    }
    if not config_map:
        del properties["existingConfigMap"]
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _object(name: str, model: Schema, models: Mapping[str, Schema]) -> Schema:
    properties = {
        key.removesuffix("_file"): _field(key, field, models)
        for key, field in model["properties"].items()
        if key not in _BY_CHART.get(name, ())
    }
    for key in _EMPTY_IS_NONE.get(name, ()):
        properties[key] = {"anyOf": [properties[key], {"const": ""}]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": _required(name, model),
    }


def _required(name: str, model: Schema) -> list[str]:
    """Return what must be there: of the groups everything that has a default, which null would take away."""
    if name in _TABLES:
        return list(model["required"]) if "required" in model else []
    return [
        key
        for key, field in model["properties"].items()
        if key not in _BY_CHART.get(name, ()) and field["default"] is not None
    ]


def _field(key: str, field: Schema, models: Mapping[str, Schema]) -> Schema:
    described = {"description": field["description"].split("\n\n")[0]} if "description" in field else {}
    if key.endswith("_file"):
        return reference(config_map=key.endswith("ca_file")) | described
    return _kind(field, models) | _STRICTER.get(key, {}) | described


def _kind(field: Schema, models: Mapping[str, Schema]) -> Schema:
    """Return what a field takes, without names and defaults; for what may be left out, without null."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _object(name, models[name], models)
    if "anyOf" in field:
        first, second = field["anyOf"]
        kind = _kind(first, models)
        if second["type"] != "null":
            return {"anyOf": [kind, _kind(second, models)]}
        kind["type"] = [kind["type"], "null"]
        if "enum" in kind:
            kind["enum"] = [*kind["enum"], None]
        return kind
    kind = {key: value for key, value in field.items() if key not in {"default", "description", "title"}}
    kind = {_BOUNDS.get(key, key): value for key, value in kind.items()}
    if kind["type"] == "array":
        kind["items"] = _kind(kind["items"], models)
        if "minLength" in kind:
            kind["minItems"] = kind.pop("minLength")
    if "patternProperties" in kind:
        kind["patternProperties"] = {key: _kind(value, models) for key, value in kind["patternProperties"].items()}
    return kind
