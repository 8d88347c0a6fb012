"""The queue of one partition: what is numbered how, what goes out again, and what may be taken back."""

from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka.batch import State
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.error_actions import Action
from aurora_bridge.kafka.partition_queue import (
    MAX_BATCH_BYTES,
    SUSPECT_ATTEMPTS,
    SUSPECT_SECONDS,
    UNCLEAR_SECONDS,
    PartitionQueue,
)
from aurora_bridge.kafka.produce_protocol import NOT_IDEMPOTENT, ProducerId
from aurora_bridge.kafka.record import Record
from aurora_bridge.metrics import Metrics
from tests.kafka.records import keys, make_record

FIRST_ID, SECOND_ID = ProducerId(11, 0), ProducerId(12, 0)
NEXT_EPOCH = ProducerId(11, 1)


class Told:
    """A queue, and what its records were told."""

    def __init__(self, *names: str, size: int = 0) -> None:
        self.queue = PartitionQueue("topic", 2)
        self.told: list[tuple[str, DeliveryStatus, int]] = []
        self.records: dict[str, Record] = {}
        self.now = 1000.0
        self.add(*names, size=size)

    def add(self, *names: str, size: int = 0) -> None:
        for name in names:
            self.records[name] = record = make_record(name, size=size)
            self.queue.waiting.append(record)

    def send(self, producer: ProducerId = FIRST_ID) -> bytes:
        """Take the bytes that go out now; their answer is awaited."""
        data = self.queue.load(producer, 0)
        self.queue.sent()
        return data

    def answer(self, action: Action, reason: str = "", offset: int = -1) -> None:
        for records, report in self.queue.apply(action, reason, self.now, offset):
            for index, record in enumerate(records):
                at = report.offset + index if report.offset >= 0 else -1
                self.told.append((record.key.decode(), report.status, at))

    def acknowledge(self, offset: int = -1) -> None:
        self.answer(Action.ACKNOWLEDGE, offset=offset)

    def doubt(self) -> bytes:
        """Send, and lose the answer; return what was sent."""
        data = self.send()
        self.answer(Action.RETRY_DOUBTFUL)
        return data

    def withdraw(self, *names: str) -> list[str]:
        return sorted(keys(self.queue.withdraw({self.records[name] for name in names})))

    def ends(self) -> list[tuple[str, DeliveryStatus]]:
        return [(name, end) for name, end, _ in self.told]


def numbering(data: bytes) -> tuple[ProducerId, int, list[str]]:
    """Return a batch's producer id and epoch, its first sequence, and its records' keys."""
    batch: Any = MemoryRecords(data).next_batch()
    return (
        ProducerId(batch.producer_id, batch.producer_epoch),
        batch.base_sequence,
        [record.key.decode() for record in batch],
    )


# The sequence


def test_a_batch_takes_all_that_waits() -> None:
    told = Told("a", "b", "c")
    assert numbering(told.send()) == (FIRST_ID, 0, ["a", "b", "c"])
    assert not told.queue.waiting


def test_the_sequence_moves_on_with_the_acknowledgement() -> None:
    told = Told("a", "b")
    told.send()
    told.acknowledge(40)
    told.add("c")
    assert numbering(told.send()) == (FIRST_ID, 2, ["c"])
    assert told.told == [("a", DeliveryStatus.ACKNOWLEDGED, 40), ("b", DeliveryStatus.ACKNOWLEDGED, 41)]


def test_a_copy_that_kafka_recognised_has_no_offset_and_moves_the_sequence_on() -> None:
    told = Told("a", "b")
    told.send()
    told.acknowledge()
    told.add("c")
    assert numbering(told.send())[1] == 2
    assert told.told == [("a", DeliveryStatus.ACKNOWLEDGED, -1), ("b", DeliveryStatus.ACKNOWLEDGED, -1)]


def test_the_sequence_begins_again_after_its_largest_number() -> None:
    told = Told("a", "b")
    told.queue._sequence = 2**31 - 1  # noqa: SLF001 - two thousand million records earlier
    assert numbering(told.send())[1] == 2**31 - 1
    told.acknowledge()
    told.add("c")
    assert numbering(told.send())[1] == 1


def test_a_partition_keeps_its_producer_id_when_there_is_a_newer_one() -> None:
    told = Told("a")
    told.send(FIRST_ID)
    told.acknowledge()
    told.add("b")
    assert numbering(told.send(SECOND_ID)) == (FIRST_ID, 1, ["b"])


def test_without_idempotence_nothing_is_numbered() -> None:
    told = Told("a")
    for name in ("a", "b"):
        assert numbering(told.send(NOT_IDEMPOTENT)) == (NOT_IDEMPOTENT, -1, [name])
        told.acknowledge()
        told.add("b")


