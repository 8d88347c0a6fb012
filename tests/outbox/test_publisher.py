"""Deadlines, and where an event is durable when one has passed. The sender is a double, so that time is a parameter."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus, SenderListener
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Reason, Refusal
from aurora_bridge.settings import DeadlinesSettings
from aurora_bridge.state.directory import StateError
from tests.kafka.records import keys
from tests.outbox.records import make_record
from tests.state.failing import connect_failing

DEADLINES = DeadlinesSettings()
PUBLISH, SPOOL = DEADLINES.publish_seconds, DEADLINES.spool_seconds
EVENTS = ("lead_changed", "lead_created")
PATIENCE = 30.0

ACKNOWLEDGED = DeliveryReport(DeliveryStatus.ACKNOWLEDGED, offset=1)
IN_DOUBT = DeliveryReport(DeliveryStatus.IN_DOUBT, "connection_lost")
STALLED = DeliveryReport(DeliveryStatus.STALLED, "broker_away")
TOPIC_REFUSED = DeliveryReport(DeliveryStatus.TOPIC_REFUSED, "topic_authorization_failed")
RECORD_REFUSED = DeliveryReport(DeliveryStatus.RECORD_REFUSED, "message_too_large")


class SenderDouble(Sender):
    """Holds what it was given until the test says what became of it."""

    def __init__(self, listener: SenderListener) -> None:
        self._listener = listener
        self.held: list[Record] = []
        self.sent: set[Record] = set()
        """Those that may be in Kafka, and cannot be withdrawn."""
        self.knows = set(EVENTS)
        """The events whose topics are known."""

    def submit(self, record: Record, *, backlog: bool = False) -> bool:
        del backlog
        if record.event not in self.knows:
            return False
        self.held.append(record)
        return True

    def withdraw(self, records: Iterable[Record]) -> set[Record]:
        taken = {record for record in records if record in self.held and record not in self.sent}
        self.held = [record for record in self.held if record not in taken]
        return taken

    def say(self, record: OutboxRecord, report: DeliveryReport) -> None:
        """Tell what became of a record."""
        if report.status not in (DeliveryStatus.IN_DOUBT, DeliveryStatus.STALLED):
            self.held.remove(record)
        elif report.status is DeliveryStatus.IN_DOUBT:
            self.sent.add(record)
        self._listener.on_delivery([record], report)


class Publishing:
    """A publisher, what it stands on, and the deliveries that wait for it."""

    def __init__(self, spool: Spool | None, *, sender: bool = True, direct: bool = True) -> None:
        self.spool = spool
        self.metrics = Metrics()
        self.publisher = Publisher(DEADLINES, EVENTS, SenderDouble if sender else None, spool, self.metrics)
        self.late: list[str] = []
        if direct:
            for backlog in self.publisher.backlogs.values():
                backlog.handed_over(0)

    @property
    def sender(self) -> SenderDouble:
        """The publisher's sender."""
        assert isinstance(self.publisher.sender, SenderDouble)
        return self.publisher.sender

    async def _publish(self, record: OutboxRecord) -> Outcome:
        return await self.publisher.publish(record)

    def deliver(self, key: str, event: str = EVENTS[0]) -> tuple[OutboxRecord, asyncio.Task[Outcome]]:
        """Take one delivery, received at time 0."""
        record = make_record(key, event)
        record.late = lambda: self.late.append(key)
        return record, asyncio.create_task(self._publish(record))

    async def settle(self) -> None:
        """Return when everything that was queued for the spool is committed and told."""
        await asyncio.sleep(0)
        if self.spool is not None:
            await self.spool.head(EVENTS[0], 0)

    async def waiting(self, event: str = EVENTS[0]) -> list[str]:
        """Return the keys in an event's queue."""
        assert self.spool is not None
        return keys(await self.spool.head(event, 100))


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path, 2**18)
    spool.start()
    yield spool
    await spool.stop(PATIENCE)


