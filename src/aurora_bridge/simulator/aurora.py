"""Aurora's behaviour without I/O: which subscriptions an event is delivered to, when, and with which retries.

Time is a parameter, in seconds since the epoch. `engine` gets what to send from `due`, and passes each answer to
`answered`.
"""

from collections import Counter, deque
from dataclasses import replace
from heapq import heappop, heappush
from random import Random
from typing import Final

from aurora_bridge.simulator.auto_disable import Window
from aurora_bridge.simulator.deliveries import JITTER, RETRY_SECONDS, Answer, Delivery, Request, State, request
from aurora_bridge.simulator.fill_template import Spaces
from aurora_bridge.simulator.objects import Objects
from aurora_bridge.simulator.scenarios import Disturbances
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.simulator.subscriptions import Subscription, Subscriptions

LEDGER_DELIVERIES: Final = 100_000
"""The ledger keeps the newest, about 1 KiB each."""
MOST_PENDING: Final = 100_000
"""Limit of pending deliveries, about 1 KiB each. A receiver that is away for long would exceed it."""


class Aurora:
    """Subscriptions, their pending deliveries, and a ledger of all deliveries."""

    def __init__(
        self,
        seed: int = 0,
        spaces: Spaces = Spaces.PERCENT,
        disturbances: Disturbances | None = None,
        ledger_deliveries: int = LEDGER_DELIVERIES,
        most_pending: int = MOST_PENDING,
    ) -> None:
        self.subscriptions = Subscriptions()
        self.objects = Objects()
        self.ledger: deque[Delivery] = deque(maxlen=ledger_deliveries)
        self.totals: Counter[str] = Counter()
        """Counts of `happened`, `attempts`, `refused` attempts, `switched_off` subscriptions, and deliveries by state.

        Also of `left_out` deliveries, which were dropped because too many were pending.
        """
        self._most_pending = most_pending
        self._spaces = spaces
        self._disturbances = disturbances or Disturbances()
        self._random = Random(seed)  # noqa: S311 - no cryptography
        self._numbers = 0
        self._pending: dict[int, Delivery] = {}
        self._queue: list[tuple[float, int]] = []
        """A heap of due times and delivery numbers; what is no longer pending is skipped."""
        self._windows: dict[str, Window] = {}

    def happen(self, occurrence: Occurrence) -> list[Delivery]:
        """Begin a delivery to each subscription to the event; return the deliveries."""
        self.totals["happened"] += 1
        self.objects.see(occurrence)
        delays = self._disturbances.delays(self._random)
        return [
            delivery
            for subscription in self.subscriptions.of(occurrence.event)
            if subscription.enabled and subscription.allows(occurrence.attributes)
            for delay in delays
            if (delivery := self._deliver(subscription, occurrence, occurrence.at + delay)) is not None
        ]

    def resend(self, since: float, now: float) -> int:
        """Deliver again what was first sent since then, as Aurora's support does on request; return the number."""
        sent = [delivery for delivery in self.ledger if delivery.attempts and delivery.attempts[0][0] >= since]
        resent = 0
        for delivery in sent:
            subscription = self.subscriptions.get(delivery.subscription)
            if subscription is not None and subscription.enabled:
                again = self._deliver(subscription, Occurrence(now, delivery.event, delivery.attributes), now)
                resent += again is not None
        return resent

    def next_due(self) -> float | None:
        """Return when the next attempt is due, None if none is scheduled."""
        while self._queue and self._queue[0][1] not in self._pending:
            heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self, now: float) -> Request | None:
        """Return an attempt that is due, once, or None. Its answer goes to `answered`."""
        at = self.next_due()
        if at is None or at > now:
            return None
        delivery = self._pending[heappop(self._queue)[1]]
        subscription = self.subscriptions[delivery.subscription]
        template = self._disturbances.template(subscription.url_template, now)
        present = replace(subscription, url_template=template)
        return self._disturbances.disturb(request(delivery, present, now, self._spaces, self._random), present)

    def answered(self, asked: Request, answer: Answer, now: float) -> None:
        """Handle an attempt's answer: finish the delivery or schedule a retry, and perhaps disable the subscription."""
        delivery = asked.delivery
        delivery.attempts.append((asked.at, asked.url, answer))
        self.totals["attempts"] += 1
        self.totals["refused"] += not answer.succeeded
        window = self._windows.setdefault(delivery.subscription, Window())
        window.count(now, succeeded=answer.succeeded)
        if delivery.number not in self._pending:  # its subscription was disabled meanwhile
            return
        if answer.succeeded:
            self._finish(delivery, State.DELIVERED)
        elif len(delivery.attempts) <= len(RETRY_SECONDS):
            interval = RETRY_SECONDS[len(delivery.attempts) - 1] * self._random.uniform(1 - JITTER, 1 + JITTER)
            heappush(self._queue, (now + interval, delivery.number))
        else:
            self._finish(delivery, State.FAILED)
            if window.condemns(now) and (subscription := self.subscriptions.get(delivery.subscription)):
                self.totals["switched_off"] += 1
                self.change(replace(subscription, enabled=False))

    def change(self, subscription: Subscription) -> None:
        """Add or replace a subscription; a disabled one loses its pending deliveries. Raises `RefusedError`."""
        self.subscriptions.add(subscription)
        if not subscription.enabled:
            self._end(subscription.id)

    def remove(self, subscription_id: str) -> None:
        """Delete an existing subscription, and its pending deliveries."""
        self.subscriptions.remove(subscription_id)
        self._windows.pop(subscription_id, None)
        self._end(subscription_id)

    def pending(self) -> int:
        """Return the number of deliveries that wait for an attempt or an answer."""
        return len(self._pending)

    def _deliver(self, subscription: Subscription, occurrence: Occurrence, at: float) -> Delivery | None:
        if len(self._pending) >= self._most_pending:
            self.totals["left_out"] += 1
            return None
        self._numbers += 1
        delivery = Delivery(self._numbers, subscription.id, occurrence.event, occurrence.attributes)
        self._pending[delivery.number] = delivery
        self.ledger.append(delivery)
        heappush(self._queue, (at, delivery.number))
        return delivery

    def _end(self, subscription_id: str) -> None:
        for delivery in [one for one in self._pending.values() if one.subscription == subscription_id]:
            self._finish(delivery, State.ENDED)

    def _finish(self, delivery: Delivery, state: State) -> None:
        delivery.state = state
        self.totals[state.value] += 1
        del self._pending[delivery.number]
