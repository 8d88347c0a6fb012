"""The two names of each setting, and suggestions for a name that is unknown.

The code identifies a setting by its key in the TOML file, `ingress.port`; `variable` gives its environment variable.
"""

import difflib
import re
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aurora_bridge.settings.file_tables import EventSettings, RouteSettings, SubscriptionSettings
from aurora_bridge.settings.settings import Settings

PREFIX = "AURORA_BRIDGE_"
CONFIG_VARIABLE = "AURORA_BRIDGE_CONFIG"
"""Names the TOML file; the only variable with the prefix that is not a setting."""

# Variables that Kubernetes sets in pods next to a Service named aurora-bridge, aurora-bridge-admin and so on, like
# Docker's links: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_HOST_OR_PORT = re.compile(r"AURORA_BRIDGE(_[A-Z0-9]+)*_SERVICE_(HOST|PORT(_[A-Z0-9]+)*)")
_SERVICE_LINK = re.compile(r"AURORA_BRIDGE(_[A-Z0-9]+)*_PORT(_[0-9]+_(TCP|UDP|SCTP))?")
_SERVICE_LINK_PART = re.compile(r"AURORA_BRIDGE(_[A-Z0-9]+)*_PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)")
_LINK = re.compile(r"(tcp|udp|sctp)://")


REPLACED = {
    "index.resend_in_progress": "`aurora-bridge resend begin` has taken its place, which needs no restart and ends by "
    "itself after 24 h"
}
"""Former settings, with what replaced them."""

FILE_ONLY: Mapping[str, type[BaseModel]] = {
    "routes": RouteSettings,
    "subscriptions": SubscriptionSettings,
    "events": EventSettings,
}
"""Tables that can occur any number of times, with their fields; the environment has no names for them."""


def _keys() -> dict[str, FieldInfo]:
    keys: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if name in FILE_ONLY:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= {f"{name}.{inner}": leaf for inner, leaf in field.annotation.model_fields.items()}
        else:
            keys[name] = field
    return keys


SETTINGS: Mapping[str, FieldInfo] = _keys()
"""Every setting by its key."""

GROUPS = frozenset(key.partition(".")[0] for key in SETTINGS if "." in key)
"""The tables of the TOML file."""


def variable(key: str) -> str:
    """Return the environment variable of a key: `AURORA_BRIDGE_INGRESS__PORT` for `ingress.port`."""
    return PREFIX + key.replace(".", "__").upper()


def key_of(name: str) -> str:
    """Return the key that an environment variable would set, whether or not there is such a setting."""
    return name[len(PREFIX) :].lower().replace("__", ".")


def is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes, rather than a person, set this variable.

    `AURORA_BRIDGE_INGRESS_PORT=8080` is a person's typo, `AURORA_BRIDGE_INGRESS_PORT=tcp://10.0.0.7:80` is not.
    """
    if _SERVICE_HOST_OR_PORT.fullmatch(name) or _SERVICE_LINK_PART.fullmatch(name):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None and _LINK.match(value) is not None


def similar(key: str) -> list[str]:
    """Return what an unknown `key` may have meant: keys of settings, or a section."""
    close = difflib.get_close_matches(key, [*SETTINGS, *GROUPS, *FILE_ONLY], n=1, cutoff=0.75)
    last = key.rpartition(".")[2]
    return close or [known for known in SETTINGS if known.rpartition(".")[2] == last]
