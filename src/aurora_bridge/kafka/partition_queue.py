"""One partition's queue: what waits, what is under way, and the numbering that makes a second copy impossible.

At most one batch of a partition is under way (`head`). A head in doubt stays the head and goes out again byte for byte;
the sequence moves on with an acknowledgement only (KIP-98). `sender` decides when; `ANSWERS` says what Kafka's error
codes mean (https://kafka.apache.org/protocol#protocol_error_codes).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import DeliveryReport, DeliveryStatus
from aurora_bridge.kafka.wire import ProducerId, encode_batch

MAX_BATCH_BYTES = 512 * 1024
"""Values and keys of one batch: half of the broker's default `message.max.bytes`."""
_SEQUENCE_LIMIT = 2**31
_MOST_RUNS = 1000
"""Of offsets that are ours, between two looks of the follower. What is beyond is read from Kafka like another's."""
_ACKNOWLEDGED = DeliveryStatus.ACKNOWLEDGED  # in Python 3.11 each look-up of a member of an enumeration is a call


class Answer(Enum):
    """What an error code means for the batch that got it."""

    STORED = auto()
    RETRY = auto()
    """Not stored, since it is said before anything is appended: send it again."""
    RETRY_ELSEWHERE = auto()
    """Possibly stored: a broker that lost leadership says so of what it had appended, too. Ask for new metadata, and
    send it again."""
    RETRY_IN_DOUBT = auto()
    """Possibly stored: send it again; meanwhile its topic gets a backlog, so that nobody waits for the answer."""
    RENUMBER = auto()
    """The broker does not know the sequence: take a new producer id."""
    SPLIT = auto()
    """A record of the batch is at fault, which one is unknown."""
    REFUSED = auto()
    """The topic is refused to us."""


WRITE_DENIED = "topic_authorization_failed"
ANSWERS = {
    0: (Answer.STORED, "none"),
    46: (Answer.STORED, "duplicate_sequence_number"),
    -1: (Answer.RETRY_IN_DOUBT, "unknown_server_error"),
    2: (Answer.RETRY, "corrupt_message"),
    3: (Answer.RETRY_ELSEWHERE, "unknown_topic_or_partition"),
    5: (Answer.RETRY_ELSEWHERE, "leader_not_available"),
    6: (Answer.RETRY_ELSEWHERE, "not_leader_or_follower"),
    7: (Answer.RETRY_IN_DOUBT, "request_timed_out"),
    9: (Answer.RETRY_ELSEWHERE, "replica_not_available"),
    13: (Answer.RETRY_IN_DOUBT, "network_exception"),
    19: (Answer.RETRY, "not_enough_replicas"),
    20: (Answer.RETRY_IN_DOUBT, "not_enough_replicas_after_append"),
    56: (Answer.RETRY_ELSEWHERE, "kafka_storage_error"),
    74: (Answer.RETRY_ELSEWHERE, "fenced_leader_epoch"),
    75: (Answer.RETRY_ELSEWHERE, "unknown_leader_epoch"),
    89: (Answer.RETRY, "throttling_quota_exceeded"),
    100: (Answer.RETRY_ELSEWHERE, "unknown_topic_id"),
    45: (Answer.RENUMBER, "out_of_order_sequence_number"),
    47: (Answer.RENUMBER, "invalid_producer_epoch"),
    59: (Answer.RENUMBER, "unknown_producer_id"),
    10: (Answer.SPLIT, "message_too_large"),
    18: (Answer.SPLIT, "record_list_too_large"),
    32: (Answer.SPLIT, "invalid_timestamp"),
    87: (Answer.SPLIT, "invalid_record"),
    17: (Answer.REFUSED, "invalid_topic"),
    29: (Answer.REFUSED, WRITE_DENIED),
    31: (Answer.REFUSED, "cluster_authorization_failed"),
    44: (Answer.REFUSED, "policy_violation"),
}
UNKNOWN_ANSWER = (Answer.RETRY_IN_DOUBT, "other_kafka_error")
BROKER_AWAY = "broker_away"
CONNECTION_LOST = "connection_lost"
ERROR_REASONS = tuple(
    sorted({reason for _, reason in ANSWERS.values()} - {"none"} | {UNKNOWN_ANSWER[1], BROKER_AWAY, CONNECTION_LOST})
)


Listener = Callable[[Sequence[Record], DeliveryReport], None]
"""`SenderListener.on_delivery`."""


@dataclass(slots=True, eq=False)
class Batch:
    """Records encoded under one producer id and sequence."""

    records: list[Record]
    data: bytes
    producer: ProducerId
    in_doubt: bool = False
    """Sent at least once without an answer: it may be in the log."""


