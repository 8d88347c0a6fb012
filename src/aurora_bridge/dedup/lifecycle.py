"""What becomes of an event: its states, and the one table of what happens to it.

Of each fingerprint the last event is remembered. Every change of its state, in memory or in the index file, is an entry
of `TRANSITIONS`: `memory`, `index` and `log_record` apply it. `recurrence` decides what a delivery is.

What a crash costs, at any moment: an event that was acknowledged stands in Kafka or in the spool, and the log reader
gives it back. One in flight leaves no trace here: if it was stored, the log has it; if not, Aurora's retry is its first
attempt again. After a restart, our own records that the file did not know count as unanswered if they were received
within ten seconds of the newest of them. A refusal is in the file before its 503 leaves, unless the file did not answer
or the answer deadline was over. That a retry is expected, or has come, is written at once, too, but no answer waits for
it. Expected retries that had not yet been written are forgotten. If a newer state has come, or the repeat window is
over, such a retry is published again as a repeat; docs/decisions/0002 has the rest.
"""

from enum import IntEnum, auto


class State(IntEnum):
    """Where the last event of a fingerprint stands. The numbers are stored in the index file, all but the first."""

    IN_FLIGHT = 0
    """Being made durable; in memory only."""
    SEEN = 1
    """Durable, and Aurora was told so."""
    RETRY_EXPECTED = 2
    """Durable, but the 2xx may not have reached Aurora in time: a retry will come, and is a duplicate."""
    RETRY_PENDING = 3
    """Refused, or in doubt: a retry will come, and re-uses id and time. The event happened all the same."""


class Happening(IntEnum):
    """What can happen to an event. Numbers, since those are hashed at once."""

    PUBLISHED = auto()
    """A delivery of it goes out: the first, a repeat, or a retry of one that was refused."""
    STORED = auto()
    """It became durable before its delivery was answered."""
    REFUSED = auto()
    """Its delivery was refused; a send or commit may still succeed."""
    STORED_LATE = auto()
    """It became durable after its delivery was refused; word of that can come before word of the refusal."""
    UNHEARD = auto()
    """A 2xx for it left too late, or its client was gone."""
    RETRIED = auto()
    """A duplicate of it came at one of Aurora's retry intervals."""
    LOGGED = auto()
    """The log holds it, published by this replica."""
    LOGGED_ELSEWHERE = auto()
    """The log holds it, published by another replica, which also answered for it."""
    LOGGED_LAST = auto()
    """The log holds it, published by this replica in the last seconds before a crash."""


IN_FLIGHT, SEEN, RETRY_EXPECTED, RETRY_PENDING = State  # in Python 3.11 each look-up of a member is a call
_H = Happening
TRANSITIONS: dict[tuple[State | None, Happening], State] = {
    # None: nothing is known of the fingerprint, or another event of it.
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
"""What is not in the table changes nothing."""
for _state in State:
    for _happening in _H:
        TRANSITIONS.setdefault((_state, _happening), _state)
