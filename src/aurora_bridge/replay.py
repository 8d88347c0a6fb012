"""Replays dead letters: what could not be read when it came goes the way of a webhook again, by the present routes.

`dedup.replays` decides whether its event is known by now. That a dead letter was replayed is an event as well
(`webhook.dead_letter`), of the kind that happens once, so that the index and every replica know it, and it is made
durable after the other. A crash in between costs a copy with the same id.
"""

import logging
from http import HTTPStatus
from time import monotonic, time_ns
from typing import NamedTuple

from aurora_bridge.bridge import Bridge
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.logs import fields
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.refusal import Malformed, Outcome, Reason, Refusal
from aurora_bridge.settings import IngressSettings
from aurora_bridge.webhook.dead_letter import StoredDeadLetter, mark_replayed
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from aurora_bridge.webhook.routes import Match, Routes

log = logging.getLogger(__name__)

HIDDEN_VALUE = "hidden_value"
"""Why a dead letter is not replayed: one of its attributes was taken for a secret, so that nobody knows its value."""
_UNKNOWN = "aurora-bridge-hidden-value"
"""What stands for such a value while a target is read: HIDDEN itself would count as empty."""
READABLE = "readable"
"""What a dry run says of a dead letter that carries an event now."""
REPLAYED = "replayed_before"


class Result(NamedTuple):
    """What became of a dead letter, or would."""

    outcome: str
    """An `Outcome`, or one of the words of this module."""
    reason: str | None = None
    """Why it carries no event still."""
    event: str | None = None
    id: str | None = None
    """Of the event."""


class Replay:
    """Replays dead letters, one at a time."""

    def __init__(self, settings: IngressSettings, routes: Routes, dedup: Deduplicator, bridge: Bridge) -> None:
        """Read them by these routes and publish them through the bridge."""
        self._retried = settings.malformed_status >= HTTPStatus.BAD_REQUEST
        self._routes = routes
        self._dedup = dedup
        self._bridge = bridge

    async def __call__(self, letter: StoredDeadLetter, *, dry_run: bool) -> Result:
        """Publish the event of a dead letter. Raises `Refusal`: not now; then it can be replayed later."""
        # Its credentials were good when it came, and are no part of it.
        target = letter.target.replace(HIDDEN, _UNKNOWN).encode()
        delivery = Delivery("GET", target, (), letter.time_us, monotonic())
        try:
            match = self._routes.match(delivery)
            event = normalise(match)
        except Malformed as malformed:
            return Result(Outcome.DEAD_LETTERED, malformed.reason)
        except Refusal as refusal:
            return Result(Outcome.REFUSED, refusal.reason)
        if any(_UNKNOWN in value for value in event.data.values() if value):
            return Result(Outcome.REFUSED, HIDDEN_VALUE)
        if dry_run:
            return Result(READABLE, event=event.name)
        return await self._replay(letter, event, match, delivery)

    async def _replay(self, letter: StoredDeadLetter, event: Event, match: Match, delivery: Delivery) -> Result:
        dedup, now_us = self._dedup, time_ns() // 1000
        mark = mark_replayed(letter)
        decision = dedup.claim(mark, now_us) or await dedup.wait(mark, now_us)
        entry = decision.entry
        try:
            if decision.result is not None and (refusal := await decision.result) is not None:
                raise Refusal(refusal.reason, doubtful=refusal.doubtful)
            if decision.action in {Action.DUPLICATE, Action.JOIN}:
                return Result(REPLAYED)
            try:
                outcome, event_id = await self._publish(event, match, delivery)
            except BaseException:
                dedup.refused(entry, Refusal(Reason.TOO_LATE))
                raise
            mark = mark._replace(data=mark.data | {"event": event.name, "event_id": event_id})
            begun = delivery._replace(received=monotonic())  # its deadlines are its own
            await self._bridge.publish(mark, mark.fingerprint, entry, match, begun)
            extra = fields(dead_letter=letter.id, outcome=outcome.value, event=event.name, id=event_id)
            log.info("a dead letter was replayed", extra=extra)
            return Result(outcome, None, event.name, event_id)
        finally:
            dedup.answered(entry, now_us, in_time=True)

    async def _publish(self, event: Event, match: Match, delivery: Delivery) -> tuple[Outcome, str]:
        """Make the event durable, unless it is known; return its id."""
        replays = self._dedup.replays
        claim = await replays.claim(event, delivery.received_us // 1000, retried=self._retried)
        if claim.entry is None:
            return Outcome.DUPLICATE, claim.id
        outcome = await self._bridge.publish(event, claim.id, claim.entry, match, delivery)
        await replays.stored(claim.entry)
        return outcome, claim.id
