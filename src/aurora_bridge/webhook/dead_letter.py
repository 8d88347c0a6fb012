"""Dead letters, which keep malformed deliveries, and marks that one was replayed: both go to the dead-letter topic.

The subject of a mark is the dead letter's id, and so is its record's key: it follows the dead letter in the same
partition, and replaces it in a compacted topic. Its fingerprint covers that id alone, whatever its data adds, so that a
second mark is a duplicate to every replica.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from aurora_bridge.outcomes import DeadLetterReason
from aurora_bridge.webhook.catalogue import DEAD_LETTER, Recurrence
from aurora_bridge.webhook.event import ID, Data, Event, fingerprint_of
from aurora_bridge.webhook.routes import Match

_TYPE: Final = "aurora-bridge.dead_letter"
_REPLAYED: Final = "aurora-bridge.dead_letter_replayed"
_SOURCE = "/aurora/"


class StoredDeadLetter(NamedTuple):
    """A dead letter as read from the log."""

    id: str
    tenant: str
    time_us: int
    """Receipt of the delivery: microseconds since the epoch."""
    event: str
    reason: str
    route: str
    target: str
    """Redacted and percent-encoded."""
    status: str = "200"
    """Of its answer: what is not a 2xx, Aurora sends again."""


def dead_letter(match: Match, reason: DeadLetterReason, target: str, status: int) -> Event:
    """Return the event of a malformed delivery answered `status`; `target` is redacted and percent-encoded."""
    route = match.route
    data: Data = {
        "event": match.event,
        "reason": reason.value,
        "route": route.name,
        "status": str(status),
        "target": target,
    }
    fingerprint = fingerprint_of(route.tenant, DEAD_LETTER, data)
    return Event(DEAD_LETTER, _TYPE, route.tenant, Recurrence.SIGNAL, None, data, fingerprint, None)


def mark_replayed(letter: StoredDeadLetter) -> Event:
    """Return the event that marks a dead letter as replayed."""
    data: Data = {"dead_letter": letter.id}
    fingerprint = fingerprint_of(letter.tenant, DEAD_LETTER, data)
    return Event(DEAD_LETTER, _REPLAYED, letter.tenant, Recurrence.ONCE, letter.id, data, fingerprint, None)


def read_dead_letter(event: Mapping[str, Any]) -> StoredDeadLetter | None:
    """Return a CloudEvent as a dead letter, None if it is not one."""
    try:
        if event["type"] != _TYPE:
            return None
        data = {name: str(event["data"][name]) for name in ("event", "reason", "route", "target")}
        data["status"] = str(event["data"].get("status", "200"))
        time_us = round(datetime.fromisoformat(event["time"]).timestamp() * 1000) * 1000
        letter = StoredDeadLetter(event["id"], event["source"].removeprefix(_SOURCE), time_us, **data)
        return letter if ID.fullmatch(letter.id) else None
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def replayed_letter(event: Mapping[str, Any]) -> str | None:
    """Return the id of the dead letter that a CloudEvent marks as replayed, None if it is no such mark."""
    return event.get("subject") if event.get("type") == _REPLAYED else None
