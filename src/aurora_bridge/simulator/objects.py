"""The objects whose ids were sent, with the few fields that consumers read from Aurora's API."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from aurora_bridge.simulator.stories import Occurrence

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {"projects": "project", "designs": "design", "agreements": "agreement", "leads": "lead"}
)
"""Kinds by their name in the API's paths; these and the form of a response are inferred."""
_KEPT: Final = frozenset({"project_id", "design_id", "lead_id"})
"""References to other objects."""
_MOST: Final = 10_000
"""Limit of each kind; the oldest is dropped."""


class Objects:
    """The latest known fields of each object."""

    def __init__(self) -> None:
        self._by_kind: dict[str, OrderedDict[str, dict[str, str]]] = {kind: OrderedDict() for kind in KINDS.values()}

    def get(self, kind: str, object_id: str) -> Mapping[str, str] | None:
        """Return an object, None if its id was never sent or it was deleted."""
        return self._by_kind[kind].get(object_id)

    def see(self, occurrence: Occurrence) -> None:
        """Update the objects that an event mentions."""
        attributes = occurrence.attributes
        for kind, things in self._by_kind.items():
            if not (object_id := attributes.get(f"{kind}_id")):
                continue
            if occurrence.event == f"{kind}_deleted":
                things.pop(object_id, None)
                continue
            if object_id not in things:
                created_at = datetime.fromtimestamp(occurrence.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                things[object_id] = {"id": object_id, "created_at": created_at}
                if len(things) > _MOST:
                    things.popitem(last=False)
            others = {name: value for name, value in attributes.items() if name in _KEPT and name != f"{kind}_id"}
            if occurrence.event == f"{kind}_status_changed":  # the API writes `cancel_pending`
                others["status"] = attributes.get("status", "").replace("-", "_")
            things[object_id] |= others