class Lane:
    """The queue of one partition."""

    __slots__ = (
        "_limit",
        "_listener",
        "_sequence",
        "_stored",
        "head",
        "leader",
        "partition",
        "producer",
        "retry_at",
        "topic",
        "under_way",
        "waiting",
    )

    def __init__(self, topic: str, partition: int, listener: Listener) -> None:
        self.topic = topic
        self.partition = partition
        self._listener = listener
        self.leader: int | None = None
        """Node of the broker that leads it, as far as we know."""
        self.waiting: deque[Record] = deque()
        self.head: Batch | None = None
        self.under_way = False
        self.producer: ProducerId | None = None
        self.retry_at = 0.0
        """Monotonic time before which nothing is sent: set after a "not now"."""
        self._sequence = 0
        self._limit: int | None = None
        self._stored = [[0, 0]]
        """Where our records lie: runs of offsets, each with its first and the one behind its last."""

    def __bool__(self) -> bool:
        return self.head is not None or bool(self.waiting)

    def load(self, producer: ProducerId, compression: int) -> bytes:
        """Return the bytes to send now: those of the head, made from what waits if there is none.

        `producer` is the newest id; a partition that has one keeps it, so that its sequence goes on.
        """
        head = self.head
        if head is None:
            if self.producer is None:
                self.producer = producer
            records = self._take()
            data = encode_batch(records, self.producer, self._sequence, compression)
            self.head = head = Batch(records, data, self.producer)
        return head.data

    def _take(self) -> list[Record]:
        waiting, limit, size = self.waiting, self._limit or len(self.waiting), 0
        records: list[Record] = []
        while waiting and len(records) < limit:
            size += len(waiting[0].value) + len(waiting[0].key)
            if records and size > MAX_BATCH_BYTES:
                break
            records.append(waiting.popleft())
        return records

    def acknowledge(self, offset: int) -> None:
        """End the head: it is stored, its first record at `offset` (-1 where Kafka does not say)."""
        head = self._finish()
        self._advance(head)
        end = offset + len(head.records)
        run = self._stored[-1]
        if run[1] == offset:
            run[1] = end
        elif offset >= 0 and len(self._stored) < _MOST_RUNS:
            self._stored.append([offset, end])
        self._listener(head.records, DeliveryReport(_ACKNOWLEDGED, "", offset))

    def take_stored(self) -> list[list[int]]:
        """Return where records of ours were stored since the last call: runs of offsets, the end behind the last."""
        taken, end = self._stored, self._stored[-1][1]
        self._stored = [[end, end]]
        return [run for run in taken if run[0] < run[1]]

    def refuse(self, reason: str) -> None:
        """End the head and all that waits: the topic is refused, and what is behind must not get ahead.

        A refused batch used no sequence. One that was in doubt before may have: then its numbers are left out, for
        another batch under them could be taken for a copy; if they are free after all, Kafka says so, and `renumber`
        follows.
        """
        head = self._finish()
        if head.in_doubt:
            self._advance(head)
        records = [*head.records, *self.waiting]
        self.waiting.clear()
        self._listener(records, DeliveryReport(DeliveryStatus.TOPIC_REFUSED, reason))

    def split(self, reason: str) -> None:
        """Find the record at fault: the batch comes again in halves; alone, it is the one."""
        head = self._finish()
        if head.in_doubt:
            self._advance(head)
        if len(head.records) == 1:
            self._listener(head.records, DeliveryReport(DeliveryStatus.RECORD_REFUSED, reason))
            return
        self.waiting.extendleft(reversed(head.records))
        self._limit = len(head.records) // 2

    def renumber(self, producer: ProducerId, compression: int) -> None:
        """Start a new sequence: the head comes again under `producer`. Its copies, if any, carry the same ids."""
        self.producer, self._sequence = producer, 0
        if self.head is not None:
            self.head.producer = producer
            self.head.data = encode_batch(self.head.records, producer, 0, compression)

    def in_doubt(self, *, sent: bool) -> None:
        """Note whether the head was sent, without an answer."""
        if self.head is not None and sent:
            self.head.in_doubt = True

    def stall(self, reason: str) -> None:
        """Tell every record that no answer came: those that may be in the log, and those that wait."""
        head = self.head
        waiting = tuple(self.waiting)
        if head is not None:
            status = DeliveryStatus.IN_DOUBT if head.in_doubt else DeliveryStatus.STALLED
            self._listener(tuple(head.records), DeliveryReport(status, reason))
        if waiting:
            self._listener(waiting, DeliveryReport(DeliveryStatus.STALLED, reason))

    def abandon(self) -> list[Record]:
        """Give up this partition, which is no more; return what it held, in order."""
        records = [*(self.head.records if self.head else ()), *self.waiting]
        self.head = None
        self.waiting.clear()
        return records

    def withdraw(self, records: set[Record]) -> set[Record]:
        """Take back those of `records` that are certainly not sent; return them."""
        head = self.head
        if head is not None and not head.in_doubt and not self.under_way and not records.isdisjoint(head.records):
            self.waiting.extendleft(reversed(head.records))
            self.head = None
        taken = records.intersection(self.waiting)
        if taken:
            self.waiting = deque(record for record in self.waiting if record not in taken)
        return taken

    def _advance(self, batch: Batch) -> None:
        self._sequence = (self._sequence + len(batch.records)) % _SEQUENCE_LIMIT

    def _finish(self) -> Batch:
        head, self.head = self.head, None
        if head is None:
            msg = f"{self.topic}-{self.partition}: an answer without a batch"
            raise RuntimeError(msg)
        self._limit = None
        return head
