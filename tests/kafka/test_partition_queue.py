"""The queue of one partition: what is numbered how, what goes out again, and what may be taken back."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import KafkaError

from aurora_bridge.kafka.partition_queue import (
    ANSWERS,
    ERROR_REASONS,
    MAX_BATCH_BYTES,
    UNKNOWN_ANSWER,
    Answer,
    Lane,
    Listener,
)
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import DeliveryReport, DeliveryStatus
from aurora_bridge.kafka.wire import ProducerId
from tests.kafka.records import keys, make_record

FIRST_ID, SECOND_ID = ProducerId(11, 0), ProducerId(12, 0)


class Told:
    """A lane, and what its records were told."""

    def __init__(self, *names: str, size: int = 0) -> None:
        self.lane = Lane("topic", 2, self._hear)
        self.listener: Listener = self._listen
        self.told: list[tuple[str, DeliveryStatus, int]] = []
        self.records: dict[str, Record] = {}
        self.add(*names, size=size)

    def add(self, *names: str, size: int = 0) -> None:
        for name in names:
            self.records[name] = record = make_record(name, size=size)
            self.lane.waiting.append(record)

    def send(self, producer: ProducerId = FIRST_ID) -> bytes:
        """Take the bytes that go out now; the request is under way."""
        data = self.lane.load(producer, 0)
        self.lane.under_way = True
        return data

    def answered(self) -> Lane:
        """Return the lane, its request being over."""
        self.lane.under_way = False
        return self.lane

    def ends(self) -> list[tuple[str, DeliveryStatus]]:
        return [(name, end) for name, end, _ in self.told]

    def _hear(self, records: Sequence[Record], report: DeliveryReport) -> None:
        self.listener(records, report)

    def _listen(self, records: Sequence[Record], report: DeliveryReport) -> None:
        for index, record in enumerate(records):
            offset = report.offset + index if report.offset >= 0 else -1
            self.told.append((record.key.decode(), report.status, offset))


def numbering(data: bytes) -> tuple[int, int, list[str]]:
    """Return a batch's producer id, its first sequence, and its records' keys."""
    batch: Any = MemoryRecords(data).next_batch()
    return batch.producer_id, batch.base_sequence, [record.key.decode() for record in batch]


# Numbers


def test_a_batch_takes_all_that_waits() -> None:
    told = Told("a", "b", "c")
    assert numbering(told.send()) == (11, 0, ["a", "b", "c"])
    assert not told.lane.waiting


def test_the_sequence_moves_on_with_the_acknowledgement() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().acknowledge(40)
    told.add("c")
    assert numbering(told.send()) == (11, 2, ["c"])
    assert told.told == [("a", DeliveryStatus.ACKNOWLEDGED, 40), ("b", DeliveryStatus.ACKNOWLEDGED, 41)]


def test_a_copy_that_kafka_recognised_has_no_offset_and_moves_the_sequence_on() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().acknowledge(-1)
    told.add("c")
    assert numbering(told.send())[1] == 2
    assert told.told == [("a", DeliveryStatus.ACKNOWLEDGED, -1), ("b", DeliveryStatus.ACKNOWLEDGED, -1)]


def test_where_records_lie_is_told_once_in_runs_without_a_gap() -> None:
    told = Told()
    for offset in (0, 2, 7, -1, 9):
        told.add("a", "b")
        told.send()
        told.answered().acknowledge(offset)
    assert told.lane.take_stored() == [[0, 4], [7, 11]]
    assert told.lane.take_stored() == []
    told.add("c")
    told.send()
    told.answered().acknowledge(11)
    assert told.lane.take_stored() == [[11, 12]]


def test_of_very_many_runs_those_that_are_remembered_are_bounded() -> None:
    told = Told()
    for offset in range(1, 5000, 2):
        told.add("a")
        told.send()
        told.answered().acknowledge(offset)
    assert told.lane.take_stored() == [[offset, offset + 1] for offset in range(1, 1999, 2)]


def test_the_sequence_begins_again_after_its_largest_number() -> None:
    told = Told("a", "b")
    told.lane._sequence = 2**31 - 1  # noqa: SLF001 - two thousand million records earlier
    assert numbering(told.send())[1] == 2**31 - 1
    told.answered().acknowledge(0)
    told.add("c")
    assert numbering(told.send())[1] == 1


def test_a_partition_keeps_its_producer_id_when_there_is_a_newer_one() -> None:
    told = Told("a")
    told.send(FIRST_ID)
    told.answered().acknowledge(0)
    told.add("b")
    assert numbering(told.send(SECOND_ID)) == (11, 1, ["b"])


# The head


@pytest.mark.parametrize("sent", [True, False])
def test_a_head_without_an_answer_goes_out_again_byte_for_byte(sent: bool) -> None:  # noqa: FBT001
    told = Told("a", "b")
    first = told.send()
    told.answered().in_doubt(sent=sent)
    told.add("c")
    assert first == told.send()
    assert keys(told.lane.waiting) == ["c"]


def test_what_follows_a_head_in_doubt_is_numbered_behind_it() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().in_doubt(sent=True)
    told.add("c")
    told.send()
    told.answered().acknowledge(-1)
    assert numbering(told.send()) == (11, 2, ["c"])


def test_once_in_doubt_a_head_stays_so_although_its_broker_is_found_away_later() -> None:
    told = Told("a")
    told.send()
    told.answered().in_doubt(sent=True)
    told.lane.in_doubt(sent=False)
    told.lane.stall("broker_away")
    assert told.ends() == [("a", DeliveryStatus.IN_DOUBT)]


def test_a_stall_tells_the_head_and_all_that_waits() -> None:
    told = Told("a")
    told.send()
    told.add("b")
    told.answered().in_doubt(sent=True)
    told.lane.stall("connection_lost")
    assert told.ends() == [("a", DeliveryStatus.IN_DOUBT), ("b", DeliveryStatus.STALLED)]


def test_what_was_never_sent_is_stalled_and_not_in_doubt() -> None:
    told = Told("a")
    told.send()
    told.answered().in_doubt(sent=False)
    told.lane.stall("broker_away")
    assert told.ends() == [("a", DeliveryStatus.STALLED)]


def test_a_listener_may_take_records_back_while_it_is_told() -> None:
    told = Told("a")
    told.send()
    told.add("b", "c")
    told.answered()
    taken: list[str] = []

    def take_all(records: Sequence[Record], _result: DeliveryReport) -> None:
        taken.extend(record.key.decode() for record in records)
        told.lane.withdraw(set(told.records.values()))

    told.listener = take_all
    told.lane.stall("broker_away")
    assert (taken, bool(told.lane)) == (["a", "b", "c"], False)


def test_an_answer_without_a_batch_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="topic-2: an answer without a batch"):
        Told().lane.acknowledge(0)


# Taking back


def test_what_waits_can_be_taken_back_and_the_others_keep_their_order() -> None:
    told = Told("a", "b", "c", "d")
    wanted = {told.records["b"], told.records["d"], make_record("stranger")}
    assert {record.key for record in told.lane.withdraw(wanted)} == {b"b", b"d"}
    assert numbering(told.send())[2] == ["a", "c"]


def test_a_head_that_was_certainly_not_sent_can_be_taken_back() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().in_doubt(sent=False)
    told.add("c")
    assert told.lane.withdraw({told.records["a"]}) == {told.records["a"]}
    assert numbering(told.send()) == (11, 0, ["b", "c"])


@pytest.mark.parametrize("in_doubt", [True, False])
def test_a_head_under_way_or_in_doubt_cannot_be_taken_back(in_doubt: bool) -> None:  # noqa: FBT001
    told = Told("a", "b")
    data = told.send()
    told.add("c")
    if in_doubt:
        told.answered().in_doubt(sent=True)
    assert told.lane.withdraw(set(told.records.values())) == {told.records["c"]}
    assert data == told.lane.load(FIRST_ID, 0)


def test_a_head_that_nobody_asks_for_stays_as_it_is() -> None:
    told = Told("a")
    data = told.send()
    told.answered().in_doubt(sent=False)
    told.add("b")
    told.lane.withdraw({told.records["b"]})
    assert data == told.lane.load(FIRST_ID, 0)
    assert told.lane.head is not None


# Refusals


def test_a_refused_head_used_no_number() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().refuse("topic_authorization_failed")
    told.add("c")
    assert numbering(told.send()) == (11, 0, ["c"])
    assert told.ends() == [("a", DeliveryStatus.TOPIC_REFUSED), ("b", DeliveryStatus.TOPIC_REFUSED)]


@pytest.mark.parametrize("end", [Lane.refuse, Lane.split], ids=lambda end: end.__name__)
def test_a_head_in_doubt_that_is_refused_leaves_its_number_to_no_other_batch(end: Callable[[Lane, str], None]) -> None:
    """It may be in the log: a batch of the same size under its number would be taken for a copy, and lost."""
    told = Told("a")
    first = numbering(told.send())
    told.answered().in_doubt(sent=True)
    told.send()
    end(told.answered(), "topic_authorization_failed")
    told.add("b")
    second = numbering(told.send(SECOND_ID))
    assert first[:2] != second[:2]


def test_behind_a_refused_head_nothing_goes_ahead_of_it() -> None:
    told = Told("a")
    told.send()
    told.add("b")
    told.answered().refuse("topic_authorization_failed")
    assert told.ends() == [("a", DeliveryStatus.TOPIC_REFUSED), ("b", DeliveryStatus.TOPIC_REFUSED)]
    assert not told.lane


def test_the_record_at_fault_is_found_by_halves_and_the_others_keep_their_order() -> None:
    names = [f"{number:02}" for number in range(20)]
    told = Told(*names)
    arrived: list[str] = []
    while told.lane:
        _, sequence, batch = numbering(told.send())
        if "07" in batch:
            told.answered().split("message_too_large")
        else:
            assert sequence == len(arrived)
            arrived += batch
            told.answered().acknowledge(sequence)
    assert arrived == [name for name in names if name != "07"]
    assert [end for end in told.ends() if end[1] is not DeliveryStatus.ACKNOWLEDGED] == [
        ("07", DeliveryStatus.RECORD_REFUSED)
    ]


def test_after_the_record_at_fault_batches_are_whole_again() -> None:
    told = Told("a", "b")
    told.send()
    told.answered().split("invalid_record")
    assert numbering(told.send())[2] == ["a"]
    told.answered().split("invalid_record")
    told.add("c", "d")
    assert numbering(told.send())[2] == ["b", "c", "d"]


def test_all_records_can_be_at_fault() -> None:
    told = Told("a", "b", "c")
    while told.lane:
        told.send()
        told.answered().split("invalid_record")
    assert told.ends() == [(name, DeliveryStatus.RECORD_REFUSED) for name in "abc"]


def test_a_batch_is_bounded_in_bytes_and_a_large_record_goes_alone() -> None:
    told = Told("a", "b", size=MAX_BATCH_BYTES // 2)
    told.add("c", size=2 * MAX_BATCH_BYTES)
    batches = []
    while told.lane:
        batches.append(numbering(told.send())[2])
        told.answered().acknowledge(0)
    assert batches == [["a"], ["b"], ["c"]]


# A new producer id


def test_under_a_new_producer_id_the_head_comes_again_from_zero() -> None:
    told = Told("a")
    told.send()
    told.answered().acknowledge(0)
    told.add("b", "c")
    assert numbering(told.send()) == (11, 1, ["b", "c"])
    told.answered().renumber(SECOND_ID, 0)
    assert numbering(told.send(SECOND_ID)) == (12, 0, ["b", "c"])
    told.answered().acknowledge(7)
    told.add("d")
    assert numbering(told.send(SECOND_ID)) == (12, 2, ["d"])


def test_an_idle_partition_can_be_renumbered_too() -> None:
    told = Told("a")
    told.send()
    told.answered().acknowledge(0)
    told.lane.renumber(SECOND_ID, 0)
    told.add("b")
    assert numbering(told.send(SECOND_ID)) == (12, 0, ["b"])


# A partition that is no more


def test_an_abandoned_partition_gives_everything_back_in_order() -> None:
    told = Told("a", "b")
    told.send()
    told.add("c")
    told.answered().in_doubt(sent=True)
    assert keys(told.lane.abandon()) == ["a", "b", "c"]
    assert not told.lane
    assert told.told == []


# Codes


RENAMED = {
    "unknown": "unknown_server_error",
    "invalid_msg": "corrupt_message",
    "unknown_topic_or_part": "unknown_topic_or_partition",
    "not_leader_for_partition": "not_leader_or_follower",
    "msg_size_too_large": "message_too_large",
    "topic_exception": "invalid_topic",
}
"""Kafka's names of errors by librdkafka's, where they differ."""


@pytest.mark.parametrize(("code", "reason"), [(code, reason) for code, (_, reason) in ANSWERS.items() if code > 0])
def test_a_code_is_called_what_kafka_calls_it(code: int, reason: str) -> None:
    name = KafkaError(code).name().lower()
    assert reason == RENAMED.get(name, name)


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (Answer.STORED, {0, 46}),
        (Answer.RETRY, {2, 19, 89}),
        (Answer.RETRY_ELSEWHERE, {3, 5, 6, 9, 56, 74, 75, 100}),
        (Answer.RETRY_IN_DOUBT, {-1, 7, 13, 20}),
        (Answer.RENUMBER, {45, 47, 59}),
        (Answer.SPLIT, {10, 18, 32, 87}),
        (Answer.REFUSED, {17, 29, 31, 44}),
    ],
)
def test_a_code_means_for_the_batch_what_kafkas_documentation_says(answer: Answer, codes: set[int]) -> None:
    assert codes == {code for code, (meaning, _) in ANSWERS.items() if meaning is answer}


def test_a_code_that_nobody_knows_says_nothing_of_whether_the_batch_is_stored() -> None:
    assert UNKNOWN_ANSWER[0] is Answer.RETRY_IN_DOUBT


def test_every_error_has_a_reason_of_its_own_for_the_metric() -> None:
    reasons = [reason for answer, reason in ANSWERS.values() if reason != "none"]
    assert set(ERROR_REASONS) == {*reasons, "other_kafka_error", "broker_away", "connection_lost"}
    assert len(reasons) == len(set(reasons))
