"""The way of one webhook.

`Bridge.accept` is the whole of it, top to bottom: route, credentials, canonical event, same event or new one, durable.
What happens at each step is in `webhook`, `dedup` and `outbox`. `web.ingress` calls it, hands the answer to the socket
and tells `answered`; `access_log` counts and logs. The module is long because the whole way is in one place.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import NamedTuple

from aurora_bridge.auto_disable.attempts import NO_ROUTE
from aurora_bridge.auto_disable.attribution import event_of, is_attempt, is_auroras, subscription_of
from aurora_bridge.dedup.deduplicator import Decision, Deduplicator
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action, Interval, event_id
from aurora_bridge.garbled_templates import GarbledTemplates
from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import NO_EVENT, NOTHING, PLACEHOLDER, Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outcomes import Credential, DeadLetterReason, Malformed, Outcome, Reason, Refusal
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, DEAD_LETTER, unknown_values
from aurora_bridge.webhook.dead_letter import dead_letter
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, Headers, encode, encode_binary, normalise, rfc3339
from aurora_bridge.webhook.routes import Match, Routes
from aurora_bridge.webhook.trace_context import trace_headers

log = logging.getLogger(__name__)

_STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")
_FIRST_ATTEMPT = ("aurora-bridge-attempt", b"1")
_SWEEP_SECONDS = 0.25
_LINES_A_MINUTE = 20
_DEAD_LETTERS_KEPT = 20
"""At most as many names of events, each as long as a target: 160 kB."""
# In Python 3.11 each look-up of a member of an enumeration is a call.
_DUPLICATE, _JOIN, _REPEAT, _NO_RETRY = Action.DUPLICATE, Action.JOIN, Action.REPEAT, Interval.NONE
_UNFILLED_PLACEHOLDER = DeadLetterReason.UNFILLED_PLACEHOLDER


@dataclass(slots=True)
class Answer:
    """What a delivery is told, and the event it made or refers to."""

    status: int
    outcome: Outcome
    event: str
    id: str | None = None
    reason: Reason | DeadLetterReason | None = None
    entry: Entry | None = None
    route: str | None = None
    """The route, if the delivery was refused after it was found, or became a dead letter."""
    credential: Credential | None = None
    """What was wrong with the credential, if it was refused for that."""
    known_path: bool = False
    """Whether a refused delivery is Aurora's by its path: that of a written route or of a known event."""
    challenges: Sequence[str] = ()
    """With a 401, the schemes of HTTP authentication that the route takes (RFC 9110, section 11.6.1)."""
    subscription: tuple[str, str] | None = None
    """Route and event, by which Aurora's attempts are counted; None for what is not known to be Aurora's."""


class DeadLetter(NamedTuple):
    """What the status page shows of a dead letter: none of its attributes."""

    time: float
    """When it came, seconds since the epoch."""
    reason: DeadLetterReason
    event: str
    """Its name in the request."""
    route: str
    id: str


