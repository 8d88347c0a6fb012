"""The way of a webhook as a model: every interleaving of deliveries, answers, failures, crashes and time.

What is promised, checked at each step:

- nothing acknowledged is lost: the event of a 2xx is in Kafka or in the spool;
- what was refused for good is never stored;
- order: of a topic's records, those that are the first of their id lie in the order in which their deliveries came;
- no two genuine events share an id, and none is taken for another, outside the exceptions that the design names: the
  latest state within the repeat window, and the slots of retries that are owed;
- a retry is recognised: it has the id and the time of its first attempt, and is a duplicate where that was stored;
- a calm daemon remembers nothing: all is answered, settled, and left to the index.

`oracle` knows what may be taken for what, `aurora` which deliveries are retries, `instance` is the daemon's core.
"""

import json
from enum import IntEnum
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aurora_bridge.dedup.recurrence import Standing
from tests.models.aurora import SECOND, Occurrence, Webhook
from tests.models.doubles import NUMBER, Kafka, SteppedWorker
from tests.models.instance import TOPICS, Flight, Instance
from tests.models.oracle import Oracle

NOON: Final = 1_795_435_200 * SECOND
"""2026-11-23, 12:00 UTC."""

DAY: Final = 86_400 * SECOND
STATES: Final = ("A", "B", "C")
PUBLISH_SECONDS, SPOOL_SECONDS = 3.5, 5.5
"""Ages past the deadlines."""

MOST: Final = 40
"""Steps within which a calm daemon is done with everything."""


class Far(IntEnum):
    """How far a delivery gets before anything else happens."""

    ASKED = 0
    JUDGED = 1
    STORED = 2


topics = st.sampled_from(TOPICS)
fars = st.sampled_from(Far)


