"""What `kafka.wire` leans on below aiokafka's producer: these tests fail when a new version of aiokafka changes it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import GroupLoadInProgressError, IncompatibleBrokerVersion, KafkaConnectionError, NodeNotReadyError
from aiokafka.partitioner import murmur2 as aiokafkas_murmur2
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.wire import Client, Produce, ProducerId, addresses, encode_batch, murmur2, new_producer_id
from tests.kafka.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import create_topics, topic_names

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

# Signatures


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (AIOKafkaClient.__init__, "bootstrap_servers client_id request_timeout_ms metadata_max_age_ms"),
        (AIOKafkaClient._metadata_update, "self cluster_metadata topics"),  # noqa: SLF001 - which ours overrides
        (AIOKafkaClient.bootstrap, "self"),
        (AIOKafkaClient.send, "self node_id request"),
        (AIOKafkaClient.close, "self"),
        (AIOKafkaClient.set_topics, "self topics"),
        (AIOKafkaClient.force_metadata_update, "self"),
        (AIOKafkaClient.get_random_node, "self"),
        (ClusterMetadata.add_listener, "self listener"),
        (ClusterMetadata.remove_listener, "self listener"),
        (ClusterMetadata.partitions_for_topic, "self topic"),
        (ClusterMetadata.leader_for_partition, "self partition"),
        (ClusterMetadata.update_metadata, "self metadata"),
        (ClusterMetadata.failed_update, "self exception"),
        (MetadataRequest.__init__, "self topics allow_auto_topic_creation"),
        (InitProducerIdRequest.__init__, "self transactional_id transaction_timeout_ms"),
        (Request.build, "self request_struct_class"),
        (Request.prepare, "self versions"),
        (RequestStruct.encode, "self"),
        (RequestStruct.build_request_header, "self correlation_id client_id"),
        (DefaultRecordBatchBuilder.append, "self offset timestamp key value headers"),
        (DefaultRecordBatchBuilder.build, "self"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_aiokafka_still_has_the_calls_that_are_used(function: Callable[..., Any], parameters: str) -> None:
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # compiled without a signature; the tests below call it
        return
    assert set() == set(parameters.split()) - set(names)


def test_the_connections_call_that_sees_acks_all_is_made_for_aiokafkas_own_request_only() -> None:
    """`AIOKafkaClient.send` expects no answer to a `ProduceRequest` with acks=0: ours is none, so it always does."""
    assert "isinstance(request, ProduceRequest)" in inspect.getsource(AIOKafkaClient.send)


# Produce requests


def prepared(batches: dict[str, list[tuple[int, bytes]]]) -> Any:  # noqa: ANN401 - aiokafka's struct
    return Produce(batches, TIMEOUT_MS).prepare(VERSIONS)


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


# A real broker


@pytest.fixture
async def client(kafka: KafkaCluster | NamedKafka) -> AsyncIterator[Client]:
    client = Client(bootstrap_servers=kafka.bootstrap, request_timeout_ms=10_000)
    await client.bootstrap()
    yield client
    await client.close()


async def producer_id(client: Client) -> ProducerId:
    """Return a producer id, if need be once a broker that has just started can give one."""
    async with asyncio.timeout(30):
        while True:
            with suppress(GroupLoadInProgressError):
                return await new_producer_id(client)


async def test_each_producer_id_is_a_new_one(client: Client) -> None:
    first, second = await producer_id(client), await producer_id(client)
    assert first.id != second.id
    assert (first.epoch, second.epoch) == (0, 0)


async def test_without_a_broker_there_is_no_producer_id() -> None:
    client = Client(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(NodeNotReadyError):
        await new_producer_id(client)
    await client.close()


async def test_metadata_tells_partitions_and_leaders_of_the_topics_that_were_asked_for(
    kafka: KafkaCluster | NamedKafka, client: Client, prefix: str
) -> None:
    topic = f"{prefix}known"
    await asyncio.to_thread(create_topics, kafka.bootstrap, topic, partitions=3)
    async with asyncio.timeout(30):
        client.set_topics([topic])
        while client.cluster.partitions_for_topic(topic) != {0, 1, 2}:
            assert await client.force_metadata_update()


async def test_each_connection_takes_its_security_anew_and_tells_how_it_went(
    kafka: KafkaCluster | NamedKafka,
) -> None:
    asked = 0

    def security() -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {"security_protocol": "PLAINTEXT"}

    told: list[tuple[str, Exception | None]] = []
    client = Client(
        security=security,
        on_connection=lambda address, error: told.append((address, error)),
        bootstrap_servers=kafka.bootstrap,
        request_timeout_ms=10_000,
    )
    await client.bootstrap()
    node = client.get_random_node()
    assert all(await asyncio.gather(*(client.ready(node) for _ in range(3))))
    assert asked == 2  # to bootstrap, and to the node
    for connection in client._conns.values():  # noqa: SLF001 - as when a broker closes it
        connection.close()
    assert await client.ready(node)
    assert asked == 3
    assert told == [(kafka.bootstrap, None), *[(addresses(client.cluster)[node], None)] * 2]
    await client.close()


async def test_a_broker_that_cannot_be_used_is_told_with_the_error_that_says_why() -> None:
    told: list[tuple[str, Exception | None]] = []
    client = Client(on_connection=lambda address, error: told.append((address, error)), bootstrap_servers="127.0.0.1:1")
    with pytest.raises(KafkaConnectionError) as failed:
        await client.bootstrap()
    ((address, error),) = told
    assert (address, type(error)) == ("127.0.0.1:1", ConnectionRefusedError)
    assert failed.value.__cause__ is error
    await client.close()


async def test_what_is_no_kafka_is_a_broker_that_cannot_be_used() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\x05\0\0\0\x01\0")  # the first answer, cut off within
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = Client(bootstrap_servers=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", request_timeout_ms=1000)
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        await client.close()


async def test_a_broker_that_knows_a_request_in_no_version_of_ours_cannot_be_used_and_that_is_told(
    kafka: KafkaCluster | NamedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library raises NotImplementedError, which ended the daemon."""
    real: Any = AIOKafkaConnection._do_version_lookup  # noqa: SLF001

    async def look_up(connection: AIOKafkaConnection) -> None:
        await real(connection)
        connection._versions[MetadataRequest.API_KEY] = (99, 99)  # noqa: SLF001

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", look_up)
    told: list[Exception | None] = []
    client = Client(on_connection=lambda _, error: told.append(error), bootstrap_servers=kafka.bootstrap)
    with pytest.raises(KafkaConnectionError):
        await client.bootstrap()
    assert [type(error) for error in told] == [IncompatibleBrokerVersion]
    await client.close()