@pytest.fixture
async def spooling(spool: Spool) -> Publishing:
    """With a spool, every topic direct."""
    return Publishing(spool)


@pytest.fixture
async def bare() -> Publishing:
    """Without a spool."""
    return Publishing(None)


async def refusal_of(answer: asyncio.Task[Outcome]) -> tuple[Reason, bool]:
    with pytest.raises(Refusal) as caught:
        await answer
    return caught.value.reason, caught.value.doubtful


async def outcome_of(answer: asyncio.Task[Outcome]) -> Outcome:
    async with asyncio.timeout(PATIENCE):
        return await answer


# Direct


@pytest.mark.proves("a 2xx means stored")
async def test_what_kafka_acknowledges_is_published(spooling: Publishing) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    assert not answer.done()
    spooling.sender.say(record, ACKNOWLEDGED)
    assert await outcome_of(answer) is Outcome.PUBLISHED
    assert await spooling.waiting() == []
    assert spooling.late == []


async def test_before_a_deadline_has_passed_nothing_happens(spooling: Publishing) -> None:
    _, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.publisher.sweep(PUBLISH - 0.001)
    await spooling.settle()
    assert not answer.done()
    answer.cancel()


async def test_at_the_publish_deadline_all_unacknowledged_sends_of_the_topic_move_to_the_spool_in_order(
    spooling: Publishing,
) -> None:
    answers = [spooling.deliver(key)[1] for key in "abc"]
    other, direct = spooling.deliver("other", EVENTS[1])
    await asyncio.sleep(0)
    other.received = 1.0
    spooling.publisher.sweep(PUBLISH)
    assert [await outcome_of(answer) for answer in answers] == [Outcome.SPOOLED] * 3
    assert await spooling.waiting() == ["a", "b", "c"]
    assert [record.key for record in spooling.sender.held] == [b"other"]
    assert not direct.done()
    assert spooling.publisher.backlogs[EVENTS[1]].direct
    direct.cancel()


@pytest.mark.parametrize("report", [IN_DOUBT, STALLED, TOPIC_REFUSED], ids=lambda report: report.status)
async def test_at_the_first_sign_of_trouble_so_do_they_and_what_comes_joins_behind(
    spooling: Publishing, report: DeliveryReport
) -> None:
    first, _ = spooling.deliver("a")
    answers = [_, spooling.deliver("b")[1]]
    await asyncio.sleep(0)
    spooling.sender.say(first, report)
    answers.append(spooling.deliver("c")[1])
    assert [await outcome_of(answer) for answer in answers] == [Outcome.SPOOLED] * 3
    assert await spooling.waiting() == ["a", "b", "c"]


async def test_a_topic_that_kafka_does_not_know_goes_to_the_spool_at_once(spooling: Publishing) -> None:
    spooling.sender.knows.clear()
    assert await outcome_of(spooling.deliver("a")[1]) is Outcome.SPOOLED
    assert await spooling.waiting() == ["a"]


async def test_while_a_topic_has_a_backlog_events_go_to_the_spool_only(spool: Spool) -> None:
    publishing = Publishing(spool, direct=False)
    assert await outcome_of(publishing.deliver("a")[1]) is Outcome.SPOOLED
    assert publishing.sender.held == []


async def test_the_drainer_is_told_of_each_topic_that_has_something_new(spooling: Publishing) -> None:
    spooling.sender.knows.clear()
    await outcome_of(spooling.deliver("a")[1])
    assert [spooling.publisher.backlogs[event].changed.is_set() for event in EVENTS] == [True, False]


async def test_the_drainer_looks_at_every_topic_again_when_the_metadata_changed(spooling: Publishing) -> None:
    spooling.publisher.on_metadata()
    assert all(spooling.publisher.backlogs[event].changed.is_set() for event in EVENTS)


