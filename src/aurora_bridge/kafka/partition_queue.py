"""One partition's queue: what waits, the batch in flight, and the sequence that makes a second copy impossible.

At most one batch of a partition is in flight, and the sequence moves on with its acknowledgement only (KIP-98). The
rule that everything else serves: **a sequence that went on the wire is never given to other bytes.** A batch that may
have been appended is doubtful and goes out again byte for byte, until it is answered; only when the broker does not
know the sequence, or a doubtful batch has to be taken apart, the partition begins a new producer epoch, as the Java
producer does (KIP-360). `error_actions` says what an answer does, `sender` decides when to send.
"""

from collections import deque
from collections.abc import Sequence

from aurora_bridge.kafka.batch import Batch, State, take
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.error_actions import Action
from aurora_bridge.kafka.offset_runs import OffsetRuns
from aurora_bridge.kafka.produce import ProducerId, encode_batch
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import DeliveryReport, DeliveryStatus

MAX_BATCH_BYTES = 128 * 1024
"""Values and keys of one batch: it fits through a line of 50 kB/s before its request times out."""
SUSPECT_ATTEMPTS = 3
"""After so many answers that blame nothing, a batch is halved."""
SUSPECT_SECONDS = 5.0
"""For so long a single record gets them before it is rejected, if its broker acknowledged others meanwhile."""
UNCLEAR_SECONDS = 600.0
"""And if it did not: a broker that answers everything so may recover, and its records are not at fault."""
_SEQUENCE_LIMIT = 2**31
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
"""Between two sends of a batch: the pause doubles, as in KIP-580."""

Told = tuple[Sequence[Record], DeliveryReport]
"""What is to be told of records of one partition."""


