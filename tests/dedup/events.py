"""Events for tests of the dedup room, the records that tell of them, and the times that they come at."""

from dataclasses import replace
from hashlib import sha256
from time import time
from typing import Final

from aurora_bridge.dedup import log_record
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.log_record import LogRecord
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import event_id
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event, Headers, encode, rfc3339

# Milliseconds.
SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NOON: Final = int(time()) * 1000 // DAY * DAY + 12 * HOUR
"""Of today, UTC: neither midnight nor the end of the index window is near, whenever the tests run."""

ME: Final = "me"
OTHER: Final = "other"


def state(letter: str, subject: str = "1", window: int = DAY) -> Event:
    """Return a state of a subject, on a route with that repeat window."""
    data: dict[str, str | None] = {"project_id": subject, "status": letter}
    fingerprint, family_key = digest(f"{letter} of {subject}"), digest(subject)
    return Event(
        "project_status_changed",
        "com.aurorasolar.project_status_changed",
        "default",
        Recurrence.STATE,
        f"project/{subject}",
        data,
        fingerprint,
        family_key,
        window * 1000,
    )


def digest(text: str) -> str:
    """Return 32 hex digits that stand for a text."""
    return sha256(text.encode()).hexdigest()[:32]


def once(subject: str = "1") -> Event:
    """Return what happens once."""
    event = state("created", subject)
    return replace(event, name="project_created", recurrence=Recurrence.ONCE, family_key=None)


def signal(subject: str = "1") -> Event:
    """Return a bare "something changed"."""
    event = state("changed", subject)
    return replace(event, name="lead_changed", recurrence=Recurrence.SIGNAL, family_key=None)


A, B, C = state("A"), state("B"), state("C")
ONCE, SIGNAL = once(), signal()


def outbox_record(event: Event, entry: Entry, instance: str = ME) -> OutboxRecord:
    """Return the record that the bridge makes of an event."""
    id_ = event_id(event.fingerprint, event.recurrence, entry.time_ms, entry.id_ms)
    value = encode(event, id_, rfc3339(entry.time_ms * 1000), repeat=entry.repeat)
    headers: Headers = [
        ("content-type", b"application/cloudevents+json; charset=UTF-8"),
        ("aurora-bridge-instance", instance.encode()),
        ("aurora-bridge-attempt", b"%d" % entry.attempt),
    ]
    if event.family_key is not None:
        headers.append(("aurora-bridge-family", event.family_key.encode()))
    return OutboxRecord(event.name, id_.encode(), value, headers, b"", entry.time_ms, event.fingerprint)


def told(event: Event, at: int, *, id_ms: int | None = None, instance: str = OTHER) -> LogRecord:
    """Return what the log tells of an event that was received at a time; a state has the id of its day."""
    if id_ms is None:
        id_ms = at if event.recurrence is Recurrence.SIGNAL else 0
    record = outbox_record(event, entry_of(event, at, id_ms), instance)
    read = log_record.read(record.value, record.headers, at)
    assert read is not None
    return read


def entry_of(event: Event, at: int, id_ms: int = 0) -> Entry:
    """Return an event as memory has it while it is in flight."""
    return Entry(event.fingerprint, event.family_key, State.IN_FLIGHT, at, id_ms, at)