async def test_what_waits_since_an_earlier_run_keeps_its_topic_from_being_direct(tmp_path: Path, spool: Spool) -> None:
    await outcome_of(Publishing(spool, direct=False).deliver("a")[1])
    await spool.stop(PATIENCE)
    reopened = Spool(tmp_path, 2**18)
    reopened.start()
    publishing = Publishing(reopened)
    direct = [publishing.publisher.backlogs[event].direct for event in EVENTS]
    await reopened.stop(PATIENCE)
    assert direct == [False, True]


# Late acknowledgements


@pytest.mark.parametrize("quarantined", [None, "message_too_large"])
async def test_an_event_that_this_version_does_not_know_ends_the_start_and_the_message_says_what_to_do(
    tmp_path: Path, spool: Spool, quarantined: str | None
) -> None:
    stored = asyncio.Event()
    spool.append([make_record("a", "of_the_next_version")], lambda *_: stored.set(), quarantined=quarantined)
    await stored.wait()
    await spool.stop(PATIENCE)
    older = Spool(tmp_path, 2**18)
    older.start()
    with pytest.raises(StateError, match=r"does not know: of_the_next_version\. Start the version that wrote them"):
        Publishing(older)
    await older.stop(PATIENCE)


async def test_a_late_acknowledgement_takes_the_record_out_of_the_spool(spooling: Publishing) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.say(record, IN_DOUBT)
    assert await outcome_of(answer) is Outcome.SPOOLED
    assert spooling.publisher.doubtful == {record.seq: record}
    spooling.sender.say(record, ACKNOWLEDGED)
    assert (await spooling.waiting(), spooling.publisher.doubtful) == ([], {})
    assert spooling.publisher.backlogs[EVENTS[0]].waiting == 0


async def test_an_acknowledgement_during_the_commit_answers_published_and_leaves_nothing_in_the_spool(
    spooling: Publishing,
) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.say(record, IN_DOUBT)
    spooling.sender.say(record, ACKNOWLEDGED)
    assert await outcome_of(answer) is Outcome.PUBLISHED
    await spooling.settle()
    assert (await spooling.waiting(), spooling.publisher.doubtful) == ([], {})
    assert spooling.publisher.backlogs[EVENTS[0]].waiting == 0


async def test_what_was_withdrawn_is_not_in_the_sender_and_what_is_in_doubt_is(spooling: Publishing) -> None:
    first, _ = spooling.deliver("a")
    second, answer = spooling.deliver("b")
    await asyncio.sleep(0)
    spooling.sender.say(first, IN_DOUBT)
    await outcome_of(answer)
    assert (first.in_sender, second.in_sender) == (True, False)
    assert spooling.sender.held == [first]


# The spool is late, full or broken


@pytest.mark.proves("every answer leaves within 8 s")
async def test_at_the_spool_deadline_a_delivery_is_refused_as_doubtful_and_a_later_commit_is_told(
    spooling: Publishing,
) -> None:
    spooling.sender.knows.clear()
    _, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.publisher.sweep(SPOOL)
    assert await refusal_of(answer) == (Reason.TOO_LATE, True)
    assert spooling.late == []
    await spooling.settle()
    assert (spooling.late, await spooling.waiting()) == (["a"], ["a"])


async def test_a_late_acknowledgement_of_a_refused_delivery_is_told(spooling: Publishing) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.sent.add(record)
    spooling.publisher.sweep(SPOOL)
    assert await refusal_of(answer) == (Reason.TOO_LATE, True)
    spooling.sender.say(record, ACKNOWLEDGED)
    assert spooling.late == ["a"]
    await spooling.settle()
    assert await spooling.waiting() == []


async def test_a_delivery_that_gave_up_hears_of_the_commit_and_of_the_acknowledgement(spooling: Publishing) -> None:
    spooled, answer = spooling.deliver("a")
    published, other = spooling.deliver("b", EVENTS[1])
    await asyncio.sleep(0)
    spooling.sender.say(spooled, STALLED)
    answer.cancel()
    other.cancel()
    await asyncio.sleep(0)
    spooling.sender.say(published, ACKNOWLEDGED)
    await spooling.settle()
    assert sorted(spooling.late) == ["a", "b"]
    assert await spooling.waiting() == ["a"]


