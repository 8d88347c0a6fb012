"""The states of an event, and the one table of transitions between them.

For each fingerprint, the last event is remembered. Every change of its state, in memory or in the index file, is an
entry of `TRANSITIONS`, which `memory`, `index` and `log_record` apply. `recurrence` decides about deliveries.

What a crash at any moment costs:

- An acknowledged event is in Kafka or in the spool, and the log reader finds it there.
- An event in flight leaves no trace here. If it was stored, the log has it; if not, Aurora's retry counts as its first
  attempt. After a restart, those of our own records that are not in the file count as unanswered if they were received
  within ten seconds of the newest one.
- A refusal is in the file before its 503 is sent, unless the file did not answer or the answer deadline had passed.
- That a retry is expected, or has come, is written at once, but no answer waits for it. If that is lost, and a newer
  state has come or the repeat window is over, the retry is published as a repeat; see docs/decisions/0002.
"""

from enum import IntEnum, auto


class State(IntEnum):
    """State of the last event of a fingerprint. The numbers, except the first, are stored in the index file."""

    IN_FLIGHT = 0
    """Being made durable; in memory only."""
    SEEN = 1
    """Durable, and Aurora got its 2xx."""
    RETRY_EXPECTED = 2
    """Durable, but the 2xx may not have reached Aurora in time: a retry will come, and is a duplicate."""
    RETRY_PENDING = 3
    """Refused, or in doubt: a retry will come, and is published with this id and time."""


class Happening(IntEnum):
    """What can happen to an event. An IntEnum, because integers are hashed fast."""

    PUBLISHED = auto()
    """It is being sent: for the first time, as a repeat, or as a retry after a refusal."""
    STORED = auto()
    """It became durable before its delivery was answered."""
    REFUSED = auto()
    """Its delivery was refused; a send or commit may still succeed."""
    STORED_LATE = auto()
    """It became durable after its delivery was refused. This can be reported before the refusal."""
    UNHEARD = auto()
    """Its 2xx was sent too late, or the client was gone."""
    RETRIED = auto()
    """A duplicate of it came at one of Aurora's retry intervals."""
    LOGGED = auto()
    """The log holds it, published by this replica."""
    LOGGED_ELSEWHERE = auto()
    """The log holds it, published by another replica, which also answered for it."""
    LOGGED_LAST = auto()
    """The log holds it, published by this replica in the last seconds before a crash."""


IN_FLIGHT, SEEN, RETRY_EXPECTED, RETRY_PENDING = State  # in Python 3.11, each access to a member is a call
_H = Happening
TRANSITIONS: dict[tuple[State | None, Happening], State] = {
    # None: the fingerprint is unknown, or its last event is another one.
    (None, _H.PUBLISHED): IN_FLIGHT,
    (None, _H.LOGGED): SEEN,
    (None, _H.LOGGED_ELSEWHERE): SEEN,
    (IN_FLIGHT, _H.STORED): SEEN,
    (IN_FLIGHT, _H.REFUSED): RETRY_PENDING,
    (IN_FLIGHT, _H.STORED_LATE): RETRY_EXPECTED,
    (SEEN, _H.UNHEARD): RETRY_EXPECTED,
    (SEEN, _H.LOGGED_LAST): RETRY_EXPECTED,
    (RETRY_EXPECTED, _H.STORED): SEEN,
    (RETRY_EXPECTED, _H.RETRIED): SEEN,
    (RETRY_PENDING, _H.PUBLISHED): IN_FLIGHT,
    (RETRY_PENDING, _H.STORED_LATE): RETRY_EXPECTED,
    (RETRY_PENDING, _H.LOGGED): RETRY_EXPECTED,
    (RETRY_PENDING, _H.LOGGED_ELSEWHERE): SEEN,
}
"""Pairs that are not listed leave the state unchanged."""
for _state in State:
    for _happening in _H:
        TRANSITIONS.setdefault((_state, _happening), _state)