# In Python 3.11 each look-up of a member of an enumeration is a call.
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
        """That which leads it, as far as we know and can connect to it."""
        self.backlog = False
        """Whether it carries events of a backlog: then others go first."""
        self.under_way = False
        """Whether an answer is awaited."""
        self.waiting: deque[Record] = deque()
        self.producer: ProducerId | None = None
        self.retry_at = 0.0
        """Monotonic time before which nothing is sent."""
        self._batches: deque[Batch] = deque()
        """The batch in flight, then the parts that remain of one that was taken apart."""
        self._sequence = 0
        self._pause = _FIRST_PAUSE_SECONDS
        self.stored = OffsetRuns()

    def __bool__(self) -> bool:
        return bool(self._batches or self.waiting)

    @property
    def state(self) -> State | None:
        """The state of the batch in flight, None without one."""
        return self._batches[0].state if self._batches else None

    @property
    def in_flight(self) -> list[Record]:
        """The records of the batch in flight."""
        return self._batches[0].records if self._batches else []

    @property
    def doubtful(self) -> bool:
        """Whether the batch in flight may be in the log without our knowing."""
        state = self.state
        return state is _DOUBTFUL or state is _RESENT

    def load(self, producer: ProducerId, compression: int, max_bytes: int = MAX_BATCH_BYTES) -> bytes:
        """Return the bytes to send now: the batch in flight, made from what waits if there is none.

        A new one holds about `max_bytes`, and one record at least. `producer` is the newest id; a partition that has
        one keeps it, so that its sequence goes on. Raises what the encoder does; the records are still queued then.
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
        """Rebuild a batch, smaller, that was never on the wire and is too large for it now."""
        if len(self._batches) == 1:
            batch = self._batches[0]
            if batch.state is _READY and batch.data is not None and len(batch.data) > max_bytes:
                self._batches.clear()
                self.waiting.extendleft(reversed(batch.records))

    def sent(self) -> None:
        """Note that what was loaded goes on the wire now."""
        batch = self._batches[0]
        batch.state = _SENT if batch.state is _READY else _RESENT
        self.under_way = True

    def apply(self, action: Action, reason: str, now: float, offset: int = -1) -> list[Told]:
        """Do to the batch in flight what an answer asks for; return what is to be told.

        `reason` is the answer's name, `now` the monotonic time, `offset` that of the first record (-1 where Kafka does
        not say).
        """
        self.under_way = False
        if action is _ACKNOWLEDGE:
            return self._acknowledge(offset)
        batch = self._batches[0]
        doubtful = self.doubtful
        if action is not Action.SUSPECT:
            batch.suspected = 0
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

    def _acknowledge(self, offset: int) -> list[Told]:
        records = self._batches.popleft().records
        self._pause = _FIRST_PAUSE_SECONDS
        self._sequence = (self._sequence + len(records)) % _SEQUENCE_LIMIT
        self.stored.add(offset, len(records))
        return [(records, DeliveryReport(_ACKNOWLEDGED, "", offset))]

    def _suspect(self, batch: Batch, reason: str, now: float) -> list[Told]:
        """Send a batch again that gets no clear answer, and take it apart when that is no use."""
        if batch.data is not None:  # else it could not even be encoded
            batch.state = _DOUBTFUL
        batch.suspected += 1
        batch.suspected_at = batch.suspected_at or now
        if batch.suspected < SUSPECT_ATTEMPTS or (len(batch.records) == 1 and not self._is_at_fault(batch, now)):
            return self._stalled(reason)
        return self._split(reason, doubtful=batch.state is _DOUBTFUL)

    def _is_at_fault(self, batch: Batch, now: float) -> bool:
        others = self.broker is not None and self.broker.acknowledged_at > batch.suspected_at
        return now - batch.suspected_at >= (SUSPECT_SECONDS if others else UNCLEAR_SECONDS)

    def _split(self, reason: str, *, doubtful: bool) -> list[Told]:
        """Find the record at fault: the batch comes again in halves; alone, it is the one."""
        batch = self._batches.popleft()
        records = batch.records
        told = self._end_epoch(records, reason) if doubtful else []
        if len(records) == 1:
            return [*told, (records, DeliveryReport(DeliveryStatus.RECORD_REFUSED, reason))]
        middle, state = len(records) // 2, _DOUBTFUL if doubtful else _READY
        for part in (records[middle:], records[:middle]):
            self._batches.appendleft(Batch(part, state, suspected_at=batch.suspected_at))
        self.retry_at = 0.0
        return told

    def refuse(self, reason: str) -> list[Told]:
        """End everything: the topic is refused, and what is behind must not get ahead."""
        told = self._end_epoch(self.in_flight, reason) if self.doubtful else []
        return [*told, (self._clear(), DeliveryReport(DeliveryStatus.TOPIC_REFUSED, reason))]

    def _end_epoch(self, doubtful: Sequence[Record], reason: str) -> list[Told]:
        self._begin_epoch()
        return [(tuple(doubtful), DeliveryReport(DeliveryStatus.IN_DOUBT, reason))]

    def _begin_epoch(self) -> None:
        """Let all that was on the wire be past: its sequences belong to an epoch that the broker refuses from now on.

        The records of a doubtful batch may have copies in the log then; they carry the same ids.
        """
        self._sequence = 0
        if self.producer is not None:
            self.producer = self.producer.next_epoch()
        if self._batches:
            self._batches[0].data = None

    def _stalled(self, reason: str) -> list[Told]:
        """Tell every record that no answer came: those that may be in the log, and those that wait."""
        told: list[Told] = [
            (
                tuple(batch.records),
                DeliveryReport(DeliveryStatus.STALLED if batch.state is _READY else DeliveryStatus.IN_DOUBT, reason),
            )
            for batch in self._batches
        ]
        if self.waiting:
            told.append((tuple(self.waiting), DeliveryReport(DeliveryStatus.STALLED, reason)))
        return told

    def give_up(self) -> tuple[list[Record], list[Told]]:
        """Return all records, in order, of a partition that is no more; and what is to be told of those in doubt."""
        told = self._end_epoch(self.in_flight, "unknown_topic_or_partition") if self.doubtful else []
        return self._clear(), told

    def _clear(self) -> list[Record]:
        records = [*(record for batch in self._batches for record in batch.records), *self.waiting]
        self._batches.clear()
        self.waiting.clear()
        return records

    def withdraw(self, wanted: set[Record]) -> set[Record]:
        """Take back those of `wanted` that are certainly not sent; return them."""
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
