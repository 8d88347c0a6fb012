"""The rules that tell a duplicate from a genuine repeat, and the ids of events.

Pure functions over what is known of a fingerprint. Aurora sends no delivery id, so content is the identity. But content
can recur: a job never does, a state does, and a bare "something changed" identifies nothing. When in doubt, publish.
"""

from enum import StrEnum
from typing import Protocol

from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_EXPECTED, RETRY_PENDING, SEEN, State
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import day_of, millisecond_of

# In Python 3.11, each access to an enum member is a call.
_ONCE, _STATE, _SIGNAL = Recurrence.ONCE, Recurrence.STATE, Recurrence.SIGNAL


class Action(StrEnum):
    """What to do with a delivery."""

    NEW = "new"
    """Publish it: the first event of its fingerprint, as far as is known."""
    REPEAT = "repeat"
    """Publish it: another event of its fingerprint."""
    RETRY = "retry"
    """Publish it with id and time of the event that it retries."""
    JOIN = "join"
    """The same event is in flight: wait for its result."""
    DUPLICATE = "duplicate"


class Interval(StrEnum):
    """Which of Aurora's retry intervals a delivery fits, by the time since the previous attempt."""

    ECHO = "echo"
    RETRY_30S = "30s"
    RETRY_5MIN = "5min"
    RETRY_30MIN = "30min"
    RETRY_3H = "3h"
    RETRY_20H = "20h"
    RESEND = "re-send"
    """No retry was expected, and a re-send is declared."""
    NONE = "none"


class Known(Protocol):
    """What is known of the last event of a fingerprint."""

    @property
    def state(self) -> State:
        """Its state."""

    @property
    def time_ms(self) -> int:
        """Receipt of the first attempt, milliseconds since the epoch: the event's `time`."""

    @property
    def attempt_ms(self) -> int:
        """Receipt of the last attempt."""


# Aurora: "Delivery", the retry table; each interval counts from the previous attempt. Tolerance: a tenth (at least
# 10 s) early to a fifth (at least 30 s) late. That is wide enough that a retry still fits if the previous one was never
# seen here (30 s + 5 min, ..., 3 h + 20 h), and narrow enough that no two intervals touch.
SCHEDULE = (
    (Interval.RETRY_30S, 30),
    (Interval.RETRY_5MIN, 5 * 60),
    (Interval.RETRY_30MIN, 30 * 60),
    (Interval.RETRY_3H, 3 * 3600),
    (Interval.RETRY_20H, 20 * 3600),
)
EARLY_SHARE, LATE_SHARE = 1 / 10, 1 / 5
"""By what fraction of its interval a retry may be early or late."""
_INTERVALS = tuple(
    (interval, (seconds - max(10, seconds * EARLY_SHARE)) * 1000, (seconds + max(30, seconds * LATE_SHARE)) * 1000)
    for interval, seconds in SCHEDULE
)
RETRIES = frozenset(interval for interval, _ in SCHEDULE)
"""The intervals of Aurora's retries."""
_SAME_EVENT = {
    IN_FLIGHT: Action.JOIN,
    SEEN: Action.DUPLICATE,
    RETRY_EXPECTED: Action.DUPLICATE,
    RETRY_PENDING: Action.RETRY,
}


def interval_of(elapsed_ms: int) -> Interval:
    """Return the interval that a delivery fits if it came `elapsed_ms` after the previous attempt."""
    if elapsed_ms < _INTERVALS[0][1]:
        return Interval.ECHO
    for interval, earliest, latest in _INTERVALS:
        if earliest <= elapsed_ms <= latest:
            return interval
    return Interval.NONE


def decide(  # noqa: PLR0913 - the facts of one decision
    recurrence: Recurrence,
    known: Known,
    now_ms: int,
    window_ms: int,
    *,
    is_latest: bool,
    complete: bool,
    resend: bool = False,
) -> tuple[Action, Interval]:
    """Return what to do with a delivery received at `now_ms`, and its interval.

    `known` is the last event of its fingerprint, `window_ms` the repeat window of its route. `is_latest` says whether
    the delivery equals the latest state of its subject, `complete` whether every event of today is known here. During a
    `resend` that an operator declared, everything accepted before is a duplicate.
    """
    state = known.state
    interval = Interval.RESEND if resend and state is SEEN else interval_of(now_ms - known.attempt_ms)
    accepted = state is SEEN or state is RETRY_EXPECTED
    if accepted and known.time_ms > now_ms:
        return Action.REPEAT, interval  # a clock was set back: an event in the future makes nothing a duplicate
    if recurrence is _SIGNAL:
        same = resend and accepted
    elif recurrence is _ONCE or resend:
        same = True
    else:
        retried = interval in RETRIES and (state is RETRY_EXPECTED or state is RETRY_PENDING)
        unchanged = is_latest and 0 <= now_ms - known.time_ms <= window_ms
        same = retried or (unchanged and (complete or state is IN_FLIGHT))
    return _SAME_EVENT[state] if same else Action.REPEAT, interval


def new_id_ms(recurrence: Recurrence, now_ms: int, *, complete: bool) -> int:
    """Return the millisecond for the id of a fingerprint's first event, 0 if it has none."""
    if recurrence is _ONCE or (recurrence is _STATE and complete):
        return 0
    return now_ms


def event_id(fingerprint: str, recurrence: Recurrence, time_ms: int, id_ms: int) -> str:
    """Return the id of an event.

    `once`: the fingerprint. `state`: with the UTC day of its time, or with the millisecond for a repeat, or if earlier
    events of the day may be unknown. `signal`: always with the millisecond.
    """
    if id_ms:
        return f"{fingerprint}.{millisecond_of(id_ms)}"
    if recurrence is _ONCE:
        return fingerprint
    return f"{fingerprint}.{day_of(time_ms * 1000)}"
