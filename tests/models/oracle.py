"""What the model knows better than the daemon: which delivery carries which occurrence, and what was really stored.

The rules of the design, written down once more without the daemon's means:

- a signal is never a duplicate, and has an id of its own;
- an identifier of a once-event is one event;
- a state is the same event as the latest of its family within the repeat window, by receipt, refused ones included;
- it is the same event as an earlier one whose retry is due, and which no other delivery was taken for;
- nothing else shares an event, or its id;
- a retry of what was refused, or whose answer was not heard, is the same event, and a duplicate once that is stored;
- a 503 leaves once the file has its event, or a later one of its fingerprint; at the answer deadline, once the file is
  told.

Two things free the daemon of them: what it may have lost (`lose`), and a file that does not answer.
"""

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import count

from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.webhook.catalogue import Recurrence
from tests.models.aurora import Webhook, at_retry_interval
from tests.models.clock import SECOND
from tests.models.instance import DEADLINES, PATIENCE, SWEEP_SECONDS, Instance, Request
from tests.models.state_directory import Index, Key

RETRY_STATES = {State.RETRY_EXPECTED, State.RETRY_PENDING}
LAST_US = 10 * SECOND
"""Before a crash: the answers to what was received in this time may not have left."""


@dataclass(slots=True, eq=False)
class Told:
    """An event as the daemon told it apart: all deliveries of one id."""

    id: str
    key: Key
    family_key: str | None
    order: tuple[int, int]
    """Of receipt: its time, and how many events came before."""
    requests: list[Request] = field(default_factory=list)
    """Decided, in order."""
    matched: set[Request] = field(default_factory=set)
    """Those whose retry has come."""
    crashed: bool = False
    """Whether the last answers to it may not have left before a crash."""
    lost: bool = False
    """Whether the daemon may not know of it any more."""
    unexpected: bool = False
    """Whether the daemon may have forgotten that a retry of it is due."""


