"""How the deliveries of a route are read: which parameters are secret, and what each event type is taken to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.catalogue import CATALOGUE, UNRECOGNIZED, EventType

HIDDEN_STATE_WINDOW_US: Final = 60_000_000
"""Repeat window where Aurora may not announce the state in between: all but immediate copies count as new events."""

_UNKNOWN = EventType(UNRECOGNIZED)
_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The rules of one route. Compared by identity, since they are part of a cache key (`query_shape`)."""

    secrets: SecretNames
    """Parameters that reach no event, log or dead letter."""
    repeat_window_us: int = 0
    """Microseconds within which the same state of the same subject is a duplicate."""
    types: Mapping[str, EventType] = field(default_factory=lambda: CATALOGUE)
    """The catalogue, with the operator's overrides."""
    volatile: frozenset[str] = frozenset()
    """Attributes of any event that are left out of the fingerprint."""

    def type_of(self, event: str) -> EventType:
        """Return the type of an event, a bare signal if it is unknown."""
        return self.types.get(event, _UNKNOWN)

    def window_us(self, event_type: EventType) -> int:
        """Return the repeat window of an event in microseconds: the operator's for this event, else the route's."""
        if event_type.repeat_window_seconds is not None:
            return event_type.repeat_window_seconds * _SECOND_US
        if event_type.unannounced_states:
            return min(self.repeat_window_us, HIDDEN_STATE_WINDOW_US)
        return self.repeat_window_us