async def fill(spool: Spool) -> None:
    """Append until nothing more fits."""
    while not spool.full:
        told = asyncio.Event()
        spool.append([make_record("fill", EVENTS[1], size=3000)], lambda *_: told.set())  # noqa: B023
        await told.wait()


@pytest.mark.parametrize("sent", [True, False])
async def test_a_full_spool_refuses_and_only_what_may_be_in_kafka_is_doubtful(
    spooling: Publishing,
    spool: Spool,
    sent: bool,  # noqa: FBT001
) -> None:
    await fill(spool)
    record, answer = spooling.deliver("a")
    record.value = b"x" * 10_000
    await asyncio.sleep(0)
    spooling.sender.say(record, IN_DOUBT if sent else STALLED)
    assert await refusal_of(answer) == (Reason.SPOOL_FULL, sent)
    assert spooling.publisher.backlogs[EVENTS[0]].waiting == 0
    if sent:
        spooling.sender.say(record, ACKNOWLEDGED)
        assert spooling.late == ["a"]


async def test_what_was_in_doubt_stays_so_when_its_topic_is_refused_and_the_spool_is_full(
    spooling: Publishing, spool: Spool
) -> None:
    await fill(spool)
    record, answer = spooling.deliver("a")
    record.value = b"x" * 10_000
    await asyncio.sleep(0)
    spooling.sender.say(record, IN_DOUBT)
    spooling.sender.say(record, TOPIC_REFUSED)
    assert await refusal_of(answer) == (Reason.SPOOL_FULL, True)


async def test_a_broken_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = connect_failing(monkeypatch)
    spool = Spool(tmp_path, 2**18)
    spool.start()
    publishing = Publishing(spool, direct=False)
    connections[0].fails_on = "COMMIT"
    assert await refusal_of(publishing.deliver("a")[1]) == (Reason.SPOOL_FAILED, False)
    assert await refusal_of(publishing.deliver("b")[1]) == (Reason.SPOOL_FAILED, False)
    assert spool.failed.is_set()
    await spool.stop(PATIENCE)


# Records at fault


async def test_a_record_that_kafka_rejects_is_quarantined_and_its_topic_stays_direct(
    spooling: Publishing, tmp_path: Path
) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.say(record, RECORD_REFUSED)
    assert await outcome_of(answer) is Outcome.SPOOLED
    backlog = spooling.publisher.backlogs[EVENTS[0]]
    assert (await spooling.waiting(), backlog.waiting, backlog.direct) == ([], 0, True)
    assert spooling.spool is not None
    await spooling.spool.stop(PATIENCE)
    reopened = Spool(tmp_path, 2**18)
    assert (reopened.stats.quarantined, reopened.waiting) == (1, 0)
    reopened.start()
    await reopened.stop(PATIENCE)


async def test_a_spooled_record_that_kafka_rejects_is_quarantined(spooling: Publishing) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.say(record, IN_DOUBT)
    await outcome_of(answer)
    spooling.sender.say(record, RECORD_REFUSED)
    assert (await spooling.waiting(), spooling.publisher.doubtful) == ([], {})
    assert spooling.publisher.backlogs[EVENTS[0]].waiting == 0


# Without a spool


async def test_without_a_spool_no_topic_has_a_backlog(spool: Spool) -> None:
    """Where there is one, other replicas cannot know what it holds, and a state gets an id of its own."""
    bare, spooling = (Publishing(each, direct=False).publisher for each in (None, spool))
    assert (bare.has_backlog(EVENTS[0]), spooling.has_backlog(EVENTS[0])) == (False, True)


async def test_without_a_spool_an_acknowledgement_is_all_that_counts(bare: Publishing) -> None:
    record, answer = bare.deliver("a")
    await asyncio.sleep(0)
    bare.sender.say(record, IN_DOUBT)
    await asyncio.sleep(0)
    assert not answer.done()
    bare.sender.say(record, ACKNOWLEDGED)
    assert await outcome_of(answer) is Outcome.PUBLISHED


