"""What the daemon could know of a subject when it was told something of it.

Whoever knows what happened can tell what the daemon cannot; it is excused for nothing but what its design names:

- A state that comes back must be published: a record of it, received since the last other state of its subject was,
  that state refused or not. A copy of it that came in between is as good, since nothing tells the two apart.
- A copy behind another state of its subject looks like a state that came back, and may become an event of its own.
- `Limits` has what the design says of an index that is not complete or was lost, of clocks and of other replicas.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from tests.faults.aurora import REFUSED
from tests.faults.journal import NOISE_SECONDS, Request, Told

MILLISECOND: Final = 0.001
"""To which a record's `time` is cut."""
EXPECTED_SECONDS: Final = 10.0
"""What was received within so much of the newest is expected again after a crash, if the index did not know of it."""
STATES: Final = frozenset({"state", "turn"})
"""Kinds of events that can come back."""

Span = tuple[float, float]
"""From one moment to another, by the monotonic clock."""


@dataclass(slots=True)
class Limits:
    """Where the design itself says that a state may be told twice, or not be known."""

    incomplete: Collection[Span] = ()
    """While an index was not complete: no state is a duplicate for equalling the latest."""
    forgotten: Collection[Span] = ()
    """While an index lost what it knew of refused and of unheard answers, which stand in no log."""
    clock_set: Collection[float] = ()
    """When the clock was set: windows and intervals move with it."""
    down: Collection[Span] = ()
    """While a daemon was not running: it may not have received what got no answer then."""
    crashes: Collection[Span] = ()
    """When a daemon died, as far as that is known: retries of what it had just stored are expected then."""
    lag: float = 0.0
    """Seconds within which one replica does not know what another published."""


class Histories:
    """The genuine events of each subject, and how each of them may be told."""

    def __init__(self, events: Iterable[Told], limits: Limits) -> None:
        """Take all genuine events."""
        self._limits = limits
        self._families: defaultdict[tuple[str, int], list[Told]] = defaultdict(list)
        for told in events:
            self._families[told.event, told.subject].append(told)
        for family in self._families.values():
            family.sort(key=lambda told: told.begun)

    def why_not_lost(self, told: Told, times: Sequence[float]) -> str | None:
        """Return why an accepted event without a record may have none, None where it may not.

        Records of its content were received at these `times`.
        """
        if told.kind not in STATES:
            return None
        assert told.acceptance is not None
        since, until = self._superseded_wall(told, told.acceptance), told.acceptance.answered_wall
        if any(since <= time + MILLISECOND <= until for time in times):
            return "states for which a copy stands"
        if self._expected(told, told.acceptance):
            return "states taken for a retry that was expected after a crash"
        return None

    def _expected(self, told: Told, acceptance: Request) -> bool:
        """Whether a request can be taken for the retry of the one of the same content before it.

        That was answered so shortly before the daemon died that for all it knows nobody heard. It was heard, so that no
        retry of its own takes the place. A retry is expected once; but a crash can take the note that it came.
        """
        family = [one for one in self._families[told.event, told.subject] if one.digest == told.digest]
        before = family[family.index(told) - 1] if told is not family[0] else None
        return before is not None and any(
            start - EXPECTED_SECONDS <= before.accepted_at <= end and start <= acceptance.begun
            for start, end in self._limits.crashes
        )

    def _superseded_wall(self, told: Told, acceptance: Request) -> float:
        """Return when the last other state before this one was told of its subject, by the wall clock."""
        known = acceptance.begun - self._limits.lag
        for other in reversed(self._families[told.event, told.subject]):
            received = min(map(self._received_at, other.requests))
            if other.begun < told.begun and other.digest != told.digest and received <= known:
                return other.begun_wall
        return -inf

    def _received_at(self, request: Request) -> float:
        """Return when the daemon must have received a request; a client that left was gone before it."""
        if request.status:
            return request.answered
        return (
            inf if _overlaps(self._limits.down, request.begun, request.answered) else request.answered + NOISE_SECONDS
        )

    def ids_allowed(self, told: Told) -> int:
        """Return under how many ids an event may be there."""
        if told.kind == "signal":
            return len(told.requests)  # each is an event of its own
        if told.kind not in STATES:
            return 1
        return 1 + sum(self._looks_new(told, request) for request in told.requests[1:])

    def _looks_new(self, told: Told, request: Request) -> bool:
        """Whether the daemon can take a request for a new event that tells a state again."""
        span = told.begun, request.answered
        if _overlaps(self._limits.incomplete, request.begun, request.answered):
            return True
        if any(span[0] <= moment <= span[1] for moment in self._limits.clock_set):
            return True
        unknown = request.copy or any(
            told.begun <= end and start <= min(request.answered, told.accepted_at)
            for start, end in self._limits.forgotten
        )
        return unknown and any(
            other.digest != told.digest and one.begun <= span[1] and one.answered >= span[0]
            for other in self._families[told.event, told.subject]
            for one in other.requests
        )


def came_back_behind_refused(events: Iterable[Told]) -> int:
    """Return how often a state came back while the one in between stood refused: as far as that, all was tried."""
    families: defaultdict[tuple[str, int], list[Told]] = defaultdict(list)
    for told in sorted(events, key=lambda told: told.begun):
        families[told.event, told.subject].append(told)
    return sum(
        before.digest == back.digest != refused.digest
        and refused.requests[0].status >= REFUSED
        and refused.requests[0].answered <= back.begun < refused.accepted_at
        for family in families.values()
        for before, refused, back in zip(family, family[1:], family[2:], strict=False)
    )


def _overlaps(spans: Iterable[Span], begun: float, ended: float) -> bool:
    return any(start <= ended and begun <= end for start, end in spans)
