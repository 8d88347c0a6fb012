"""The way of a webhook as a model: every interleaving of deliveries, answers, failures, crashes and time.

What is promised, checked at each step:

- nothing acknowledged is lost: the event of a 2xx is in Kafka or in the spool;
- what was refused for good is never stored;
- order: of a topic's records, those that are the first of their id lie in the order in which their deliveries came;
- the same event is told from a new one by the rules of the design, which `oracle` has;
- every answer leaves in time;
- a calm daemon remembers nothing: all is answered, settled, and in the index file, which tells the truth.

`aurora` knows which deliveries are retries, `instance` is the daemon's core.
"""

import sqlite3
from contextlib import ExitStack
from enum import IntEnum
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aurora_bridge.dedup import index
from tests.models.aurora import Occurrence, Webhook
from tests.models.clock import SECOND, Clock
from tests.models.doubles import Kafka, Reading, SteppedWorker
from tests.models.instance import DEADLINES, TOPICS, Instance, Request, doubled
from tests.models.oracle import Oracle
from tests.models.state_directory import damage, index_of, spool_id, spool_of

NOON: Final = 1_795_435_200 * SECOND
"""2026-11-23, 12:00 UTC."""

DAY: Final = 86_400 * SECOND
STATES: Final = ("A", "B", "C")
CALM_SECONDS: Final = 20.0
"""Within which a daemon is done with everything, once all works: a round of write-behind, and pauses before it."""