# Where records lie


def test_where_records_lie_is_told_once_in_runs_without_a_gap() -> None:
    told = Told()
    for offset in (0, 2, 7, -1, 9):
        told.add("a", "b")
        told.send()
        told.acknowledge(offset)
    assert told.queue.stored.take() == [[0, 4], [7, 11]]
    assert told.queue.stored.take() == []
    told.add("c")
    told.send()
    told.acknowledge(11)
    assert told.queue.stored.take() == [[11, 12]]


def test_of_very_many_runs_those_that_are_remembered_are_bounded() -> None:
    told = Told()
    for offset in range(1, 5000, 2):
        told.add("a")
        told.send()
        told.acknowledge(offset)
    assert told.queue.stored.take() == [[offset, offset + 1] for offset in range(1, 1999, 2)]


# The batch in flight


@pytest.mark.parametrize(
    ("action", "first", "again"),
    [
        (Action.RETRY, State.READY, State.DOUBTFUL),
        (Action.STALL, State.READY, State.DOUBTFUL),
        (Action.RETRY_DOUBTFUL, State.DOUBTFUL, State.DOUBTFUL),
        (Action.STALL_DOUBTFUL, State.DOUBTFUL, State.DOUBTFUL),
        (Action.SUSPECT, State.DOUBTFUL, State.DOUBTFUL),
        (Action.NEW_EPOCH, State.READY, State.DOUBTFUL),
    ],
)
def test_a_batch_that_was_once_in_doubt_stays_so(action: Action, first: State, again: State) -> None:
    """What an answer says holds for the copy that it answers: too few replicas, say, is found before a copy is."""
    told = Told("a")
    told.send()
    states = [told.queue.state]
    told.answer(action)
    states.append(told.queue.state)
    told.send()
    told.answer(Action.STALL_DOUBTFUL)
    told.send()
    states.append(told.queue.state)
    told.answer(action)
    states.append(told.queue.state)
    assert states == [State.SENT, first, State.RESENT, again]


@pytest.mark.proves("a record that is sent again makes no second copy while the process lives")
@pytest.mark.parametrize(
    "action", [Action.RETRY, Action.STALL, Action.RETRY_DOUBTFUL, Action.STALL_DOUBTFUL, Action.SUSPECT]
)
def test_a_batch_without_an_acknowledgement_goes_out_again_byte_for_byte(action: Action) -> None:
    told = Told("a", "b")
    first = told.send()
    told.answer(action)
    told.add("c")
    assert first == told.send()
    assert keys(told.queue.waiting) == ["c"]


def test_what_follows_a_batch_in_doubt_is_numbered_behind_it() -> None:
    told = Told("a", "b")
    told.doubt()
    told.add("c")
    told.send()
    told.acknowledge()
    assert numbering(told.send()) == (FIRST_ID, 2, ["c"])


def test_a_pause_between_two_sends_doubles_up_to_a_bound_and_an_acknowledgement_ends_it() -> None:
    told = Told("a", "b")
    pauses = []
    for _ in range(6):
        told.doubt()
        pauses.append(round(told.queue.retry_at - told.now, 6))
    told.send()
    told.acknowledge()
    told.add("c")
    told.doubt()
    pauses.append(round(told.queue.retry_at - told.now, 6))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.1]


def test_a_stall_tells_the_batch_in_flight_and_all_that_waits() -> None:
    told = Told("a")
    told.send()
    told.add("b")
    told.answer(Action.STALL_DOUBTFUL, "connection_lost")
    assert told.ends() == [("a", DeliveryStatus.IN_DOUBT), ("b", DeliveryStatus.STALLED)]


def test_what_was_never_sent_is_stalled_and_not_in_doubt() -> None:
    told = Told("a")
    told.send()
    told.answer(Action.STALL, "broker_away")
    assert told.ends() == [("a", DeliveryStatus.STALLED)]


def test_a_leader_that_is_looked_for_is_told_to_nobody() -> None:
    told = Told("a")
    told.doubt()
    assert told.told == []


# Taking back


def test_what_waits_can_be_taken_back_and_the_others_keep_their_order() -> None:
    told = Told("a", "b", "c", "d")
    told.records["stranger"] = make_record("stranger")
    assert told.withdraw("b", "d", "stranger") == ["b", "d"]
    assert numbering(told.send())[2] == ["a", "c"]