class Way(RuleBasedStateMachine):
    """Aurora, one daemon after the other, Kafka, and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(mkdtemp(prefix="aurora-bridge-model-"))
        self.kafka = Kafka()
        self.numbers = count(1)
        self.webhooks: list[Webhook] = []
        self.state = 0
        self.once = count(1)
        self.refused: set[int] = set()
        self.acknowledged: set[str] = set()

    @initialize(
        spooled=st.booleans(), filtered=st.booleans(), hour=st.sampled_from([0, 12 * 3600 - 20, 11 * 3600 + 3000])
    )
    def starts(self, *, spooled: bool, filtered: bool, hour: int) -> None:
        self.spooled, self.filtered = spooled, filtered
        self.now = NOON + hour * SECOND
        self.window_us = 60 * SECOND if filtered else DAY
        self.oracle = Oracle(self.window_us, self.stored_numbers)
        self.start()

    def start(self) -> None:
        self.daemon = Instance(
            self.directory,
            self.kafka,
            spooled=self.spooled,
            window_us=self.window_us,
            on_verdict=self.oracle.judge,
            on_record=lambda: next(self.numbers),
        )

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            self.daemon.die()
        rmtree(self.directory)

    # Aurora.

    @rule(further=st.sampled_from([1, 2, 0]), subscriptions=st.sampled_from([1, 2]), reaches=st.booleans(), far=fars)
    def a_status_changes(self, *, further: int, far: Far, subscriptions: int = 1, reaches: bool = True) -> None:
        """Only a filter can hide the state in between, so that two equal ones in a row are two events."""
        if further or self.filtered:
            self.state = (self.state + further) % len(STATES)
            target = f"/project_status_changed?project_id=p&status={STATES[self.state]}"
            self.happens(target, far, subscriptions, reaches=reaches)

    @rule(reaches=st.booleans(), subscriptions=st.sampled_from([1, 2]), far=fars)
    def a_project_is_created(self, *, far: Far, subscriptions: int = 1, reaches: bool = True) -> None:
        self.happens(f"/project_created?project_id={next(self.once)}", far, subscriptions, reaches=reaches)

    @rule(reaches=st.booleans(), far=fars)
    def a_lead_changes(self, *, far: Far, reaches: bool = True) -> None:
        self.happens("/lead_changed?lead_id=1", far, 1, reaches=reaches)

    def happens(self, target: str, far: Far, subscriptions: int, *, reaches: bool) -> None:
        """Send the webhooks of an occurrence; whether the answer to the first reaches Aurora, `reaches` says."""
        occurrence = Occurrence(target)
        for number in range(subscriptions):
            webhook = Webhook(occurrence)
            self.webhooks.append(webhook)
            self.attempt(webhook, reaches=reaches or number > 0)
        self.goes(far)

    def goes(self, far: Far) -> None:
        """Let what was delivered go some of its way at once."""
        self.daemon.turn()
        if far >= Far.JUDGED:
            for _ in range(2):  # a look-up, and a claim that is written again
                self.the_index_works()
        if far >= Far.STORED:
            if self.spooled:
                self.the_spool_works()
            for topic in TOPICS:
                self.kafka_does(topic, "acknowledge")

    def attempt(self, webhook: Webhook, *, reaches: bool) -> None:
        self.now += 1000
        webhook.attempted(self.now)
        flight = Flight(webhook.occurrence.target, self.now, reaches)
        self.oracle.expect(flight, webhook, settled=self.daemon.dedup.settled)
        webhook.flights.append(flight)
        if self.daemon.dedup.late:
            self.oracle.blur(flight.target)
        self.daemon.deliver(flight)

    @property
    def next_retry(self) -> Webhook | None:
        return min((w for w in self.webhooks if w.due_us is not None), key=lambda w: w.due_us or 0, default=None)

    @precondition(lambda self: not self.daemon.flights and self.next_retry)
    @rule(reaches=st.booleans(), late=st.sampled_from([0, 3 * SECOND]), far=fars)
    def aurora_retries(self, *, far: Far, late: int = 0, reaches: bool = True) -> None:
        webhook = self.next_retry
        assert webhook is not None
        self.now = max(self.now, (webhook.due_us or 0) + late)
        self.attempt(webhook, reaches=reaches)
        self.goes(far)

    @precondition(lambda self: not self.daemon.flights)
    @rule(seconds=st.sampled_from([1, 20, 60, 600, 3600, 7 * 3600, 25 * 3600]))
    def time_passes(self, seconds: int) -> None:
        """Retries that fall due meanwhile do not come through."""
        until = self.now + seconds * SECOND
        while (webhook := self.next_retry) is not None and (webhook.due_us or 0) < until:
            webhook.attempted(webhook.due_us or 0)
        self.now = until

    # The daemon's files.

    @rule(answers=st.booleans())
    def the_index_works(self, *, answers: bool = True) -> None:
        self.works(self.daemon.dedup.worker, answers=answers)

    def works(self, worker: SteppedWorker, *, answers: bool) -> None:
        worker.work()
        if answers:
            self.daemon.tell(worker)

    @rule()
    def patience_with_the_index_ends(self) -> None:
        for flight in self.daemon.flights:
            if flight.verdict is None:
                self.oracle.blur(flight.target)
        self.daemon.do(self.daemon.dedup.give_up)

    @rule()
    def answers_are_noted(self) -> None:
        self.daemon.do(self.daemon.dedup.learn)

    @precondition(lambda self: self.spooled)
    @rule(answers=st.booleans())
    def the_spool_works(self, *, answers: bool = True) -> None:
        self.works(self.daemon.workers[-1], answers=answers)

    @precondition(lambda self: self.spooled)
    @rule(full=st.booleans())
    def the_spool_is_full(self, *, full: bool = True) -> None:
        self.daemon.workers[-1].connection.full = full

    @rule(seconds=st.sampled_from([PUBLISH_SECONDS, SPOOL_SECONDS]))
    def a_deadline_passes(self, seconds: float) -> None:
        self.daemon.pass_deadline(seconds)

    # Kafka.

    @rule(up=st.booleans())
    def kafka_comes_or_goes(self, *, up: bool) -> None:
        self.daemon.do(lambda: self.daemon.wire.connect(up=up))

    @rule(topic=topics, what=st.sampled_from(["acknowledge", "lose", "forget", "stall", "refuse", "renumber"]))
    def kafka_does(self, topic: str, what: str) -> None:
        if self.daemon.wire.lanes[topic]:
            self.daemon.do(lambda: getattr(self.daemon.wire, what)(topic))

    # Ends.

    @rule()
    def the_process_dies(self) -> None:
        self.daemon.die()
        self.start()
        self.oracle.end(self.daemon.dedup.in_doubt)

    @precondition(lambda self: not self.daemon.flights)
    @rule()
    def the_process_stops(self) -> None:
        self.daemon.stop()
        self.start()
        assert self.daemon.dedup.in_doubt == ()
        self.oracle.end(())

    @rule()
    def all_is_calm(self) -> None:
        """Everything works again, and nothing new comes."""
        wire = self.daemon.wire
        self.daemon.do(lambda: wire.connect(up=True))
        for worker in self.daemon.workers:
            worker.connection.full = False
        while self.daemon.work():
            """Until nothing is left to do."""
        assert not self.daemon.flights, "deliveries that are never answered"
        assert not any(wire.lanes.values())
        assert not self.spooled or not self.spool_rows(), "events that stay in the spool"
        self.daemon.dedup.check_calm()

    # What always holds.

    def spool_rows(self) -> dict[int, str]:
        """Return the ids in the spool, by number."""
        if not self.spooled:
            return {}
        rows = self.daemon.workers[-1].connection.execute("SELECT key, headers FROM events")
        return {int(dict(json.loads(headers))[NUMBER]): key for key, headers in rows}

    def stored_numbers(self) -> set[int]:
        """Return the records that are durable."""
        return self.spool_rows().keys() | {number for records in self.kafka.log.values() for _, number in records}

    @invariant()
    def what_was_acknowledged_is_stored(self) -> None:
        for webhook in self.webhooks:
            webhook.heard()
            for flight in webhook.flights:
                if flight.answer is not None and flight.answer.status == 200 and flight.answer.id is not None:
                    assert flight.answer.id == flight.id
                    self.acknowledged.add(flight.answer.id)
        stored = {key for records in self.kafka.log.values() for key, _ in records} | set(self.spool_rows().values())
        assert self.acknowledged <= stored, f"acknowledged and lost: {self.acknowledged - stored}"

    @invariant()
    def what_was_refused_for_good_is_not(self) -> None:
        for webhook in self.webhooks:
            for flight in webhook.flights:
                verdict, number = flight.verdict, flight.number
                if flight.answer and verdict and number and verdict.claim.standing is Standing.REFUSED:
                    self.refused.add(number)
        assert not self.refused & self.stored_numbers(), "refused for good, and stored"

    @invariant()
    def order_is_kept(self) -> None:
        for topic, records in self.kafka.log.items():
            first: dict[str, int] = {}
            for key, number in records:
                first.setdefault(key, number)
            assert sorted(first.values()) == list(first.values()), f"{topic} lost its order: {records}"


Way.TestCase.settings = settings(
    max_examples=200, stateful_step_count=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestWay = Way.TestCase