WITHOUT_SHRINKING: Final = [phase for phase in Phase if phase is not Phase.shrink]
"""To shrink a failure takes longer than the run's time-out lets a test last: `make search` does it."""


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
        self.stands = False
        self.once = count(1)
        self.refused: set[int] = set()
        self.acknowledged: set[str] = set()
        self.clock = Clock(NOON)
        self.stack = ExitStack()
        self.stack.enter_context(doubled(self.clock))

    @initialize(
        spooled=st.booleans(), filtered=st.booleans(), hour=st.sampled_from([0, 12 * 3600 - 20, 11 * 3600 + 3000])
    )
    def starts(self, *, spooled: bool, filtered: bool, hour: int) -> None:
        self.spooled, self.filtered = spooled, filtered
        self.clock.move(hour * SECOND)
        self.window_us = 60 * SECOND if filtered else DAY
        self.oracle = Oracle(self.window_us, self.stored_ids)
        self.start()

    def start(self, *, slow: bool = False) -> None:
        self.clock.move(SECOND)
        self.daemon = Instance(
            self.directory,
            self.kafka,
            self.clock,
            name="one",
            spooled=self.spooled,
            window_us=self.window_us,
            observer=self,
        )
        if not slow:
            self.daemon.run(1.0)

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            self.daemon.die()
        self.stack.close()
        rmtree(self.directory)

    # What the daemon tells (`instance.Observer`).

    def decided(self, instance: Instance, request: Request) -> None:
        self.oracle.judge(instance, request)

    def answered(self, instance: Instance, request: Request) -> None:
        self.oracle.answered(instance, request)

    def lost(self, instance: Instance) -> None:
        self.oracle.lose(index_of(self.directory), instance.dedup.knows)

    def number(self) -> int:
        return next(self.numbers)

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

    @precondition(lambda self: self.webhooks)
    @rule(far=fars)
    def a_copy_comes(self, *, far: Far) -> None:
        """Let Aurora tell once more what it told last: duplicates happen."""
        webhook = Webhook(self.webhooks[-1].occurrence)
        self.webhooks.append(webhook)
        self.attempt(webhook, reaches=True)
        self.goes(far)

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
            self.the_index_works()
        if far >= Far.STORED:
            if self.spooled:
                self.the_spool_works()
            for topic in TOPICS:
                self.kafka_does(topic, "acknowledge")

    def attempt(self, webhook: Webhook, *, reaches: bool) -> None:
        if not self.stands:
            self.clock.move(1000)
        webhook.attempted(self.clock.us)
        request = Request(webhook.occurrence.target, self.clock.us, self.clock.monotonic(), reaches)
        self.oracle.expect(request, webhook, settled=not self.daemon.dedup.unwritten)
        webhook.requests.append(request)
        self.daemon.deliver(request)

    @property
    def next_retry(self) -> Webhook | None:
        return min((w for w in self.webhooks if w.due_us is not None), key=lambda w: w.due_us or 0, default=None)

    @precondition(lambda self: not self.daemon.requests and self.next_retry)
    @rule(reaches=st.booleans(), late=st.sampled_from([0, 3 * SECOND]), far=fars)
    def aurora_retries(self, *, far: Far, late: int = 0, reaches: bool = True) -> None:
        webhook = self.next_retry
        assert webhook is not None
        self.jump((webhook.due_us or 0) + late)
        self.attempt(webhook, reaches=reaches)
        self.goes(far)

    def jump(self, until_us: int) -> None:
        """Let it be later at once, as after a sleep of the machine."""
        self.clock.move(max(0, until_us - self.clock.us))
        self.daemon.turn()

    @precondition(lambda self: not self.daemon.requests)
    @rule(seconds=st.sampled_from([20, 60, 600, 3600, 7 * 3600, 25 * 3600]))
    def time_passes(self, seconds: int) -> None:
        """Retries that fall due meanwhile do not come through."""
        until = self.clock.us + seconds * SECOND
        while (webhook := self.next_retry) is not None and (webhook.due_us or 0) < until:
            webhook.attempted(webhook.due_us or 0)
        self.jump(until)

    @rule(
        seconds=st.sampled_from([0.3, 1.1, 3.1, 5.1, 8.1]),
        index=st.booleans(),
        spool=st.booleans(),
        kafka=st.booleans(),
    )
    def it_goes_on(self, seconds: float, *, index: bool = True, spool: bool = True, kafka: bool = True) -> None:
        """Let time pass in which only these answer, and at once."""
        self.daemon.run(seconds, index=index, spool=spool, kafka=kafka)

    @rule()
    def the_process_stands_still(self) -> None:
        """Let deliveries reach the answer deadline at once, before anything else is done for them."""
        self.jump(self.clock.us + 10 * SECOND)

    @rule(still=st.booleans())
    def the_clock_stands(self, *, still: bool = True) -> None:
        """Let deliveries come in one millisecond."""
        self.stands = still

    # The daemon's files.

    @rule(answers=st.booleans())
    def the_index_works(self, *, answers: bool = True) -> None:
        self.works(self.daemon.dedup.worker, answers=answers)

    def works(self, worker: SteppedWorker, *, answers: bool) -> None:
        worker.work()
        if answers:
            self.daemon.tell(worker)

    @rule(full=st.booleans())
    def the_index_is_full(self, *, full: bool = True) -> None:
        self.daemon.dedup.worker.disk.full = full

    @rule(error=st.sampled_from([None, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT]))
    def the_index_fails(self, error: int | None) -> None:
        self.daemon.dedup.worker.disk.error = error

    @rule()
    def the_index_is_removed(self) -> None:
        index.remove(self.directory / index.FILE)

    @precondition(lambda self: self.spooled)
    @rule(answers=st.booleans())
    def the_spool_works(self, *, answers: bool = True) -> None:
        self.works(self.daemon.workers[-1], answers=answers)

    @precondition(lambda self: self.spooled)
    @rule(full=st.booleans())
    def the_spool_is_full(self, *, full: bool = True) -> None:
        self.daemon.workers[-1].disk.full = full

    # Kafka.

    @rule(up=st.booleans())
    def kafka_comes_or_goes(self, *, up: bool) -> None:
        self.daemon.do(lambda: self.daemon.wire.connect(up=up))

    @rule(
        topic=topics, what=st.sampled_from(["acknowledge", "lose", "forget", "resign", "stall", "refuse", "renumber"])
    )
    def kafka_does(self, topic: str, what: str) -> None:
        if self.daemon.wire.queues[topic]:
            self.daemon.do(lambda: getattr(self.daemon.wire, what)(topic))

    @rule(reads=st.booleans())
    def kafka_is_read(self, *, reads: bool) -> None:
        """Let the follower's requests be answered, or wait."""
        answers = self.daemon.reading.answers
        self.daemon.do(answers.set if reads else answers.clear)

    # Ends.

    ends = st.sampled_from(["", "", "removed", "damaged"])

    @rule(index_is=ends, slow=st.booleans())
    def the_process_dies(self, *, index_is: str = "", slow: bool = False) -> None:
        self.daemon.die()
        self.starts_again(index_is, slow=slow)

    @precondition(lambda self: not self.daemon.requests)
    @rule(index_is=ends, slow=st.booleans())
    def the_process_stops(self, *, index_is: str = "", slow: bool = False) -> None:
        self.daemon.stop()
        self.starts_again(index_is, slow=slow)

    def starts_again(self, index_is: str, *, slow: bool) -> None:
        """Start on what is left; a damage may be done to the index meanwhile."""
        damage(self.directory, index_is)
        left = index_of(self.directory)
        self.oracle.lose(left, lambda _: None)
        self.oracle.restart(left, self.log_of)
        self.start(slow=slow)

    def log_of(self, event_id: str) -> str | None:
        """Return in which log an event is."""
        if any(one.id == event_id for records in self.kafka.log.values() for one in records):
            return Reading.cluster_id
        return spool_id(self.directory) if event_id in spool_of(self.directory).values() else None

    @rule()
    def all_is_calm(self) -> None:
        """Everything works again, and nothing new comes."""
        self.daemon.do(self.daemon.reading.answers.set)
        self.daemon.do(lambda: self.daemon.wire.connect(up=True))
        for worker in self.daemon.workers:
            worker.disk.full, worker.disk.error = False, None
        self.daemon.run(CALM_SECONDS)
        assert not self.daemon.requests, "deliveries that are never answered"
        assert not any(self.daemon.wire.queues.values())
        assert not spool_of(self.directory), "events that stay in the spool"
        assert self.daemon.dedup.log.current.caught_up, "an index that never becomes complete"
        self.daemon.dedup.check_calm()

    # What always holds.

    def stored_numbers(self) -> set[int]:
        """Return the records that are durable."""
        return spool_of(self.directory).keys() | {one.number for records in self.kafka.log.values() for one in records}

    def stored_ids(self) -> set[str]:
        """Return the events that are durable."""
        in_kafka = {one.id for records in self.kafka.log.values() for one in records}
        return in_kafka.union(spool_of(self.directory).values())

    @invariant()
    def what_was_acknowledged_is_stored(self) -> None:
        for webhook in self.webhooks:
            webhook.heard()
            for request in webhook.requests:
                if request.answer is not None and request.answer.status == 200 and request.answer.id is not None:
                    assert request.answer.id == request.id
                    self.acknowledged.add(request.answer.id)
        assert self.acknowledged <= self.stored_ids(), "acknowledged and lost"

    @invariant()
    def what_was_refused_for_good_is_not(self) -> None:
        self.refused |= self.daemon.refused
        assert not self.refused & self.stored_numbers(), "refused for good, and stored"

    @invariant()
    def order_is_kept(self) -> None:
        for topic, records in self.kafka.log.items():
            first: dict[str, int] = {}
            for one in records:
                first.setdefault(one.id, one.number)
            assert sorted(first.values()) == list(first.values()), f"{topic} lost its order: {records}"

    @invariant()
    def every_answer_leaves_in_time(self) -> None:
        now = self.clock.monotonic()
        for request in self.daemon.requests:
            assert now - request.received <= DEADLINES.answer_seconds, "an answer that comes too late"
            waits = request.decision is None and now - request.received > DEADLINES.publish_seconds
            assert not waits, "a delivery that waits too long to be judged"


Way.TestCase.settings = settings(
    stateful_step_count=50,
    phases=WITHOUT_SHRINKING if settings().derandomize else list(Phase),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWay = pytest.mark.slow(Way.TestCase)