def test_a_batch_that_was_certainly_not_sent_can_be_taken_back() -> None:
    told = Told("a", "b")
    told.send()
    told.answer(Action.STALL)
    told.add("c")
    assert told.withdraw("a") == ["a"]
    assert numbering(told.send()) == (FIRST_ID, 0, ["b"])


def test_of_a_batch_that_was_taken_back_whole_nothing_is_sent() -> None:
    told = Told("a")
    told.send()
    told.answer(Action.STALL)
    assert told.withdraw("a") == ["a"]
    assert not told.queue


@pytest.mark.parametrize("doubtful", [True, False])
def test_a_batch_under_way_or_in_doubt_cannot_be_taken_back(doubtful: bool) -> None:  # noqa: FBT001
    told = Told("a", "b")
    data = told.send()
    told.add("c")
    if doubtful:
        told.answer(Action.RETRY_DOUBTFUL)
    assert told.withdraw("a", "b", "c") == ["c"]
    assert data == told.queue.load(FIRST_ID, 0)


def test_the_parts_of_a_batch_in_doubt_cannot_be_taken_back_either() -> None:
    told = Told("a", "b")
    told.doubt()
    told.send()
    told.answer(Action.SPLIT)
    assert told.withdraw("a", "b") == []


def test_a_batch_that_nobody_asks_for_stays_as_it_is() -> None:
    told = Told("a")
    data = told.send()
    told.answer(Action.STALL)
    told.add("b")
    told.withdraw("b")
    assert data == told.queue.load(FIRST_ID, 0)


# Refusals


def test_a_refused_batch_used_no_number() -> None:
    told = Told("a")
    told.send()
    told.add("b")
    told.answer(Action.REFUSE, "topic_authorization_failed")
    assert not told.queue
    told.add("c")
    assert numbering(told.send()) == (FIRST_ID, 0, ["c"])
    assert told.ends() == [("a", DeliveryStatus.TOPIC_REFUSED), ("b", DeliveryStatus.TOPIC_REFUSED)]


@pytest.mark.parametrize("action", [Action.REFUSE, Action.SPLIT, Action.NEW_EPOCH])
def test_a_batch_in_doubt_that_is_not_sent_again_as_it_was_leaves_its_number_to_no_other(action: Action) -> None:
    """It may be in the log: another batch under its number would be taken for a copy, and lost."""
    told = Told("a")
    first = numbering(told.doubt())
    told.send()
    told.answer(action)
    told.add("b")
    assert numbering(told.send(SECOND_ID))[:2] == (NEXT_EPOCH, 0)
    assert first[:2] == (FIRST_ID, 0)


def test_the_record_at_fault_is_found_by_halves_and_the_others_keep_their_order() -> None:
    names = [f"{number:02}" for number in range(20)]
    told = Told(*names)
    arrived: list[str] = []
    while told.queue:
        _, sequence, batch = numbering(told.send())
        if "07" in batch:
            told.answer(Action.SPLIT, "message_too_large")
        else:
            assert sequence == len(arrived)
            arrived += batch
            told.acknowledge()
    assert arrived == [name for name in names if name != "07"]
    assert [end for end in told.ends() if end[1] is not DeliveryStatus.ACKNOWLEDGED] == [
        ("07", DeliveryStatus.RECORD_REFUSED)
    ]
    assert told.queue.producer == FIRST_ID


def test_all_records_can_be_at_fault() -> None:
    told = Told("a", "b", "c")
    while told.queue:
        told.send()
        told.answer(Action.SPLIT)
    assert told.ends() == [(name, DeliveryStatus.RECORD_REFUSED) for name in "abc"]


def test_a_record_that_gets_no_clear_answer_is_found_by_halves_and_holds_nobody_up_for_ever() -> None:
    told = Told("a", "b", "c", "d")
    arrived: list[str] = []
    while told.queue:
        batch = numbering(told.send())[2]
        told.now = max(told.now, told.queue.retry_at)
        if "b" in batch:
            told.answer(Action.SUSPECT, "unknown_server_error")
        else:
            arrived += batch
            told.acknowledge()
    assert arrived == ["a", "c", "d"]
    assert [end for end in told.ends() if end[1] is DeliveryStatus.RECORD_REFUSED] == [
        ("b", DeliveryStatus.RECORD_REFUSED)
    ]


