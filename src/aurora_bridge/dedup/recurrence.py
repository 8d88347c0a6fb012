"""Same event or new one: the rules that tell a duplicate from a genuine repeat, and the ids that follow.

Pure functions over what is known of a fingerprint; `claims` applies them to the deliveries under way and `dedup.index`
remembers. Aurora sends no delivery id, so identity is content, and content comes back: jobs never, states do, and a
bare "something changed" says nothing at all. When in doubt, the answer is "publish".
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import day_of, millisecond_of

_SECOND_US = 1_000_000
_NEVER = 0
_ONCE, _STATE = Recurrence.ONCE, Recurrence.STATE  # in Python 3.11 each look-up of a member is a call


class Standing(IntEnum):
    """What became of the last claim on a fingerprint. The numbers are stored in the index."""

    CLAIMED = 0
    """Being made durable. When its process is gone, it is in doubt."""
    SEEN = 1
    """Durable, and Aurora was told so."""
    OWED = 2
    """Durable, but the 2xx may not have reached Aurora in time: a retry will come."""
    DOUBTFUL = 3
    """Refused while it may still become durable: a retry will come, and must re-use its id."""
    REFUSED = 4
    """Definitely not stored: a retry will come, and is the first of its event that counts."""


class Known(NamedTuple):
    """What is known of a fingerprint: the last claim on it."""

    standing: Standing
    repeat: bool
    """Whether another event of this fingerprint had been accepted before that claim."""
    time_us: int
    """The event's `time`: receipt of the first attempt, microseconds since the epoch."""
    id_ms: int
    """The millisecond in its id, 0 where the id has none."""
    attempt_us: int
    """Receipt of the last attempt, by the wall clock as it is set now."""
    attempt: int
    """Estimated number of the last attempt, from 1."""
    latest: bool
    """Whether it is the latest state of its subject, claims in flight included."""


class Action(StrEnum):
    """What to do with a delivery."""

    PUBLISH = "publish"
    JOIN = "join"
    """The same event is in flight: wait for its result."""
    DUPLICATE = "duplicate"


class Slot(StrEnum):
    """Which attempt of Aurora's schedule a delivery fits, by its distance from the attempt before."""

    ECHO = "echo"
    RETRY_30S = "30s"
    RETRY_5MIN = "5min"
    RETRY_30MIN = "30min"
    RETRY_3H = "3h"
    RETRY_20H = "20h"
    NONE = "none"


class Judgement(NamedTuple):
    """The verdict over one delivery."""

    action: Action
    repeat: bool
    time_us: int
    id_ms: int
    attempt: int
    slot: Slot


# Aurora: "Delivery", the retry table; each interval counts from the attempt before. From a tenth (at least 10 s) early
# to a fifth (at least 30 s) late: wide enough that a retry still fits when those before it were never seen here
# (30 s + 5 min, ..., 3 h + 20 h), narrow enough that no two slots touch.
_SCHEDULE = (
    (Slot.RETRY_30S, 30),
    (Slot.RETRY_5MIN, 5 * 60),
    (Slot.RETRY_30MIN, 30 * 60),
    (Slot.RETRY_3H, 3 * 3600),
    (Slot.RETRY_20H, 20 * 3600),
)
_SLOTS = tuple(
    (slot, (seconds - max(10, seconds / 10)) * _SECOND_US, (seconds + max(30, seconds / 5)) * _SECOND_US)
    for slot, seconds in _SCHEDULE
)
_ECHO_US = _SLOTS[0][1]
RETRIES = frozenset(slot for slot, _, _ in _SLOTS)
"""The slots of Aurora's retries."""
_AWAITED = frozenset({Standing.OWED, Standing.DOUBTFUL, Standing.REFUSED})
_SAME_EVENT = {
    Standing.CLAIMED: Action.JOIN,
    Standing.SEEN: Action.DUPLICATE,
    Standing.OWED: Action.DUPLICATE,
    Standing.DOUBTFUL: Action.PUBLISH,
    Standing.REFUSED: Action.PUBLISH,
}


def slot_of(elapsed_us: int) -> Slot:
    """Return the slot that a delivery fits which came `elapsed_us` after the attempt before."""
    if elapsed_us < _ECHO_US:
        return Slot.ECHO
    for slot, earliest, latest in _SLOTS:
        if earliest <= elapsed_us <= latest:
            return slot
    return Slot.NONE


def first_id_ms(recurrence: Recurrence, now_us: int, *, can_know: bool) -> int:
    """Return the millisecond in the id of an event that is new as far as we know, 0 for none."""
    if recurrence is _ONCE or (recurrence is _STATE and can_know):
        return _NEVER
    return now_us // 1000


def judge(  # noqa: PLR0913 - the facts of one verdict
    recurrence: Recurrence,
    known: Known | None,
    now_us: int,
    window_us: int,
    *,
    can_know: bool,
    resend: bool = False,
    jumped_us: int = 0,
) -> Judgement:
    """Judge a delivery received at `now_us`, by what is `known` of its fingerprint.

    `window_us` is the repeat window of its route. `can_know` is false while earlier events of today may be unknown
    here. During a `resend` that an operator declared, every known fingerprint is a duplicate. `jumped_us` is what the
    wall clock was set forward since the event's `time`: no time that has passed.
    """
    if known is None:
        id_ms = first_id_ms(recurrence, now_us, can_know=can_know)
        return Judgement(Action.PUBLISH, repeat=False, time_us=now_us, id_ms=id_ms, attempt=1, slot=Slot.NONE)
    slot = slot_of(now_us - known.attempt_us)
    accepted = known.standing is not Standing.REFUSED or known.repeat
    if (resend and accepted) or _is_same_event(recurrence, known, now_us - jumped_us, window_us, slot):
        action = _SAME_EVENT[known.standing]
        return Judgement(action, known.repeat, known.time_us, known.id_ms, known.attempt + 1, slot)
    if recurrence is Recurrence.STATE and not accepted and known.id_ms == _NEVER:
        id_ms = first_id_ms(recurrence, now_us, can_know=can_know)
    else:
        id_ms = max(now_us // 1000, known.id_ms + 1)
    return Judgement(Action.PUBLISH, accepted, now_us, id_ms, 1, slot)


def _is_same_event(recurrence: Recurrence, known: Known, now_us: int, window_us: int, slot: Slot) -> bool:
    match recurrence:
        case Recurrence.ONCE:
            return True
        case Recurrence.SIGNAL:
            return False
        case Recurrence.STATE:
            still_so = known.latest and known.standing is not Standing.REFUSED and now_us - known.time_us <= window_us
            return still_so or (known.standing in _AWAITED and slot in RETRIES)


def event_id(fingerprint: str, recurrence: Recurrence, time_us: int, id_ms: int) -> str:
    """Return the id of an event, which is its record's key.

    `once`: the fingerprint. `state`: with the UTC day of its time, or the millisecond for a repeat and where earlier
    events of the day may be unknown. `signal`: always with the millisecond.
    """
    if id_ms:
        return f"{fingerprint}.{millisecond_of(id_ms)}"
    if recurrence is _ONCE:
        return fingerprint
    return f"{fingerprint}.{day_of(time_us)}"
