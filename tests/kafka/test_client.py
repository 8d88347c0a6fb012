"""The client, and what it leans on: these tests fail when a new version of aiokafka changes it."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import GroupLoadInProgressError, IncompatibleBrokerVersion, KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from aurora_bridge.kafka.client import Client, addresses, make_client, new_producer_id
from aurora_bridge.kafka.produce_protocol import ProducerId
from aurora_bridge.settings import KafkaSettings
from tests.kafka.sending import connections_of
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import create_topics, topic_names

# Signatures


@pytest.mark.proves("a new aiokafka or aiohttp that changes what is used of it is noticed")
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


async def test_each_connection_reloads_its_security_and_tells_how_it_went(
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
    for connection in connections_of(client):
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
    real: Any = AIOKafkaConnection._do_version_lookup  # noqa: SLF001 - aiokafka's

    async def look_up(connection: AIOKafkaConnection) -> None:
        await real(connection)
        connection._versions[MetadataRequest.API_KEY] = (99, 99)  # noqa: SLF001 - aiokafka's

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


async def test_metadata_that_no_broker_gives_is_an_error(kafka: NamedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(bootstrap_servers=kafka.bootstrap, request_timeout_ms=10_000)
    await client.bootstrap()
    client.set_topics(["topic"])
    await client.refresh()
    monkeypatch.setattr(client, "get_random_node", lambda: None)
    with pytest.raises(KafkaConnectionError, match="metadata request"):
        await client.refresh()
    await client.close()


@pytest.mark.proves("a deleted topic is not created again")
async def test_a_look_at_a_missing_topic_never_creates_it(kafka_creating: KafkaCluster, prefix: str) -> None:
    client = Client(bootstrap_servers=kafka_creating.bootstrap, request_timeout_ms=10_000)
    await client.bootstrap()
    client.set_topics([f"{prefix}missing"])
    for _ in range(3):
        assert await client.force_metadata_update()
    await client.close()
    theirs = AIOKafkaClient(bootstrap_servers=kafka_creating.bootstrap, request_timeout_ms=10_000)
    await theirs.bootstrap()
    theirs.set_topics([f"{prefix}created"])
    async with asyncio.timeout(30):
        while not topic_names(kafka_creating.bootstrap, prefix):  # it creates them if one asks as aiokafka does
            await theirs.force_metadata_update()
    await theirs.close()
    assert topic_names(kafka_creating.bootstrap, prefix) == [f"{prefix}created"]


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
    client._sync_task = asyncio.create_task(keep_metadata())  # noqa: SLF001 - aiokafka's
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.close())
    await ending.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_the_client_begins_with_all_the_brokers_of_the_settings() -> None:
    client = make_client(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert sorted((host, port) for host, port, _ in client.hosts) == [("a", 1), ("b", 2)]
    await client.close()
