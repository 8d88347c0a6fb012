"""The way of one webhook.

`Bridge.accept` is the whole of it, top to bottom: route, credentials, canonical event, same event or new one, durable.
What each step does stands in `webhook`, `state` and `kafka`; `web.ingress` calls it and hands the answer over.
"""

import logging
from time import monotonic
from typing import NamedTuple

from aurora_bridge.kafka.publisher import Publisher
from aurora_bridge.logs import redact_target
from aurora_bridge.metrics import NO_EVENT, Metrics
from aurora_bridge.refusal import Malformed, Outcome, Reason, Refusal
from aurora_bridge.settings import IngressSettings
from aurora_bridge.webhook.catalogue import CATALOGUE, DEAD_LETTER, UNRECOGNIZED, unknown_values
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, dead_letter, encode, normalise, rfc3339
from aurora_bridge.webhook.record import Record
from aurora_bridge.webhook.recurrence import Judgement, event_id, judge
from aurora_bridge.webhook.routes import Match, Routes

log = logging.getLogger(__name__)

EVENTS = (*CATALOGUE, UNRECOGNIZED, DEAD_LETTER)
"""Every event a topic is for."""
_CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=UTF-8")


class Answer(NamedTuple):
    """What a delivery is told."""

    status: int
    outcome: Outcome
    event: str
    id: str | None = None
    reason: str | None = None
    retry_after: int | None = None


class Bridge:
    """Takes deliveries and makes their events durable."""

    def __init__(
        self, settings: IngressSettings, routes: Routes, publisher: Publisher, instance: str, metrics: Metrics
    ) -> None:
        """Publish what `routes` let in; `instance` is this replica's name in the records' headers."""
        self._settings = settings
        self._routes = routes
        self._publisher = publisher
        self._instance = instance.encode()
        self._metrics = metrics
        self._in_flight: dict[int, float] = {}
        self._count = 0
        self.stopping = False
        """Whether deliveries are refused because the daemon ends."""
        metrics.in_flight_deliveries.source = lambda: len(self._in_flight)
        metrics.oldest_unanswered_seconds.source = self._oldest_seconds

    async def accept(self, delivery: Delivery) -> Answer:
        """Take one delivery, top to bottom; its answer is a 2xx only once the event is durable."""
        name, event_key, defect = NO_EVENT, None, None
        self._count += 1
        flight = self._count
        self._in_flight[flight] = delivery.received
        try:
            match = self._routes.match(delivery)
            match.route.credentials.admit(delivery)
            self._admit(delivery)
            try:
                event = normalise(match)
            except Malformed as malformed:
                defect = malformed.defect
                event = self._dead_letter(match, delivery, malformed)
            name = event.name
            read = self._stage("read", delivery.received)
            judgement = judge(
                event.recurrence, None, delivery.received_us, match.route.repeat_window_us, can_know=False
            )
            event_key = event_id(event.fingerprint, event.recurrence, judgement.time_us, judgement.id_ms)
            judged = self._stage("judge", read)
            outcome = await self._publisher.publish(self._record(event, event_key, judgement, match, delivery))
            self._stage("publish", judged)
        except Refusal as refusal:
            reason = refusal.reason
            return Answer(reason.status, Outcome.REFUSED, name, event_key, reason.value, reason.retry_after)
        finally:
            del self._in_flight[flight]
        if defect is not None:
            return Answer(self._settings.malformed_status, Outcome.DEAD_LETTERED, name, event_key, defect.value)
        return Answer(200, outcome, name, event_key)

    def _admit(self, delivery: Delivery) -> None:
        """Refuse what the bounds do not let in."""
        if len(delivery.target) > self._settings.max_target_bytes:
            raise Refusal(Reason.TARGET_TOO_LONG)
        if self.stopping:
            raise Refusal(Reason.STOPPING)
        if len(self._in_flight) > self._settings.max_in_flight:
            raise Refusal(Reason.OVERLOADED)

    def _dead_letter(self, match: Match, delivery: Delivery, malformed: Malformed) -> Event:
        target = redact_target(delivery.target, match.route.secret_parameters)
        return dead_letter(match, malformed.defect, target)

    def _record(self, event: Event, key: str, judgement: Judgement, match: Match, delivery: Delivery) -> Record:
        time_us, metrics = judgement.time_us, self._metrics
        metrics.event_last_received[event.name] = delivery.received_us / 1e6
        if event.name in CATALOGUE:
            for attribute in unknown_values(CATALOGUE[event.name], event.data):
                metrics.unknown_values[event.name, attribute] += 1
        headers = [
            _CONTENT_TYPE,
            ("aurora-bridge-fingerprint", event.fingerprint.encode()),
            ("aurora-bridge-event", event.name.encode()),
            ("aurora-bridge-subject", (event.subject or "").encode()),
            ("aurora-bridge-time", rfc3339(time_us).encode()),
            ("aurora-bridge-instance", self._instance),
            ("aurora-bridge-route", match.route.name.encode()),
            ("aurora-bridge-attempt", b"%d" % judgement.attempt),
        ]
        return Record(
            event.name,
            key.encode(),
            encode(event, key, time_us, repeat=judgement.repeat),
            headers,
            (event.subject or key).encode(),
            time_us // 1000,
            event.fingerprint,
            delivery.received,
        )

    def answered(self, delivery: Delivery, answer: Answer, since: float, *, handed: bool) -> None:
        """Note that an answer was handed to the socket, or that the client was gone; `since`: when it was ready."""
        now = monotonic()
        metrics = self._metrics
        metrics.stage_seconds.observe("answer", now - since)
        metrics.response_seconds.observe(answer.outcome, now - delivery.received)
        metrics.deliveries[answer.event, answer.outcome] += 1
        if answer.outcome is Outcome.REFUSED and answer.reason is not None:
            metrics.refusals[answer.reason] += 1
        elif answer.outcome is Outcome.DEAD_LETTERED and answer.reason is not None:
            metrics.dead_letters[answer.reason] += 1

    def _stage(self, stage: str, since: float) -> float:
        now = monotonic()
        self._metrics.stage_seconds.observe(stage, now - since)
        return now

    def _oldest_seconds(self) -> float:
        return monotonic() - min(self._in_flight.values()) if self._in_flight else 0.0
