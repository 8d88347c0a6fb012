"""A produce request is byte for byte what aiokafka would have written, and its answer what aiokafka reads."""

from typing import Any

import pytest
from aiokafka.partitioner import murmur2 as aiokafkas_murmur2
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.kafka.produce_protocol import CODECS, Produce, ProducerId, encode_batch, murmur2
from aurora_bridge.kafka.record import Record
from tests.kafka.records import make_record

VERSIONS = {0: (0, 12)}
"""The versions of produce requests that a broker offers."""
ACKS_ALL = -1
TIMEOUT_MS = 2500
INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(0, 2**31 - 1)
INT64 = st.integers(-1, 2**63 - 1)
TOPICS = st.dictionaries(
    st.from_regex(r"[a-zA-Z0-9._-]{1,40}", fullmatch=True),
    st.lists(st.tuples(INT32, st.binary(max_size=64)), min_size=1, max_size=3),
    max_size=3,
)

# Produce requests


def prepared(batches: dict[str, list[tuple[int, bytes]]]) -> Any:  # noqa: ANN401 - aiokafka's struct
    return Produce(batches, TIMEOUT_MS).prepare(VERSIONS)


@pytest.mark.proves("a 2xx means stored")
@given(TOPICS)
def test_a_produce_request_is_what_aiokafka_would_have_written(topics: dict[str, list[tuple[int, bytes]]]) -> None:
    theirs = ProduceRequest_v7(None, ACKS_ALL, TIMEOUT_MS, list(topics.items()))
    assert theirs.encode() == prepared(topics).encode()


@given(TOPICS)
def test_aiokafka_reads_it_again(topics: dict[str, list[tuple[int, bytes]]]) -> None:
    request: Any = ProduceRequest_v7.decode(prepared(topics).encode())
    assert (request.transactional_id, request.required_acks, request.timeout, request.topics) == (
        None,
        ACKS_ALL,
        TIMEOUT_MS,
        list(topics.items()),
    )


def test_its_header_says_produce_version_7() -> None:
    theirs = ProduceRequest_v7(None, ACKS_ALL, TIMEOUT_MS, [])
    expected = theirs.build_request_header(7, "aurora-bridge").encode()
    assert expected == prepared({}).build_request_header(7, "aurora-bridge").encode()


@pytest.mark.parametrize("versions", [{0: (0, 6)}, {0: (8, 12)}])
def test_a_broker_without_version_7_is_told_apart(versions: dict[int, tuple[int, int]]) -> None:
    with pytest.raises(NotImplementedError):
        Produce({}, TIMEOUT_MS).prepare(versions)


def test_its_repr_shows_no_payload() -> None:
    assert "canary" not in repr(prepared({"t": [(0, b"canary")]}))


# Produce answers


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=40),
        st.lists(st.tuples(INT32, INT16, INT64, INT64, INT64), max_size=3),
        max_size=3,
    ),
    INT32,
)
def test_an_answer_written_by_aiokafka_is_read(
    topics: dict[str, list[tuple[int, int, int, int, int]]], throttle_ms: int
) -> None:
    answer = ProduceResponse_v7(list(topics.items()), throttle_ms).encode()
    response_type: Any = prepared({}).RESPONSE_TYPE
    expected = [
        (topic, partition, error, offset) for topic, parts in topics.items() for partition, error, offset, _, _ in parts
    ]
    assert expected == response_type.decode(answer).parts


def test_the_answers_header_is_aiokafkas() -> None:
    theirs = ProduceRequest_v7(None, ACKS_ALL, TIMEOUT_MS, [])
    correlation_id = b"\x00\x00\x00\x2a"
    assert theirs.parse_response_header(correlation_id) == prepared({}).parse_response_header(correlation_id)


# Batches


def read(batch: bytes) -> Any:  # noqa: ANN401 - aiokafka's reader is compiled
    records = MemoryRecords(batch)
    only = records.next_batch()
    assert not records.has_next()
    assert only is not None
    return only


def records_of(batch: bytes) -> list[tuple[Any, ...]]:
    return [(found.offset, found.timestamp, found.key, found.value, list(found.headers)) for found in read(batch)]


@pytest.mark.parametrize("compression", [0, 1], ids=["none", "gzip"])
def test_a_batch_holds_the_records_whole_and_in_order(compression: int) -> None:
    records = [make_record(str(number), size=number * 100) for number in range(20)]
    expected = [
        (offset, record.timestamp_ms, record.key, record.value, record.headers) for offset, record in enumerate(records)
    ]
    assert expected == records_of(encode_batch(records, ProducerId(7, 3), 12, compression))


def stamped(timestamp_ms: int, **fields: Any) -> Record:  # noqa: ANN401 - a record's
    record = Record(**fields)
    record.timestamp_ms = timestamp_ms
    return record


@given(
    st.lists(
        st.builds(
            stamped,
            st.integers(0, 2**42),
            event=st.just("e"),
            key=st.binary(max_size=20),
            value=st.binary(max_size=200),
            headers=st.lists(st.tuples(st.text(max_size=10), st.none() | st.binary(max_size=10)), max_size=3),
            partition_key=st.just(b""),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_records_come_back(records: list[Record]) -> None:
    expected = [
        (offset, record.timestamp_ms, record.key, record.value, record.headers) for offset, record in enumerate(records)
    ]
    assert expected == records_of(encode_batch(records, ProducerId(1, 0), 0, 0))


@given(INT64.filter(lambda number: number >= 0), st.integers(0, 2**15 - 1), INT32)
def test_a_batch_carries_producer_id_epoch_and_first_sequence(producer: int, epoch: int, sequence: int) -> None:
    batch = read(encode_batch([make_record()], ProducerId(producer, epoch), sequence, 0))
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (producer, epoch, sequence)
    assert (batch.magic, batch.is_transactional, batch.is_control_batch) == (2, False, False)
    assert batch.validate_crc()


def test_the_same_records_under_the_same_number_are_the_same_bytes() -> None:
    records = [make_record("a"), make_record("b")]
    first, second = (encode_batch(records, ProducerId(1, 0), 5, 0) for _ in range(2))
    assert first == second


# Partitions


@pytest.mark.parametrize(
    ("text", "hashed"),  # the vectors of Apache Kafka's own UtilsTest
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_that_of_kafkas_own_test_vectors(text: str, hashed: int) -> None:
    assert hashed & 0x7FFFFFFF == murmur2(text.encode())


@given(st.binary(max_size=100))
def test_murmur2_is_that_of_aiokafkas_partitioner(data: bytes) -> None:
    assert aiokafkas_murmur2(data) & 0x7FFFFFFF == murmur2(data)


def test_the_codecs_have_the_numbers_of_the_batch_format() -> None:
    assert CODECS == {
        "none": 0,
        "gzip": DefaultRecordBatch.CODEC_GZIP,
        "snappy": DefaultRecordBatch.CODEC_SNAPPY,
        "lz4": DefaultRecordBatch.CODEC_LZ4,
        "zstd": DefaultRecordBatch.CODEC_ZSTD,
    }