async def test_an_update_without_any_broker_fails_and_says_so() -> None:
    client = Client(bootstrap_servers="127.0.0.1:1")
    assert not await client._metadata_update(client.cluster, ["topic"])  # noqa: SLF001 - what aiokafka's task calls
    await client.close()


@pytest.fixture(scope="module")
def creating(kafka1: KafkaCluster) -> Iterator[KafkaCluster]:
    """A broker that creates the topics that clients ask for."""
    del kafka1  # it says whether a broker can run here
    with KafkaCluster(properties={"auto.create.topics.enable": "true"}) as cluster:
        yield cluster


@pytest.mark.slow
async def test_a_look_at_a_missing_topic_never_creates_it(creating: KafkaCluster, prefix: str) -> None:
    client = Client(bootstrap_servers=creating.bootstrap, request_timeout_ms=10_000)
    await client.bootstrap()
    client.set_topics([f"{prefix}missing"])
    for _ in range(3):
        assert await client.force_metadata_update()
    await client.close()
    theirs = AIOKafkaClient(bootstrap_servers=creating.bootstrap, request_timeout_ms=10_000)
    await theirs.bootstrap()
    theirs.set_topics([f"{prefix}created"])
    async with asyncio.timeout(30):
        while not topic_names(creating.bootstrap, prefix):  # the broker creates topics, if one asks as aiokafka does
            await theirs.force_metadata_update()
    await theirs.close()
    assert topic_names(creating.bootstrap, prefix) == [f"{prefix}created"]


# The end


async def test_a_client_that_is_being_closed_can_be_cancelled() -> None:
    """One of aiokafka's goes on, and so does the sender's loop: the daemon waited for its end until it was killed."""
    ending = asyncio.Event()

    async def keep_metadata() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.sleep(0)

    client = Client(bootstrap_servers="127.0.0.1:1")
    client._sync_task = asyncio.create_task(keep_metadata())  # noqa: SLF001
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.close())
    await ending.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
