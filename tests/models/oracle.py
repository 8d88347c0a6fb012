"""What the model knows better than the daemon: which delivery carries which occurrence, and what was really stored."""

from collections import defaultdict
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet

from aurora_bridge.dedup.recurrence import Action, Standing
from aurora_bridge.webhook.catalogue import Recurrence
from tests.models.aurora import Webhook, in_slot
from tests.models.instance import Flight


class Oracle:
    """Judges the daemon's verdicts."""

    def __init__(self, window_us: int, stored: Callable[[], AbstractSet[int]]) -> None:
        """Expect equal states to be one event within `window_us`; `stored` has the records that are durable."""
        self._window_us = window_us
        self._stored = stored
        self._webhooks: dict[Flight, Webhook] = {}
        self._duplicates: set[Flight] = set()
        """Retries that came when what they carry was stored."""
        self._judged: defaultdict[str, list[Flight]] = defaultdict(list)
        """By id."""
        self._living: set[Flight] = set()
        """Of the daemon that runs."""
        self._crashed: set[Flight] = set()
        """Answered, but the daemon died before it had noted that."""
        self._matched: set[Flight] = set()
        """Whose retry has come."""
        self._blurred: set[str] = set()
        """Targets that passed unjudged: their retries need not be recognised."""
        self._lost: set[Flight] = set()
        """Passed unjudged, and the daemon died: it may not even know of them."""

    def expect(self, flight: Flight, webhook: Webhook, *, settled: bool) -> None:
        """Learn of a delivery before it is made; `settled`: what ended before has reached the index."""
        self._webhooks[flight] = webhook
        if settled and webhook.flights and _durable(webhook.flights[-1]):
            self._duplicates.add(flight)
        self._living.add(flight)

    def blur(self, target: str) -> None:
        """Expect nothing of retries of what this target carries."""
        self._blurred.add(target)

    def end(self, in_doubt: Collection[str]) -> None:
        """Learn that the daemon died, and what it left in doubt; a match that it had not noted yet is owed again."""
        self._crashed |= {flight for flight in self._living if flight.event and flight.event.fingerprint in in_doubt}
        self._lost |= {flight for flight in self._living if flight.target in self._blurred}
        for flight in self._living:
            if flight.verdict is not None:
                self._matched.difference_update(self._judged[flight.id])
        self._living.clear()

    def judge(self, flight: Flight) -> None:
        """Check a verdict."""
        assert flight.event is not None
        assert flight.verdict is not None
        earlier = self._judged[flight.id]
        if flight.event.recurrence is Recurrence.SIGNAL:
            assert flight.verdict.action is Action.PUBLISH, "a signal is taken for a duplicate"
            assert not earlier, "two signals share an id"
        if any(self._sharing(other, flight) for other in earlier):
            assert self._named(flight, earlier), f"taken for another event, or shares its id: {flight}"
        self._check_retry(flight)
        self._matched.update(other for other in earlier if in_slot(flight.received_us - other.received_us))
        earlier.append(flight)

    def _sharing(self, other: Flight, flight: Flight) -> bool:
        """Whether another occurrence's event stands behind the same id."""
        return self._webhooks[other].occurrence is not self._webhooks[flight].occurrence and self._alive(other)

    def _alive(self, flight: Flight) -> bool:
        """Whether the record of a delivery is stored, or may still be."""
        if flight.verdict is None or flight.verdict.action is not Action.PUBLISH:
            return False
        refused = flight.verdict.claim.standing is Standing.REFUSED
        return flight.number in self._stored() or (flight in self._living and not refused)

    def _named(self, flight: Flight, earlier: list[Flight]) -> bool:
        """Whether the design names an exception for this."""
        assert flight.event is not None
        if flight.event.recurrence is not Recurrence.STATE:
            return flight.event.recurrence is Recurrence.ONCE
        if self._is_latest(flight):
            return True
        return any(
            (not other.told or other in self._crashed)
            and other not in self._matched
            and in_slot(flight.received_us - other.received_us)
            for other in earlier
        )

    def _is_latest(self, flight: Flight) -> bool:
        """Whether a delivery equals the latest state of its subject, by receipt of the first attempts, in the window.

        What passed unjudged before the daemon died may be unknown.
        """
        assert flight.event is not None
        known = [
            other
            for others in self._judged.values()
            for other in others
            if other.event is not None
            and other.event.family_key == flight.event.family_key
            and (other not in self._lost or other.id == flight.id)
            and self._alive(other)
        ]
        latest = max(known, key=_time, default=None)
        return latest is not None and latest.id == flight.id and flight.received_us - _time(latest) <= self._window_us

    def _check_retry(self, flight: Flight) -> None:
        """Check that the retry of what is remembered is recognised, unless others of its fingerprint came between."""
        assert flight.event is not None
        assert flight.verdict is not None
        webhook = self._webhooks[flight]
        *_, before = (None, *(other for other in webhook.flights if other is not flight))
        if before is None or before.verdict is None or flight.event.recurrence is Recurrence.SIGNAL:
            return
        if before not in self._living and before.verdict.action is not Action.PUBLISH:
            return  # what is told of a duplicate is written after its answer, and a crash comes between
        others = (other for other, carried in self._webhooks.items() if carried is not webhook)
        if (
            flight.target in self._blurred
            or not in_slot(flight.received_us - before.received_us)
            or any(o.target == flight.target and o.received_us > webhook.flights[0].received_us for o in others)
        ):
            return
        assert flight.id == before.id, f"a retry has another id: {flight} after {before}"
        if before in self._living and flight in self._duplicates:
            assert flight.verdict.action is Action.DUPLICATE, f"a retry of what is stored: {flight} after {before}"


def _durable(flight: Flight) -> bool:
    return flight.verdict is not None and flight.verdict.claim.standing in {Standing.SEEN, Standing.OWED}


def _time(flight: Flight) -> int:
    assert flight.verdict is not None
    return flight.verdict.claim.time_us
