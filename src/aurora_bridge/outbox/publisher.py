"""Makes an event durable within its deadlines: in Kafka, else in the spool.

`publish` sends a record directly or, if its topic has a backlog, stores it (`outbox.backlog` has the rules). If Kafka
does not acknowledge a record by the publish deadline, or sending fails, all unacknowledged sends of its topic move to
the spool; from there `drainer` takes them. A record that may be in Kafka already also stays in the sender, and its late
acknowledgement removes it from the spool.

Without a spool, only Kafka's acknowledgement counts, and a missed deadline is a refusal. Without Kafka (the embedded
log), every topic keeps its backlog: the spool is the event log.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic

from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus, SenderListener
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.backlog import Backlog
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Reason, Refusal
from aurora_bridge.settings import DeadlinesSettings
from aurora_bridge.state.directory import StateError

log = logging.getLogger(__name__)

# In Python 3.11, each access to an enum member is a call.
_ACKNOWLEDGED, _PUBLISHED = DeliveryStatus.ACKNOWLEDGED, Outcome.PUBLISHED

MakeSender = Callable[[SenderListener], Sender]


class Publisher:
    """Publishes records within their deadlines."""

    def __init__(
        self,
        deadlines: DeadlinesSettings,
        events: Iterable[str],
        make_sender: MakeSender | None,
        spool: Spool | None,
        metrics: Metrics,
    ) -> None:
        """Publish events of these names. `make_sender` or `spool` may be None, but not both.

        Raises `StateError` if the spool holds an event of another name, also in quarantine.
        """
        self._deadlines = deadlines
        self.sender = make_sender(self) if make_sender else None
        self._spool = spool
        self._publish_seconds = metrics.publish_seconds[()]
        self._drained = metrics.drained
        self._unanswered: dict[OutboxRecord, None] = {}
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time
        self.backlogs: dict[str, Backlog[OutboxRecord]] = {event: Backlog() for event in events}
        found = spool.found if spool else {}
        if unknown := found.keys() - self.backlogs.keys():
            msg = (
                "The spool holds events that this version of aurora-bridge does not know: "
                f"{', '.join(sorted(unknown))}. Start the version that wrote them again, let it empty its spool and "
                "its quarantine, and stop it before you change versions."
            )
            raise StateError(msg)
        for event, count in found.items():
            self.backlogs[event].waiting = count
        metrics.backlog_events.sources = lambda: {event: backlog.waiting for event, backlog in self.backlogs.items()}
        self.doubtful: dict[int, OutboxRecord] = {}
        """Spooled records that are still in the sender, by row."""

    def publish(self, record: OutboxRecord) -> Awaitable[Outcome]:
        """Make a record durable; the result says where it is. Raises `Refusal` when awaited."""
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        record.answer = answer
        self._unanswered[record] = None
        if self._spool is not None and not self.backlogs[record.event].arrive(record):
            self._store([record])
        elif not self.submit(record):
            self._no_answer(record, Reason.KAFKA_UNAVAILABLE)
        return answer

    def has_backlog(self, event: str) -> bool:
        """Whether events of a name go to the spool now."""
        return self._spool is not None and not self.backlogs[event].direct

    def submit(self, record: OutboxRecord) -> bool:
        """Hand a record to the sender. Returns False if Kafka does not have its topic now."""
        if self.sender is None or not self.sender.submit(record, backlog=record.seq is not None):
            return False
        record.in_sender = True
        record.submitted = monotonic()
        return True

    # Called by the sender (`SenderListener`).

    def on_metadata(self) -> None:
        """Make the drainer check every topic again."""
        for backlog in self.backlogs.values():
            backlog.changed.set()

    def on_unreachable(self, event: str) -> None:
        """Give the event a backlog, so that no delivery waits for a broker that is away."""
        if self._spool is not None:
            self._give_backlog(event)

    def on_delivery(self, sent: Sequence[Record], report: DeliveryReport) -> None:
        """Act on a delivery report."""
        records: Sequence[OutboxRecord] = sent  # type: ignore[assignment]  # the sender has no others
        status = report.status
        if status is _ACKNOWLEDGED:
            self._acknowledged(records)
            return
        if status is DeliveryStatus.RECORD_REFUSED:
            for record in records:
                self._quarantine(record, report.reason)
        elif status is DeliveryStatus.TOPIC_REFUSED:
            for record in records:
                record.in_sender = False
                self._no_answer(record, Reason.KAFKA_REFUSED)
        else:
            for record in records:
                record.in_doubt |= status is DeliveryStatus.IN_DOUBT
                if self._spool is not None:
                    self._give_backlog(record.event)
        for record in records:
            if not record.in_sender:
                record.end_drain(status)

    def _acknowledged(self, records: Sequence[OutboxRecord]) -> None:
        now = monotonic()
        for record in records:
            record.acknowledged, record.in_sender = True, False
            self._publish_seconds.observe(now - record.submitted)
            self.backlogs[record.event].end(record)
            if record.seq is not None:
                self._leave_spool(record, record.seq)
            if not self._answer(record, _PUBLISHED) and record.late is not None:
                record.late()
            if record.drained is not None:
                record.end_drain(_ACKNOWLEDGED)

    def _leave_spool(self, record: OutboxRecord, seq: int) -> None:
        self.doubtful.pop(seq, None)
        if self._spool is not None:
            self._spool.remove(seq)
        self._drained[()] += 1
        self.backlogs[record.event].left(1)

    def _quarantine(self, record: OutboxRecord, reason: str) -> None:
        """Put a record that Kafka rejected into quarantine, for an operator: there it does not block its queue."""
        record.in_sender = False
        log.error("Kafka rejected the record", extra=fields(event=record.event, id=record.id, reason=reason))
        if self._spool is None:
            self._answer(record, Refusal(Reason.KAFKA_REFUSED, doubtful=record.in_doubt))
        elif record.seq is not None:
            self._spool.quarantine(record.seq, reason)
            self.doubtful.pop(record.seq, None)
            self.backlogs[record.event].left(1)
        elif self.backlogs[record.event].end(record):
            self.backlogs[record.event].waiting += 1
            self._store([record], quarantined=reason)

    def _no_answer(self, record: OutboxRecord, reason: Reason) -> None:
        """Handle a record that Kafka does not accept: its topic gets a backlog, or without a spool, it is refused."""
        if self._spool is None:
            self._answer(record, Refusal(reason, doubtful=record.in_doubt))
        else:
            self._give_backlog(record.event)

    # The spool.

    def _give_backlog(self, event: str) -> None:
        moved = self.backlogs[event].fail()
        if moved:
            if self.sender is not None:
                taken = self.sender.withdraw(moved)
                for record in moved:
                    record.in_sender &= record not in taken
            self._store(moved)

    def _store(self, records: Sequence[OutboxRecord], *, quarantined: str | None = None) -> None:
        if self._spool is not None:
            self._spool.append(records, self._stored, quarantined=quarantined)

    def _stored(self, records: Sequence[OutboxRecord], failure: Reason | None, quarantined: str | None) -> None:
        """Handle the result of a commit."""
        for record in records:
            backlog = self.backlogs[record.event]
            if failure is not None:
                backlog.left(1)
                self._answer(record, Refusal(failure, doubtful=record.in_sender or record.in_doubt))
                backlog.changed.set()
            elif quarantined is not None:
                backlog.left(1)
                self._answer(record, Outcome.SPOOLED)
            elif record.acknowledged and record.seq is not None:
                self._leave_spool(record, record.seq)
            else:
                if record.in_sender and record.seq is not None:
                    self.doubtful[record.seq] = record
                if not self._answer(record, Outcome.SPOOLED) and record.late is not None:
                    record.late()
                backlog.changed.set()

    def restore(self, seqs: Sequence[int]) -> "asyncio.Future[list[int]]":
        """Put quarantined rows back into their queues; the result is the rows that were found.

        They return to their place in order of receipt, and their topics get a backlog, as after a failure, so that new
        events join behind them. Raises `Refusal` when awaited.
        """
        answer: asyncio.Future[list[int]] = self._loop.create_future()

        def restored(places: Sequence[tuple[int, str]], failure: Reason | None) -> None:
            for event, count in Counter(event for _, event in places).items():
                self.backlogs[event].waiting += count
                self.backlogs[event].taken = 0
                self._give_backlog(event)
                self.backlogs[event].changed.set()
            if answer.done():
                return  # the caller was cancelled
            if failure is not None:
                answer.set_exception(Refusal(failure))
            else:
                answer.set_result([seq for seq, _ in places])

        if self._spool is None:
            answer.set_result([])
        else:
            self._spool.restore(seqs, restored)
        return answer

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed by monotonic time `now`."""
        publish, spool = now - self._deadlines.publish_seconds, now - self._deadlines.spool_seconds
        overdue = [record for record in self._unanswered if record.received <= publish]
        if self._spool is None:
            taken = self.sender.withdraw(overdue) if overdue and self.sender else set()
            for record in overdue:
                doubtful = record.in_doubt or record not in taken
                self._answer(record, Refusal(Reason.KAFKA_UNAVAILABLE, doubtful=doubtful))
            return
        for event in {record.event for record in overdue}:
            self._give_backlog(event)
        for record in overdue:
            if record.received <= spool:
                self._answer(record, Refusal(Reason.TOO_LATE, doubtful=True))

    def _answer(self, record: OutboxRecord, answer: Outcome | Refusal) -> bool:
        """Resolve the delivery's result. Returns False if that was done before, or nobody waits for it."""
        self._unanswered.pop(record, None)
        return record.end_delivery(answer)
