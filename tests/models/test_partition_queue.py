"""A partition queue and a broker that may append a batch before it says anything, or nothing.

The broker keeps what Kafka's keeps of a producer (`ProducerStateManager`): its epoch, the sequence that comes next, and
the last five batches. Whatever happens, no acknowledged record is missing, no sequence is used for two contents, and
what was taken back is not in the log.
"""

from collections import deque
from itertools import count
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aurora_bridge.kafka.batch import State
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, NO_ANSWER, NO_CONNECTION, Action
from aurora_bridge.kafka.partition_queue import PartitionQueue, Report
from aurora_bridge.kafka.produce_protocol import ProducerId
from aurora_bridge.kafka.record import Record
from tests.kafka.records import make_record

pytestmark = pytest.mark.proves("a record that is sent again makes no second copy while the process lives")

DUPLICATE, OUT_OF_ORDER, INVALID_EPOCH = 46, 45, 47
BEFORE_APPEND = (10, 17, 18, 19, 29, 31, 32, 43, 44, 45, 47, 59, 76, 87, 89)
"""What Kafka says before it appends anything, as its documentation has it."""
AT_ANY_TIME = (-1, 2, 3, 5, 6, 7, 9, 13, 20, 56, 74, 75, 100, 9999)
"""What it may say after that as well."""


class Log:
    """One partition's leader."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.contents: dict[tuple[ProducerId, int], list[str]] = {}
        """What was appended under each producer id, epoch and first sequence."""
        self._epoch: int | None = None
        self._next = 0
        self._last: deque[tuple[int, int, int]] = deque(maxlen=5)
        """Sequence, count and offset of the last batches."""

    def append(self, data: bytes) -> tuple[int, int]:
        """Take a batch; return an error code, and its offset."""
        batch: Any = MemoryRecords(data).next_batch()
        keys = [record.key.decode() for record in batch]
        epoch, sequence = batch.producer_epoch, batch.base_sequence
        if self._epoch is not None and epoch < self._epoch:
            return INVALID_EPOCH, -1
        if epoch != self._epoch:
            if self._epoch is not None and sequence:
                return OUT_OF_ORDER, -1
            self._last.clear()
        else:
            for first, size, offset in self._last:
                if (first, size) == (sequence, len(keys)):
                    return DUPLICATE, offset
            if sequence != self._next:
                return OUT_OF_ORDER, -1
        self._epoch, self._next = epoch, sequence + len(keys)
        self._last.append((sequence, len(keys), len(self.keys)))
        place = ProducerId(batch.producer_id, epoch), sequence
        assert self.contents.setdefault(place, keys) == keys, "a sequence is used for two contents"
        self.keys += keys
        return 0, len(self.keys) - len(keys)

    def forget(self) -> None:
        """Forget the producer, as after `producer.id.expiration.ms`."""
        self._epoch, self._next = None, 0
        self._last.clear()


class PartitionQueueModel(RuleBasedStateMachine):
    """The queue, its broker, and what became of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PartitionQueue("topic", 0)
        self.log = Log()
        self.now = 0.0
        self._names = (f"{number:04}" for number in count())
        self.known: dict[str, Record] = {}
        self.acknowledged: list[str] = []
        self.withdrawn: set[str] = set()
        self.doubted: set[str] = set()
        self.ended: set[str] = set()

    @rule(size=st.integers(1, 4))
    def submit(self, size: int) -> None:
        for _ in range(size):
            name = next(self._names)
            self.known[name] = make_record(name)
            self.queue.waiting.append(self.known[name])

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        left = sorted(self.known.keys() - self.ended)
        names = data.draw(st.lists(st.sampled_from(left), unique=True)) if left else []
        taken = {record.key.decode() for record in self.queue.withdraw({self.known[name] for name in names})}
        self.withdrawn |= taken
        self.ended |= taken

    @rule(seconds=st.sampled_from([0.0, 2.0, 20.0]), forgets=st.booleans())
    def is_stored(self, seconds: float, *, forgets: bool) -> None:
        self._pass(seconds)
        if forgets and not self.queue.doubtful:  # it takes a day, which nothing stays in doubt for
            self.log.forget()
        self._answer(*self.log.append(self._send()))

    @rule(code=st.sampled_from(BEFORE_APPEND))
    def is_refused(self, code: int) -> None:
        self._send()
        self._answer(code)

    @rule(code=st.sampled_from(AT_ANY_TIME), appends=st.booleans())
    def fails(self, code: int, *, appends: bool) -> None:
        self._pass(2.0)
        data = self._send()
        error = self.log.append(data)[0] if appends else 0
        self._answer(code if error in {0, DUPLICATE} else error)

    @rule(appends=st.booleans())
    def is_lost(self, *, appends: bool) -> None:
        data = self._send()
        if appends:
            self.log.append(data)
        self._hear(*NO_ANSWER)

    @rule()
    def has_no_broker(self) -> None:
        self._send()
        self._hear(*NO_CONNECTION)

    @rule()
    def is_given_up(self) -> None:
        records, told = self.queue.give_up()
        self._tell(told)
        self.queue.waiting.extend(records)

    @invariant()
    def what_is_acknowledged_is_stored(self) -> None:
        assert set(self.acknowledged) <= set(self.log.keys)

    @invariant()
    def nothing_is_under_way_that_was_answered(self) -> None:
        assert not self.queue.under_way
        assert self.queue.state not in {State.SENT, State.RESENT}

    @invariant()
    def what_was_taken_back_is_not_stored(self) -> None:
        assert not (self.withdrawn - self.doubted) & set(self.log.keys)

    @invariant()
    def what_is_acknowledged_is_in_order(self) -> None:
        assert self.acknowledged == sorted(self.acknowledged)

    def teardown(self) -> None:
        """Let Kafka recover: nothing waits for ever."""
        for _ in range(100):
            if self.queue:
                self.is_stored(2.0, forgets=False)
        assert not self.queue
        assert self.known.keys() == self.ended

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def _send(self) -> bytes:
        if not self.queue:
            self.submit(1)
        data = self.queue.load(ProducerId(1, 0), 0)
        self.queue.sent()
        return data

    def _answer(self, code: int, offset: int = -1) -> None:
        self._hear(*ACTIONS.get(code, ANY_OTHER), offset)

    def _hear(self, action: Action, reason: str, offset: int = -1) -> None:
        self._tell(self.queue.apply(action, reason, self.now, offset))

    def _tell(self, told: list[Report]) -> None:
        for records, report in told:
            offset = report.offset
            names = [record.key.decode() for record in records]
            if report.status is DeliveryStatus.ACKNOWLEDGED:
                self.acknowledged += names
                assert offset < 0 or self.log.keys[offset : offset + len(names)] == names
            if report.status is DeliveryStatus.IN_DOUBT:
                self.doubted.update(names)
            if report.status in {DeliveryStatus.RECORD_REFUSED, DeliveryStatus.TOPIC_REFUSED}:
                assert not set(names) & set(self.log.keys) - self.doubted, "refused, but stored"
            if report.status not in {DeliveryStatus.IN_DOUBT, DeliveryStatus.STALLED}:
                self.ended.update(names)


TestPartitionQueue = pytest.mark.slow(PartitionQueueModel.TestCase)
TestPartitionQueue.settings = settings(max_examples=5 * settings().max_examples, stateful_step_count=25)