@pytest.mark.parametrize(("others", "patience"), [(True, SUSPECT_SECONDS), (False, UNCLEAR_SECONDS)])
def test_a_single_record_is_not_taken_for_the_culprit_while_its_broker_may_have_a_bad_moment(
    others: bool,  # noqa: FBT001
    patience: float,
) -> None:
    """A broker that answers everything so has one; one that acknowledges others meanwhile has none."""
    told = Told("a")
    told.queue.broker = broker = Broker(1, Metrics())
    for _ in range(2 * SUSPECT_ATTEMPTS):
        told.send()
        told.answer(Action.SUSPECT)
    broker.acknowledged_at = told.now + 1.0 if others else told.now - 1.0
    told.now += patience - 0.1
    told.send()
    told.answer(Action.SUSPECT)
    assert {end for _, end in told.ends()} == {DeliveryStatus.IN_DOUBT}
    told.send()
    told.now += 0.1
    told.answer(Action.SUSPECT)
    assert told.ends()[-1] == ("a", DeliveryStatus.RECORD_REFUSED)


def test_attempts_that_blame_nothing_are_counted_in_a_row() -> None:
    told = Told("a", "b")
    for _ in range(2 * SUSPECT_ATTEMPTS):
        told.send()
        told.answer(Action.SUSPECT)
        told.send()
        told.answer(Action.RETRY_DOUBTFUL)
    assert numbering(told.send())[2] == ["a", "b"]


def test_another_response_begins_the_time_of_a_suspicion_again() -> None:
    told = Told("a")
    told.queue.broker = broker = Broker(1, Metrics())
    told.send()
    told.answer(Action.SUSPECT)
    told.now += SUSPECT_SECONDS
    told.send()
    told.answer(Action.RETRY_DOUBTFUL)
    broker.acknowledged_at = told.now
    told.now += 0.1
    for _ in range(SUSPECT_ATTEMPTS):
        told.send()
        told.answer(Action.SUSPECT)
    assert {end for _, end in told.ends()} == {DeliveryStatus.IN_DOUBT}


def test_what_cannot_be_encoded_never_was_on_the_wire() -> None:
    told = Told("a")
    told.records["a"].headers.append(("name", "text"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        told.queue.load(FIRST_ID, 0)
    told.records["a"].headers.pop()
    told.answer(Action.SUSPECT)
    assert told.ends() == [("a", DeliveryStatus.STALLED)]
    assert told.withdraw("a") == ["a"]


def test_a_batch_is_bounded_in_bytes_and_a_large_record_goes_alone() -> None:
    told = Told("a", "b", size=MAX_BATCH_BYTES // 2)
    told.add("c", size=2 * MAX_BATCH_BYTES)
    batches = []
    while told.queue:
        batches.append(numbering(told.send())[2])
        told.acknowledge()
    assert batches == [["a"], ["b"], ["c"]]


def test_on_a_slow_line_batches_are_smaller() -> None:
    told = Told("a", "b", "c", size=1000)
    assert numbering(told.queue.load(FIRST_ID, 0, 3000))[2] == ["a", "b"]


def test_a_batch_that_was_never_on_the_wire_is_recreated_where_less_fits() -> None:
    told = Told("a", "b", "c", size=1000)
    assert numbering(told.queue.load(FIRST_ID, 0))[2] == ["a", "b", "c"]
    told.add("d", size=1000)
    assert numbering(told.queue.load(FIRST_ID, 0, 3000)) == (FIRST_ID, 0, ["a", "b"])
    data = told.doubt()
    assert told.queue.load(FIRST_ID, 0, 100) == data


# Epochs


def test_under_a_new_epoch_the_batch_comes_again_from_zero() -> None:
    told = Told("a")
    told.send()
    told.acknowledge()
    told.add("b", "c")
    assert numbering(told.send()) == (FIRST_ID, 1, ["b", "c"])
    told.answer(Action.NEW_EPOCH)
    assert numbering(told.send(SECOND_ID)) == (NEXT_EPOCH, 0, ["b", "c"])
    told.acknowledge()
    told.add("d")
    assert numbering(told.send(SECOND_ID)) == (NEXT_EPOCH, 2, ["d"])


def test_when_a_producer_id_has_no_epoch_left_another_id_is_taken() -> None:
    told = Told("a")
    told.queue.producer = ProducerId(11, 2**15 - 2)
    told.send()
    told.answer(Action.NEW_EPOCH)
    assert numbering(told.send(SECOND_ID)) == (SECOND_ID, 0, ["a"])


def test_a_partition_that_is_no_more_gives_everything_back_in_order() -> None:
    told = Told("a", "b")
    told.doubt()
    told.add("c")
    records, reports = told.queue.give_up()
    assert keys(records) == ["a", "b", "c"]
    assert [(keys(doubtful), report.status) for doubtful, report in reports] == [(["a", "b"], DeliveryStatus.IN_DOUBT)]
    assert not told.queue
    told.add("d")
    assert numbering(told.send())[:2] == (NEXT_EPOCH, 0)
