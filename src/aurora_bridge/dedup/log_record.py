"""What a log record says: its event, who published it, and whether that is new.

Only the first record with an id counts; copies change nothing. Another id of the same fingerprint is another event. The
later one is remembered.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State
from aurora_bridge.webhook.event import identity_of

_DIGEST = re.compile("[0-9a-f]{32}")
_DAY_MS = 86_400_000
_MOST_ATTEMPTS = 99


class Latest(NamedTuple):
    """The event that is the latest state of a family's subject."""

    family_key: str
    fingerprint: str
    time_ms: int
    id_ms: int


class LogRecord(NamedTuple):
    """An event, as read from its record."""

    fingerprint: str
    time_ms: int
    """The event's `time`, milliseconds since the epoch."""
    id_ms: int
    """The millisecond in its id, 0 if the id has none."""
    once: bool
    """Whether its id is the fingerprint alone."""
    attempt: int
    attempt_ms: int
    """Receipt of the stored attempt: the event's time, or for a later attempt, the record's timestamp."""
    family_key: str | None
    instance: str
    """The replica that published it."""

    @property
    def times(self) -> tuple[int, int, int, int]:
        """What the index keeps of it, in the order of its columns."""
        return self.time_ms, self.id_ms, self.attempt_ms, self.attempt

    def is_event_of(self, known: "Known") -> bool:
        """Whether `known`, an event of the same fingerprint, has the same id."""
        return has_same_id(self, known) or (self.once and not known.id_ms)


def has_same_id(one: "Known", other: "Known") -> bool:
    """Whether two states of one fingerprint have the same id: the same millisecond, or the same UTC day."""
    if one.id_ms or other.id_ms:
        return one.id_ms == other.id_ms
    return one.time_ms // _DAY_MS == other.time_ms // _DAY_MS


class Known(Protocol):
    """What tells an event from others of its fingerprint."""

    @property
    def time_ms(self) -> int:
        """Receipt of its first attempt."""

    @property
    def id_ms(self) -> int:
        """The millisecond in its id, 0 if the id has none."""


def reconcile(record: LogRecord, known: Known | None, state: State | None, happening: Happening) -> State | None:
    """Return the new state of a fingerprint's last event, given a record of it; None if nothing changes.

    `known` is the last event so far, and `state` its state.
    """
    if known is None or state is None:
        return TRANSITIONS[None, happening]
    if record.is_event_of(known):
        after = TRANSITIONS[state, happening]
        return None if after is state else after
    newer = (record.time_ms, record.id_ms) > (known.time_ms, known.id_ms) and state is not State.IN_FLIGHT
    return TRANSITIONS[None, happening] if newer else None


def read(value: bytes | None, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int) -> LogRecord | None:
    """Return the event of a record, None if no replica wrote it."""
    identity, found = identity_of(value, headers), dict(headers)
    if identity is None:
        return None
    event_id, fingerprint, time_us, id_ms = identity
    try:
        attempt = max(1, min(int(found["aurora-bridge-attempt"] or b""), _MOST_ATTEMPTS))
        instance = (found["aurora-bridge-instance"] or b"").decode()
        family_key = (found.get("aurora-bridge-family") or b"").decode() or None
    except (KeyError, ValueError):
        return None
    if family_key is not None and not _DIGEST.fullmatch(family_key):
        return None
    time_ms = time_us // 1000
    attempt_ms = time_ms if attempt == 1 else timestamp_ms
    once = event_id == fingerprint
    return LogRecord(fingerprint, time_ms, id_ms, once, attempt, attempt_ms, family_key, instance)
