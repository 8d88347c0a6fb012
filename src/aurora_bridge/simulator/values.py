"""Plausible values for the attributes of an event."""

from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Final
from uuid import UUID

from aurora_bridge.webhook.catalogue import CATALOGUE, EventType

_ONE_OFF: Final = frozenset({"job_id", "asset_id"})
"""Identifiers that are new each time; all others stay the same through a story."""
_EMPTY_SHARE: Final = 0.5
"""Share of agreements without a financing option, which have an empty FINANCING_ID."""
_OTHERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "attributes": ("name", "address", "utility_rate"),
        "external_provider_status": ("approved", "conditionally approved", "declined"),
        "source": ("app", "api"),
        "status": ("succeeded", "failed"),
    }
)
"""Examples for attributes whose values the catalogue does not know."""
_STATUSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"project_status_changed": ("In Progress", "Remote Assessment Completed", "Project Sold", "Completed")}
)


def plausible(
    event: str, random: Random, given: Mapping[str, str] = MappingProxyType({}), cast: dict[str, str] | None = None
) -> dict[str, str]:
    """Return an event's attributes: `given` values, identifiers from `cast`, and random values for the rest.

    New identifiers are added to `cast`, so that the next event of a story is about the same objects. An event that is
    not in the catalogue has only `given`.
    """
    event_type = CATALOGUE.get(event, EventType(event))
    cast = {} if cast is None else cast
    values = {name: given[name] if name in given else _value(event_type, name, random, cast) for name in _names(event)}
    return {**values, **given}


def _names(event: str) -> tuple[str, ...]:
    return CATALOGUE[event].attributes if event in CATALOGUE else ()


def _value(event_type: EventType, name: str, random: Random, cast: dict[str, str]) -> str:
    if name == "financing_id" and name != event_type.identifier and name not in cast:
        cast[name] = "" if random.random() < _EMPTY_SHARE else new_id(random)
    if name in _ONE_OFF:
        return new_id(random)
    if name.endswith("_id"):
        if name not in cast:
            cast[name] = new_id(random)
        return cast[name]
    known = event_type.values.get(name)
    return random.choice(sorted(known) if known else _STATUSES.get(event_type.name, _OTHERS.get(name, ("example",))))


def new_id(random: Random) -> str:
    """Return a random UUID."""
    return str(UUID(int=random.getrandbits(128), version=4))
