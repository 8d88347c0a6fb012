"""What a record of the log tells: its event, who published it, and whether that is new.

The first record of an id counts, copies of it change nothing; another id of the same fingerprint is another event, and
the later one is the one to know.
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
    """The latest state of a family's subject: which event that is."""

    family_key: str
    fingerprint: str
    time_ms: int
    id_ms: int


class LogRecord(NamedTuple):
    """An event as its record tells it."""

    fingerprint: str
    time_ms: int
    """The event's `time`, milliseconds since the epoch."""
    id_ms: int
    """The millisecond in its id, 0 where the id has none."""
    once: bool
    """Whether its id is the fingerprint alone."""
    attempt: int
    attempt_ms: int
    """Receipt of the attempt that was stored: its time, or when a later attempt was handed over."""
    family_key: str | None
    instance: str
    """The replica that published it."""

    @property
    def times(self) -> tuple[int, int, int, int]:
        """What the index keeps of it, in the order of its columns."""
        return self.time_ms, self.id_ms, self.attempt_ms, self.attempt

    def is_event_of(self, known: "Known") -> bool:
        """Whether an event of the same fingerprint has the same id."""
        return has_same_id(self, known) or (self.once and not known.id_ms)


def has_same_id(one: "Known", other: "Known") -> bool:
    """Whether two states of one fingerprint have the same id: the millisecond, or the UTC day."""
    if one.id_ms or other.id_ms:
        return one.id_ms == other.id_ms
    return one.time_ms // _DAY_MS == other.time_ms // _DAY_MS


class Known(Protocol):
    """An event of a fingerprint, as far as its id tells it from another."""

    @property
    def time_ms(self) -> int:
        """Receipt of its first attempt."""

    @property
    def id_ms(self) -> int:
        """The millisecond in its id, 0 where the id has none."""


def reconcile(record: LogRecord, known: Known | None, state: State | None, happening: Happening) -> State | None:
    """Return the state of a fingerprint's last event now that a record tells of one, None where that is not new.

    `known` is the last event so far, in this `state`.
    """
    if known is None or state is None:
        return TRANSITIONS[None, happening]
    if record.is_event_of(known):
        after = TRANSITIONS[state, happening]
        return None if after is state else after
    newer = (record.time_ms, record.id_ms) > (known.time_ms, known.id_ms) and state is not State.IN_FLIGHT
    return TRANSITIONS[None, happening] if newer else None


def read(value: bytes | None, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int) -> LogRecord | None:
    """Return what a record tells, None for one that no replica wrote."""
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