class Oracle:
    """Judges the daemon's decisions."""

    def __init__(self, window_us: int, stored: Callable[[], AbstractSet[str]]) -> None:
        """Expect equal states to be one event within `window_us`; `stored` has the ids that are durable."""
        self._window_us = window_us
        self._stored = stored
        self._webhooks: dict[Request, Webhook] = {}
        self._events: dict[str, Told] = {}
        self._families: defaultdict[str, dict[str, Told]] = defaultdict(dict)
        """By family key and id."""
        self._count = count(1)
        self._settled: set[Request] = set()
        """Came when the file had all that had happened before."""

    def expect(self, request: Request, webhook: Webhook, *, settled: bool) -> None:
        """Learn of a delivery before it is made; `settled`: what happened before has reached the index."""
        self._webhooks[request] = webhook
        if settled:
            self._settled.add(request)

    # Decisions.

    def judge(self, instance: Instance, request: Request) -> None:
        """Check a decision, and remember it."""
        assert request.event is not None
        told = self._events.get(request.id)
        self._check_shared(request, told)
        if request.usable:
            self._check_retry(instance, request)
            if request.complete:
                self._check_latest(instance, request)
        if told is None or (told.lost and request.publishes):
            told = self._enter(request)
        told.matched.update(other for other in told.requests if _due(other, request))
        told.requests.append(request)

    def _enter(self, request: Request) -> Told:
        assert request.event is not None
        entry, family_key = request.entry, request.event.family_key
        told = Told(request.id, request.key, family_key, (entry.time_ms, next(self._count)))
        if family_key is not None:
            self._families[family_key][told.id] = told
        self._events[told.id] = told
        return told

    def _check_shared(self, request: Request, told: Told | None) -> None:
        """Check that a delivery shares an event with another occurrence only where the design says so."""
        assert request.event is not None
        recurrence = request.event.recurrence
        if recurrence is Recurrence.SIGNAL:
            assert request.publishes, f"a signal is taken for a duplicate: {request}"
            assert told is None or told.lost, f"two signals share an id: {request}"
        if told is None or told.lost or recurrence is Recurrence.ONCE:
            return
        occurrence = self._webhooks[request].occurrence
        if all(self._webhooks[other].occurrence is occurrence for other in told.requests):
            return
        assert self._may_be_latest(request, told) or self._is_due(request, told), f"taken for another event: {request}"

    def _may_be_latest(self, request: Request, told: Told) -> bool:
        """Whether an event is the latest of its family, as far as it must be known, and young enough."""
        newer = [other for other in self._families[told.family_key or ""].values() if _before(told, other)]
        return all(other.lost for other in newer) and self._in_window(request, told)

    def _is_due(self, request: Request, told: Told) -> bool:
        """Whether a retry of an event is due."""
        return any(
            _due(other, request) and other not in told.matched and (told.crashed or not other.told)
            for other in told.requests
        )

    def _in_window(self, request: Request, told: Told) -> bool:
        return request.received_us // 1000 - told.order[0] <= self._window_us // 1000

    def _check_latest(self, instance: Instance, request: Request) -> None:
        """Check that what equals the latest state is taken for it."""
        assert request.event is not None
        family = self._families.get(request.event.family_key or "")
        if not family:
            return
        latest = max(family.values(), key=lambda told: told.order)
        alone = all(_before(told, latest) for told in family.values() if told is not latest)
        sure = alone and not (latest.lost or instance.dedup.may_have_forgotten(latest.order[0]))
        if sure and latest.key[0] == request.event.fingerprint and self._in_window(request, latest):
            assert request.id == latest.id, f"not taken for the latest state: {request}"

    def _check_retry(self, instance: Instance, request: Request) -> None:
        """Check that a retry is recognised, unless another delivery was taken for it, or is a later event."""
        assert request.event is not None
        webhook = self._webhooks[request]
        before = next((other for other in reversed(webhook.requests) if other is not request and other.decision), None)
        if before is None or request.event.recurrence is Recurrence.SIGNAL or not _due(before, request):
            return
        told = self._events[before.id]
        if told.lost or told.unexpected or instance.dedup.may_have_forgotten(told.order[0]):
            return
        if before not in told.requests:  # it left no trace: it was in flight as the process died, and a copy came since
            return
        since = [
            other
            for other, carried in self._webhooks.items()
            if carried is not webhook
            and other.target == request.target
            and other.received_us >= before.received_us
            and (other.decision is None or other.id != before.id or _due(before, other))
        ]
        if since:
            return
        assert request.id == before.id, f"a retry has another id: {request} after {before}"
        if request in self._settled and told.id in self._stored():
            assert request.action in {Action.DUPLICATE, Action.JOIN}, f"a retry of what is stored: {request}"

    # Refusals.

    def answered(self, instance: Instance, request: Request) -> None:
        """Check that a refused event is in the file before the answer leaves, if both are in time."""
        if request.answer is None or request.answer.status != 503 or request.decision is None:
            return
        refused_at, now = instance.refused_at.get(request.entry), instance.clock.monotonic()
        if refused_at is None or now - refused_at >= PATIENCE or not instance.dedup.writable:
            return
        overdue = now - request.received > DEADLINES.answer_seconds - SWEEP_SECONDS
        noted = instance.dedup.is_posted(request.entry) if overdue else instance.has_written(request)
        replaced = not instance.dedup.is_last(request.entry) or any(
            told.lost and told.key[0] == request.key[0] and told.key > request.key for told in self._events.values()
        )
        assert noted or replaced, f"refused, and not noted: {request}"

    # Losses.

    def lose(self, index: Index, memory: Callable[[Key], Entry | None]) -> None:
        """Learn that something was lost: what is left is durable, in the index file, or in memory.

        The log is read again then, which knows no order within a millisecond, to what comes meanwhile either.
        """
        stored = self._stored()
        for told in self._events.values():
            entry = memory(told.key)
            told.lost |= told.id not in stored and entry is None and told.key not in index.states
            state = index.states.get(told.key) if entry is None else entry.state
            told.unexpected |= state not in RETRY_STATES and (entry is None or not entry.in_use)
            if state is not State.SEEN:
                told.matched.clear()
            told.order = (told.order[0], 0)

    def restart(self, index: Index, stored_in: Callable[[str], str | None]) -> None:
        """Learn that another process begins with this index; `stored_in` tells in which log an event is.

        Of what the one before had stored in its last seconds and not written, the answers may not have left.
        """
        unwritten = {
            told: max((one.received_us for one in told.requests if one.publishes), default=0)
            for told in self._events.values()
            if told.key not in index.states and stored_in(told.id) in index.logs
        }
        newest = max(unwritten.values(), default=0)
        for told, at in unwritten.items():
            if at >= newest - LAST_US:
                told.crashed, told.unexpected = True, False


def _before(one: Told, other: Told) -> bool:
    """Whether an event surely came before another, also for a daemon that has read the log since."""
    (time, number), (other_time, other_number) = one.order, other.order
    return time < other_time or (time == other_time and 0 < number < other_number)


def _due(other: Request, request: Request) -> bool:
    """Whether a delivery comes when the retry after another is due, by the milliseconds that the daemon knows."""
    return at_retry_interval((request.received_us // 1000 - other.received_us // 1000) * 1000)
