"""One partition's queue: what waits, the batch in flight, and the sequence that makes a second copy impossible.

At most one batch of a partition is in flight, and the sequence only advances when it is acknowledged (KIP-98).
Everything else serves one rule: **a sequence that was sent is never used for other bytes.** A batch that may have been
appended is doubtful, and is sent again byte for byte until it is answered. Only if the broker does not know the
sequence, or a doubtful batch must be split, does the partition begin a new producer epoch, as the Java producer does
(KIP-360). `error_actions` says what a response does, `sender` decides when to send.
"""

from collections import deque
from collections.abc import Sequence

from aurora_bridge.kafka.batch import Batch, State, take
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus
from aurora_bridge.kafka.error_actions import Action
from aurora_bridge.kafka.offset_runs import OffsetRuns
from aurora_bridge.kafka.produce_protocol import ProducerId, encode_batch
from aurora_bridge.kafka.record import Record

MAX_BATCH_BYTES = 128 * 1024
"""Limit for values and keys of one batch: at 50 kB/s it arrives before its request times out."""
SUSPECT_ATTEMPTS = 3
"""After this many ambiguous responses in a row, a batch is halved."""
SUSPECT_SECONDS = 5.0
"""A single record that gets them for this long is rejected, if its broker acknowledged others meanwhile."""
UNCLEAR_SECONDS = 600.0
"""The same if it acknowledged none: a broker that fails every batch may recover, and no record is at fault."""
_SEQUENCE_LIMIT = 2**31
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
"""Pause between two attempts to send a batch. It doubles each time, as in KIP-580."""

Report = tuple[Sequence[Record], DeliveryReport]
"""Records of one partition, and the report to deliver on them."""


# In Python 3.11, each access to an enum member is a call.
_READY, _SENT, _DOUBTFUL, _RESENT = State
_ACKNOWLEDGE, _ACKNOWLEDGED = Action.ACKNOWLEDGE, DeliveryStatus.ACKNOWLEDGED


