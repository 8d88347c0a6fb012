"""What a record in Kafka tells a replica that did not publish it, by its key and its headers alone.

`kafka.follower` reads the records, `dedup.index` asks here what each changes: the first record of an id counts, copies
of it change nothing; another id of the same fingerprint is another event, and the later one is the one to know.
"""

from calendar import timegm
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from aurora_bridge.dedup.recurrence import Standing

_FINGERPRINT = 32
_DAY = 8
_DAY_US = 86_400_000_000
_MILLION = 1_000_000
_MOST_ATTEMPTS = 99
_NOT_DURABLE = frozenset({Standing.CLAIMED, Standing.DOUBTFUL, Standing.REFUSED})


class Followed(NamedTuple):
    """An event as its record tells it."""

    fingerprint: str
    time_us: int
    """The event's `time`: microseconds since the epoch."""
    id_ms: int
    """The millisecond in its id, 0 where the id has none."""
    once: bool
    """Whether its id is the fingerprint alone."""
    attempt: int
    family_key: str | None
    instance: str
    """The replica that published it."""

    def is_event_of(self, time_us: int, id_ms: int) -> bool:
        """Whether an event of the same fingerprint, with this time and millisecond, has the same id."""
        if self.id_ms or id_ms:
            return self.id_ms == id_ms
        return self.once or self.time_us // _DAY_US == time_us // _DAY_US


def followed(key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Followed | None:
    """Return what a record tells, None for one that no replica wrote."""
    found: dict[str, Any] = dict(headers)
    try:
        fingerprint = found["aurora-bridge-fingerprint"]
        if key is None or key[:_FINGERPRINT] != fingerprint or len(fingerprint) != _FINGERPRINT:
            return None
        suffix = key[_FINGERPRINT + 1 :].decode()
        attempt = int(found["aurora-bridge-attempt"])
        family = found.get("aurora-bridge-family")
        return Followed(
            fingerprint.decode(),
            _time_us(found["aurora-bridge-time"].decode()),
            _millisecond(suffix) if len(suffix) > _DAY else 0,
            not suffix,
            max(1, min(attempt, _MOST_ATTEMPTS)),
            family.decode() if family is not None else None,
            found["aurora-bridge-instance"].decode(),
        )
    except (KeyError, ValueError, AttributeError, TypeError):  # the latter two: a header without a value
        return None


class Knowledge(NamedTuple):
    """What is known of a fingerprint, as far as it matters here."""

    standing: Standing
    time_us: int
    id_ms: int


def news(known: Knowledge | None, record: Followed, *, ours: bool) -> Standing | None:
    """Return what a fingerprint stands at now that this record is known to be in Kafka, None where that is no news.

    A claim of `ours` in doubt turns out durable; whether its answer arrived is not known: its retry is owed. What
    another replica made durable, that one answered.
    """
    if known is None:
        return Standing.SEEN
    if record.is_event_of(known.time_us, known.id_ms):
        if known.standing not in _NOT_DURABLE:
            return None
        return Standing.OWED if ours else Standing.SEEN
    return Standing.SEEN if record.time_us > known.time_us else None


def _time_us(text: str) -> int:
    """Return the microseconds since the epoch of a time as `event.rfc3339` writes it."""
    return _seconds(text[:19]) * _MILLION + int(text[20:26])


def _millisecond(suffix: str) -> int:
    """Return the milliseconds since the epoch of a time as `event.millisecond_of` writes it."""
    day, time = suffix[:8], suffix[9:15]
    text = f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"
    return _seconds(text) * 1000 + int(suffix[15:18])


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int:
    """Return the seconds since the epoch of a time without its fraction; those of one burst are the same."""
    parts = text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]
    return timegm(tuple(map(int, parts)))