class Bridge:
    """Takes deliveries and makes their events durable."""

    def __init__(  # noqa: PLR0913 - the parts of the way
        self,
        settings: Settings,
        routes: Routes,
        dedup: Deduplicator,
        publisher: Publisher,
        *,
        instance: str,
        metrics: Metrics,
    ) -> None:
        """Publish what `routes` let in and `dedup` finds new; `instance` names this replica in the records."""
        # Read once: pydantic takes 130 ns for what takes others 10.
        self._malformed_status = settings.ingress.malformed_status
        self._max_target_bytes = settings.ingress.max_target_bytes
        self._max_in_flight = settings.ingress.max_in_flight
        self._binary = settings.kafka.content_mode == "binary"
        self._key_is_subject = settings.kafka.key == "subject"
        self._answer_seconds = settings.deadlines.answer_seconds
        self._routes = routes
        self._dedup = dedup
        self._publisher = publisher
        self._instance = ("aurora-bridge-instance", instance.encode())
        self._metrics = metrics
        stages = metrics.stage_seconds
        self._read_seconds, self._decide_seconds, self._publish_seconds = (
            stages[name] for name in ("read", "decide", "publish")
        )
        self._in_flight: dict[asyncio.Task[object] | None, float] = {}
        """When each delivery that is not answered yet came (monotonic), by its task, which has one at a time."""
        self._overdue: set[asyncio.Task[object] | None] = set()
        self.dead_letters: deque[DeadLetter] = deque(maxlen=_DEAD_LETTERS_KEPT)
        """The last ones, oldest first."""
        self.garbled_templates = GarbledTemplates(metrics)
        self._stray_duplicates = Quota(_LINES_A_MINUTE, monotonic)
        self._loop = asyncio.get_running_loop()
        self.stopping = False
        """Whether the daemon is stopping, and no longer ready."""
        metrics.in_flight_deliveries.source = lambda: len(self._in_flight)
        metrics.oldest_unanswered_seconds.source = self._oldest_seconds

    async def accept(self, delivery: Delivery) -> Answer:
        """Take one delivery, top to bottom; its answer is a 2xx only once the event is durable."""
        task = asyncio.current_task(self._loop)
        self._in_flight[task] = delivery.received
        match, event, entry, id_ = None, None, None, None
        dedup, received_us = self._dedup, delivery.received_us
        try:
            match = self._routes.match(delivery)
            match.route.credentials.admit(delivery)
            event, dead_letter_reason = self._canonical_event(match, delivery)
            read = monotonic()
            decision = dedup.claim(event, received_us) or await dedup.wait(event, received_us)
            decided = monotonic()
            action, entry = decision.action, decision.entry
            id_ = event_id(event.fingerprint, event.recurrence, entry.time_ms, entry.id_ms)
            if action is _DUPLICATE or action is _JOIN:
                outcome = await self._share_result(event, id_, decision)
            else:
                if action is _REPEAT and entry.repeat:
                    self._metrics.repeats[event.name] += 1
                outcome = await self.publish(event, id_, entry, match, delivery)
            self._read_seconds.observe(read - delivery.received)
            self._decide_seconds.observe(decided - read)
            self._publish_seconds.observe(monotonic() - decided)
        except Refusal as refusal:
            answer = _refused(refusal.reason, event_of(match, event), entry, id_)
            return self._attributed(answer, refusal, match, delivery)
        except asyncio.CancelledError:
            if task is None or task not in self._overdue:
                raise
            task.uncancel()  # the connection has the same task, and goes on
            answer = _refused(Reason.TOO_LATE, event_of(match, event), entry, id_)
            return replace(answer, subscription=None if match is None else subscription_of(match))
        except Exception:  # a bug: there is no answer to report, and memory would keep the entry
            if entry is not None:
                dedup.answered(entry, received_us, in_time=False)
            raise
        finally:
            del self._in_flight[task]
            self._overdue.discard(task)
        route = match.route.name
        if dead_letter_reason is None:
            return Answer(200, outcome, event.name, id_, None, entry, subscription=(route, event.name))
        self.dead_letters.append(DeadLetter(received_us / 1e6, dead_letter_reason, match.event, route, id_))
        status, subscription = self._malformed_status, subscription_of(match)
        return Answer(
            status, Outcome.DEAD_LETTERED, event.name, id_, dead_letter_reason, entry, route, subscription=subscription
        )

    def _canonical_event(self, match: Match, delivery: Delivery) -> tuple[Event, DeadLetterReason | None]:
        """Return the canonical event; a malformed delivery becomes a dead letter, which goes the same way."""
        try:
            event, reason = normalise(match), None
        except Malformed as malformed:
            reason = malformed.reason
            target = match.route.rules.secrets.redact_target(delivery.target)
            event = dead_letter(match, reason, target, self._malformed_status)
        metrics = self._metrics
        if reason is _UNFILLED_PLACEHOLDER:
            metrics.junk_values[match.route.rules.type_of(match.event).name, PLACEHOLDER] += 1
        if event.emptied:
            metrics.junk_values[event.name, NOTHING] += 1
        if event.garbled:
            self.garbled_templates.note(event, match, delivery)
        metrics.event_last_received[event.name] = delivery.received_us / 1e6
        event_type = CATALOGUE.get(event.name)
        if event_type is not None:
            for attribute in unknown_values(event_type, event.data):
                metrics.unknown_values[event.name, attribute] += 1
        return event, reason

    async def _share_result(self, event: Event, id_: str, decision: Decision) -> Outcome:
        """Return once the first delivery of the same event made it durable. Raises the `Refusal` that it got."""
        if decision.result is not None:
            refusal = await decision.result
            if refusal is not None:
                await self._dedup.note_durably(decision.entry)
                raise Refusal(refusal.reason, doubtful=refusal.doubtful)
        self._metrics.duplicates[event.name, decision.interval] += 1
        if decision.interval is _NO_RETRY and (left_out := self._stray_duplicates.take()) is not None:
            more = {"left_out": left_out} if left_out else {}
            log.info(
                "a duplicate at a time at which Aurora does not retry", extra=fields(event=event.name, id=id_, **more)
            )
        return Outcome.DUPLICATE

    async def publish(  # noqa: PLR0913 - the event and its delivery
        self, event: Event, id_: str, entry: Entry, match: Match, delivery: Delivery, *, replayed: bool = False
    ) -> Outcome:
        """Make the event durable and tell the deduplicator what became of it. Raises `Refusal`, once that is noted.

        The limits of requests do not hold for a delivery that is `replayed`: it was taken when it came.
        """
        try:
            if not replayed:
                self._check_bounds(delivery)
            outcome = await self._publisher.publish(self._record(event, id_, entry, match, delivery))
        except Refusal as refusal:
            self._dedup.refused(entry, refusal)
            await self._dedup.note_durably(entry)
            raise
        except BaseException:
            self._dedup.refused(entry, Refusal(Reason.TOO_LATE, doubtful=True))
            raise
        self._dedup.stored(entry)
        return outcome

    def _check_bounds(self, delivery: Delivery) -> None:
        if len(delivery.target) > self._max_target_bytes:
            raise Refusal(Reason.TARGET_TOO_LONG)
        if len(self._in_flight) > self._max_in_flight:
            raise Refusal(Reason.OVERLOADED)

    def _record(self, event: Event, id_: str, entry: Entry, match: Match, delivery: Delivery) -> OutboxRecord:
        """Return the Kafka record. What belongs to the delivery rather than to the event is in its headers."""
        time = rfc3339(entry.time_ms * 1000)
        headers: Headers = [
            _STRUCTURED,
            self._instance,
            ("aurora-bridge-route", match.route.name.encode()),
            _FIRST_ATTEMPT if entry.attempt == 1 else ("aurora-bridge-attempt", b"%d" % entry.attempt),
        ]
        if event.family_key is not None:
            headers.append(("aurora-bridge-family", event.family_key.encode()))
        headers += trace_headers(delivery.headers)
        if self._binary:
            value, attributes = encode_binary(event, id_, time, repeat=entry.repeat)
            headers = [*attributes, *headers[1:]]
        else:
            value = encode(event, id_, time, repeat=entry.repeat)
        partition_key = (event.subject or id_).encode()
        key_is_subject = self._key_is_subject or event.name == DEAD_LETTER  # of its mark: see `webhook.dead_letter`
        return OutboxRecord(
            event.name,
            partition_key if key_is_subject else id_.encode(),
            value,
            headers,
            partition_key,
            entry.time_ms,
            event.fingerprint,
            delivery.received,
            partial(self._dedup.stored_late, entry),
        )

    def _attributed(self, answer: Answer, refusal: Refusal, match: Match | None, delivery: Delivery) -> Answer:
        """Return the answer to a refused delivery, and whether it was Aurora's by path or credential."""
        if match is not None:
            return replace(
                answer,
                route=match.route.name,
                credential=refusal.credential,
                known_path=is_auroras(match),
                challenges=match.route.credentials.challenges if refusal.reason is Reason.UNAUTHORIZED else (),
                subscription=subscription_of(match) if is_attempt(match, refusal.reason) else None,
            )
        known_path = self._routes.is_known_path(delivery.target)
        if refusal.reason is not Reason.NO_ROUTE:
            return replace(answer, known_path=known_path)
        event = self._routes.known_event(delivery.target)
        if not event and self._routes.recognizes(delivery):
            known_path, event = True, NO_EVENT
        return replace(answer, known_path=known_path, subscription=(NO_ROUTE, event) if event else None)

    def fault(self, delivery: Delivery) -> Answer:
        """Return the answer to a delivery that ran into a bug of ours."""
        answer = _refused(Reason.INTERNAL_ERROR, NO_EVENT, None, None)
        try:
            match = self._routes.match(delivery)
        except Exception:  # noqa: BLE001 - perhaps that is the bug
            return answer
        return replace(answer, subscription=subscription_of(match) if is_auroras(match) else None)

    def recognizes(self, delivery: Delivery) -> bool:
        """Whether a delivery that cannot be accepted carries a valid credential."""
        return self._routes.recognizes(delivery)

    def answered(self, delivery: Delivery, answer: Answer, *, in_time: bool) -> None:
        """Note whether the answer reached the socket in time. If not, a retry is expected."""
        if answer.entry is not None:
            self._dedup.answered(answer.entry, delivery.received_us, in_time=in_time)

    async def watch(self) -> None:
        """Enforce the publisher's deadlines and the answer deadline until cancelled.

        One sweep over all deliveries costs less than a timer for each. The answer deadline, at which a delivery is
        cancelled, is for a bug in an earlier one, or a process that stood still.
        """
        quota = Quota(_LINES_A_MINUTE, monotonic)
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = monotonic()
            self._publisher.sweep(now)
            latest = now + _SWEEP_SECONDS - self._answer_seconds  # those that the next sweep would find too late
            overdue = [
                task
                for task, received in self._in_flight.items()
                if received < latest and task not in self._overdue and task is not None
            ]
            self._overdue.update(overdue)
            for task in overdue:
                task.cancel()
            if overdue and (left_out := quota.take()) is not None:
                more = {"left_out": left_out} if left_out else {}
                log.warning("deliveries reached the answer deadline", extra=fields(deliveries=len(overdue), **more))

    def _oldest_seconds(self) -> float:
        return monotonic() - min(self._in_flight.values()) if self._in_flight else 0.0


def _refused(reason: Reason, event: str, entry: Entry | None, id_: str | None) -> Answer:
    return Answer(reason.status, Outcome.REFUSED, event, id_, reason, entry)