class PartitionQueue:
    """The queue of one partition."""

    __slots__ = (
        "_batches",
        "_pause",
        "_sequence",
        "backlog",
        "broker",
        "partition",
        "producer",
        "retry_at",
        "stored",
        "topic",
        "under_way",
        "waiting",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.broker: Broker | None = None
        """The partition's leader, if it is known and reachable."""
        self.backlog = False
        """Whether it carries events of a backlog: other queues then go first."""
        self.under_way = False
        """Whether a request with its batch is in flight."""
        self.waiting: deque[Record] = deque()
        self.producer: ProducerId | None = None
        self.retry_at = 0.0
        """Monotonic time before which nothing is sent."""
        self._batches: deque[Batch] = deque()
        """The batch in flight, then the other parts of one that was split."""
        self._sequence = 0
        self._pause = _FIRST_PAUSE_SECONDS
        self.stored = OffsetRuns()

    def __bool__(self) -> bool:
        return bool(self._batches or self.waiting)

    @property
    def state(self) -> State | None:
        """The state of the batch in flight, None if there is none."""
        return self._batches[0].state if self._batches else None

    @property
    def in_flight(self) -> list[Record]:
        """The records of the batch in flight."""
        return self._batches[0].records if self._batches else []

    @property
    def doubtful(self) -> bool:
        """Whether the batch in flight may already be in the log."""
        state = self.state
        return state is _DOUBTFUL or state is _RESENT

    def load(self, producer: ProducerId, compression: int, max_bytes: int = MAX_BATCH_BYTES) -> bytes:
        """Return the bytes to send now: those of the batch in flight, or of a new one made from what waits.

        A new batch holds about `max_bytes`, and at least one record. `producer` is the newest id; a partition that has
        one keeps it, so that its sequence continues. If the encoder raises, the records stay queued.
        """
        self._fit(max_bytes)
        if not self._batches:
            self._batches.append(Batch(take(self.waiting, min(max_bytes, MAX_BATCH_BYTES))))
        batch = self._batches[0]
        if batch.data is None:
            if self.producer is None:
                self.producer = producer
            batch.data = encode_batch(batch.records, self.producer, self._sequence, compression)
        return batch.data

    def _fit(self, max_bytes: int) -> None:
        """Return a batch that was never sent, and is now too large, to the queue: `load` builds a smaller one."""
        if len(self._batches) == 1:
            batch = self._batches[0]
            if batch.state is _READY and batch.data is not None and len(batch.data) > max_bytes:
                self._batches.clear()
                self.waiting.extendleft(reversed(batch.records))

    def sent(self) -> None:
        """Note that the loaded batch is being sent."""
        batch = self._batches[0]
        batch.state = _SENT if batch.state is _READY else _RESENT
        self.under_way = True

    def apply(self, action: Action, reason: str, now: float, offset: int = -1) -> list[Report]:
        """Apply a response to the batch in flight; return the reports to deliver.

        `reason` is Kafka's name for the response, `now` the monotonic time, `offset` the first record's offset (-1:
        Kafka did not report it).
        """
        self.under_way = False
        if action is _ACKNOWLEDGE:
            return self._acknowledge(offset)
        batch = self._batches[0]
        doubtful = self.doubtful
        if action is not Action.SUSPECT:
            batch.suspected, batch.suspected_at = 0, 0.0
        self.retry_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        match action:
            case Action.RETRY | Action.STALL:
                batch.state = _DOUBTFUL if doubtful else _READY
            case Action.RETRY_DOUBTFUL | Action.STALL_DOUBTFUL:
                batch.state = _DOUBTFUL
            case Action.SUSPECT:
                return self._suspect(batch, reason, now)
            case Action.NEW_EPOCH:
                batch.state = _DOUBTFUL if doubtful else _READY
                self._begin_epoch()
            case Action.SPLIT:
                return self._split(reason, doubtful=doubtful)
            case Action.REFUSE:
                return self.refuse(reason)
        return self._stalled(reason) if action in {Action.STALL, Action.STALL_DOUBTFUL} else []

    def _acknowledge(self, offset: int) -> list[Report]:
        records = self._batches.popleft().records
        self._pause = _FIRST_PAUSE_SECONDS
        self._sequence = (self._sequence + len(records)) % _SEQUENCE_LIMIT
        self.stored.add(offset, len(records))
        return [(records, DeliveryReport(_ACKNOWLEDGED, "", offset))]

    def _suspect(self, batch: Batch, reason: str, now: float) -> list[Report]:
        """Resend a batch that gets no clear response; split it if that does not help."""
        if batch.data is not None:  # else it could not be encoded
            batch.state = _DOUBTFUL
        batch.suspected += 1
        batch.suspected_at = batch.suspected_at or now
        if batch.suspected < SUSPECT_ATTEMPTS or (len(batch.records) == 1 and not self._is_at_fault(batch, now)):
            return self._stalled(reason)
        return self._split(reason, doubtful=batch.state is _DOUBTFUL)

    def _is_at_fault(self, batch: Batch, now: float) -> bool:
        others = self.broker is not None and self.broker.acknowledged_at > batch.suspected_at
        return now - batch.suspected_at >= (SUSPECT_SECONDS if others else UNCLEAR_SECONDS)

    def _split(self, reason: str, *, doubtful: bool) -> list[Report]:
        """Find the record at fault: queue the batch again in halves, and reject a record that is alone."""
        batch = self._batches.popleft()
        records = batch.records
        reports = self._end_epoch(records, reason) if doubtful else []
        if len(records) == 1:
            return [*reports, (records, DeliveryReport(DeliveryStatus.RECORD_REFUSED, reason))]
        middle, state = len(records) // 2, _DOUBTFUL if doubtful else _READY
        for part in (records[middle:], records[:middle]):
            self._batches.appendleft(Batch(part, state, suspected_at=batch.suspected_at))
        self.retry_at = 0.0
        return reports

    def refuse(self, reason: str) -> list[Report]:
        """Refuse all records: the topic is refused, and later ones must not overtake the batch in flight."""
        reports = self._end_epoch(self.in_flight, reason) if self.doubtful else []
        return [*reports, (self._clear(), DeliveryReport(DeliveryStatus.TOPIC_REFUSED, reason))]

    def _end_epoch(self, doubtful: Sequence[Record], reason: str) -> list[Report]:
        self._begin_epoch()
        return [(tuple(doubtful), DeliveryReport(DeliveryStatus.IN_DOUBT, reason))]

    def _begin_epoch(self) -> None:
        """Begin a new producer epoch: the broker then rejects all that was sent under the old one.

        The records of a doubtful batch may end up in the log twice, under the same ids.
        """
        self._sequence = 0
        if self.producer is not None:
            self.producer = self.producer.next_epoch()
        if self._batches:
            self._batches[0].data = None

    def _stalled(self, reason: str) -> list[Report]:
        """Return a report for every record: in doubt if it may be in the log, else stalled."""
        reports: list[Report] = [
            (
                tuple(batch.records),
                DeliveryReport(DeliveryStatus.STALLED if batch.state is _READY else DeliveryStatus.IN_DOUBT, reason),
            )
            for batch in self._batches
        ]
        if self.waiting:
            reports.append((tuple(self.waiting), DeliveryReport(DeliveryStatus.STALLED, reason)))
        return reports

    def give_up(self) -> tuple[list[Record], list[Report]]:
        """Empty the queue of a partition that is gone; return its records in order, and reports on those in doubt."""
        reports = self._end_epoch(self.in_flight, "unknown_topic_or_partition") if self.doubtful else []
        return self._clear(), reports

    def _clear(self) -> list[Record]:
        records = [*(record for batch in self._batches for record in batch.records), *self.waiting]
        self._batches.clear()
        self.waiting.clear()
        return records

    def withdraw(self, wanted: set[Record]) -> set[Record]:
        """Remove those of `wanted` that were certainly not sent; return them."""
        taken = wanted.intersection(self.waiting)
        if taken:
            self.waiting = deque(record for record in self.waiting if record not in taken)
        for batch in tuple(self._batches):
            if batch.state is _READY and not wanted.isdisjoint(batch.records):
                taken |= wanted.intersection(batch.records)
                batch.records = [record for record in batch.records if record not in wanted]
                batch.data = None
                if not batch.records:
                    self._batches.remove(batch)
        return taken
