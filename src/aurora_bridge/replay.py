"""Replays dead letters: matches them against the current routes, and publishes their events.

`dedup.dead_letter_replays` decides whether the event is already known. The replay itself is recorded as another event
(`webhook.dead_letter`) that happens `once`, so that the index and every replica know of it. It is published after the
replayed event: a crash in between costs a copy with the same id.
"""

import logging
from dataclasses import replace
from time import monotonic, time_ns
from typing import NamedTuple

from aurora_bridge.bridge import Bridge
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.logs import fields
from aurora_bridge.outcomes import Malformed, Outcome, Reason, Refusal
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.webhook.dead_letter import StoredDeadLetter, mark_replayed
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from aurora_bridge.webhook.routes import Match, Routes

log = logging.getLogger(__name__)

HIDDEN_VALUE = "hidden_value"
"""Reason not to replay a dead letter: an attribute was taken for a secret, so its value was not kept."""
_UNKNOWN = "aurora-bridge-hidden-value"
"""Stands for such a value while a target is parsed: HIDDEN itself would count as empty."""
READABLE = "readable"
"""Outcome of a dry run, if the dead letter now has a readable event."""
REPLAYED = "replayed_before"


class Result(NamedTuple):
    """Result of a replay, or of a dry run."""

    outcome: str
    """An `Outcome`, `READABLE` or `REPLAYED`."""
    reason: str | None = None
    """Why it still has no readable event, or was refused."""
    event: str | None = None
    id: str | None = None
    """Id of the event."""


class Replay:
    """Replays dead letters, one at a time."""

    def __init__(self, routes: Routes, dedup: Deduplicator, bridge: Bridge) -> None:
        """Match dead letters against `routes`, and publish their events through `bridge`."""
        self._routes = routes
        self._dedup = dedup
        self._bridge = bridge

    async def __call__(self, letter: StoredDeadLetter, *, dry_run: bool) -> Result:
        """Publish the event of a dead letter. Raises `Refusal` if that is not possible now; try again later."""
        # Its credentials were checked when it came; it does not contain them.
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
                outcome, event_id = await self._publish(event, match, delivery, retried=letter.status != "200")
            except BaseException:
                dedup.refused(entry, Refusal(Reason.TOO_LATE))
                raise
            mark = replace(mark, data=mark.data | {"event": event.name, "event_id": event_id})
            begun = replace(delivery, received=monotonic())  # with deadlines of its own
            await self._bridge.publish(mark, mark.fingerprint, entry, match, begun, replayed=True)
            extra = fields(dead_letter=letter.id, outcome=outcome.value, event=event.name, id=event_id)
            log.info("a dead letter was replayed", extra=extra)
            return Result(outcome, None, event.name, event_id)
        finally:
            dedup.answered(entry, now_us, in_time=True)

    async def _publish(self, event: Event, match: Match, delivery: Delivery, *, retried: bool) -> tuple[Outcome, str]:
        """Make the event durable, unless it is a duplicate; return the outcome and its id."""
        replays = self._dedup.replays
        claim = await replays.claim(event, delivery.received_us // 1000, retried=retried)
        if claim.entry is None:
            return Outcome.DUPLICATE, claim.id
        outcome = await self._bridge.publish(event, claim.id, claim.entry, match, delivery, replayed=True)
        await replays.stored(claim.entry)
        return outcome, claim.id