async def test_without_a_spool_the_publish_deadline_refuses_what_was_not_sent_for_good(bare: Publishing) -> None:
    _, answer = bare.deliver("a")
    await asyncio.sleep(0)
    bare.publisher.sweep(PUBLISH)
    assert await refusal_of(answer) == (Reason.KAFKA_UNAVAILABLE, False)
    assert bare.sender.held == []


async def test_without_a_spool_the_publish_deadline_refuses_what_was_sent_as_doubtful(bare: Publishing) -> None:
    record, answer = bare.deliver("a")
    await asyncio.sleep(0)
    bare.sender.sent.add(record)
    bare.publisher.sweep(PUBLISH)
    assert await refusal_of(answer) == (Reason.KAFKA_UNAVAILABLE, True)
    bare.sender.say(record, ACKNOWLEDGED)
    assert bare.late == ["a"]


@pytest.mark.parametrize("report", [TOPIC_REFUSED, RECORD_REFUSED], ids=lambda report: report.status)
async def test_without_a_spool_kafkas_no_is_a_definite_refusal(bare: Publishing, report: DeliveryReport) -> None:
    record, answer = bare.deliver("a")
    await asyncio.sleep(0)
    bare.sender.say(record, report)
    assert await refusal_of(answer) == (Reason.KAFKA_REFUSED, False)


@pytest.mark.parametrize("report", [TOPIC_REFUSED, RECORD_REFUSED], ids=lambda report: report.status)
async def test_without_a_spool_kafkas_no_to_what_was_in_doubt_leaves_it_in_doubt(
    bare: Publishing, report: DeliveryReport
) -> None:
    """The send before the refused one may have reached the log."""
    record, answer = bare.deliver("a")
    await asyncio.sleep(0)
    bare.sender.say(record, IN_DOUBT)
    bare.sender.say(record, report)
    assert await refusal_of(answer) == (Reason.KAFKA_REFUSED, True)


async def test_without_a_spool_an_unknown_topic_is_refused_at_once(bare: Publishing) -> None:
    bare.sender.knows.clear()
    assert await refusal_of(bare.deliver("a")[1]) == (Reason.KAFKA_UNAVAILABLE, False)


# Without Kafka


async def test_without_kafka_the_spool_is_the_event_log(spool: Spool) -> None:
    publishing = Publishing(spool, sender=False, direct=False)
    answers = [publishing.deliver(key)[1] for key in "abc"]
    assert [await outcome_of(answer) for answer in answers] == [Outcome.SPOOLED] * 3
    assert await publishing.waiting() == ["a", "b", "c"]


# The clock


async def test_the_time_until_kafkas_acknowledgement_is_measured(spooling: Publishing) -> None:
    record, answer = spooling.deliver("a")
    await asyncio.sleep(0)
    spooling.sender.say(record, ACKNOWLEDGED)
    await outcome_of(answer)
    samples = {sample.name: sample.value for sample in spooling.metrics.publish_seconds.collect().samples}
    assert samples["aurora_bridge_publish_seconds_count"] == 1


async def test_what_kafka_acknowledges_out_of_the_spool_is_counted_and_what_went_directly_is_not(
    spooling: Publishing,
) -> None:
    def waiting() -> float:
        spooling.metrics.backlog_events.collect()
        return spooling.metrics.backlog_events[EVENTS[0]]

    direct, answer = spooling.deliver("a")
    spooled, other = spooling.deliver("b")
    await asyncio.sleep(0)
    spooling.sender.say(direct, ACKNOWLEDGED)
    spooling.sender.say(spooled, IN_DOUBT)
    assert [await outcome_of(answer), await outcome_of(other)] == [Outcome.PUBLISHED, Outcome.SPOOLED]
    assert spooling.metrics.drained[()] == 0
    assert waiting() == 1
    spooling.sender.say(spooled, ACKNOWLEDGED)
    assert spooling.metrics.drained[()] == 1
    assert waiting() == 0
