"""aiokafka's client, with our own connections.

An upgrade of aiokafka can break this, `connection`, `produce_protocol` and `fetch`. aiokafka provides TLS, SASL, API
versions and metadata. Added here: connections take fresh credentials (`security`), check the cluster's id, and report
how connecting went; metadata requests never create a topic; quotas are obeyed. `tests/kafka/test_client.py` fails when
aiokafka changes.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, cast

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, for_code
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import BrokerMetadata

from aurora_bridge.kafka.connection import connect
from aurora_bridge.kafka.produce_protocol import Produce, ProduceAnswer, ProducerId
from aurora_bridge.kafka.security import Security
from aurora_bridge.settings import KafkaSettings

logging.getLogger("aiokafka.cluster").setLevel(logging.CRITICAL)  # a line per topic and refresh; readiness says it once

PRODUCE = ConnectionGroup.COORDINATION
"""aiokafka's second connection to a broker, which its consumers use for coordination."""
_ANY_NODE_ATTEMPTS = 3
REQUEST_TIMEOUT_MS = 2500
"""Below the publish deadline: a frozen broker delays requests to the others for no longer than this."""
COMMAND_TIMEOUT_MS = 10_000
"""For commands that read: nobody waits for them but a person, and a busy broker is not an absent one."""

OnConnection = Callable[[str, Exception | None], None]
"""Called after an attempt to connect with the `host:port` and the error, None on success."""
CheckCluster = Callable[[str], None]
"""Raises `KafkaError` if a cluster's id is not the expected one."""


class Client(AIOKafkaClient):
    """aiokafka's client, with our own connections.

    Its metadata requests create no topic: a deleted one must stay visible as missing.
    """

    def __init__(
        self,
        *,
        security: Callable[[], Mapping[str, Any]] = dict,
        on_connection: OnConnection = lambda *_: None,
        check_cluster: CheckCluster | None = None,
        **options: Any,  # noqa: ANN401 - aiokafka's
    ) -> None:
        """Take aiokafka's options; `security` returns further arguments for each connection that is opened.

        With `check_cluster`, each connection is asked for its cluster's id before use: an address can lead elsewhere
        between two connections. A client stays with its first cluster: sequences and offsets are only valid there.
        """
        super().__init__(**options)  # type: ignore[no-untyped-call]  # aiokafka leaves it unannotated
        self._security = security
        self._connecting: defaultdict[tuple[int, ConnectionGroup], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._on_connection = on_connection
        self._check_cluster = check_cluster
        self.open_at: dict[int, float] = {}
        """By node, the monotonic time until which its quota allows no request."""
        self.cluster_id = ""
        """Kafka's id of the cluster, from its last metadata."""

    async def bootstrap(self) -> None:
        """Get metadata from the first bootstrap broker that answers. Raises `KafkaConnectionError`."""
        cause: Exception | None = None
        for host, port, _ in self.hosts:
            try:
                connection = await self._open(host, port)
                try:
                    metadata = await connection.send(MetadataRequest([]))
                finally:
                    connection.close()
            except (KafkaError, OSError, TimeoutError) as error:
                cause = error
                self._on_connection(f"{host}:{port}", error)
                continue
            self._on_connection(f"{host}:{port}", None)
            self._learn(self.cluster, metadata)
            if self._sync_task is None:
                self._sync_task = asyncio.create_task(self._md_synchronizer())
            return
        msg = f"none of {self._bootstrap_servers} can be used"
        raise KafkaConnectionError(msg) from cause

    async def _get_conn(
        self, node_id: int, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> object:
        del no_hint
        key = (node_id, group)
        connection = self._conns.get(key)
        if connection is not None and connection.connected():
            return connection
        async with self._connecting[key]:
            connection = self._conns.get(key)
            if connection is not None and connection.connected():
                return connection
            self._conns.pop(key, None)
            broker = self.cluster.broker_metadata(node_id)
            if broker is None:
                self.force_metadata_update()
                return None
            address = _address(broker)
            try:
                connection = await self._open(broker.host, broker.port, self._on_connection_closed)
            except (KafkaError, OSError, TimeoutError) as error:
                self._on_connection(address, error)
                self.force_metadata_update()
                return None
            self._conns[key] = connection
        self._on_connection(address, None)
        return connection

    async def _open(self, host: str, port: int, on_close: Callable[..., None] | None = None) -> AIOKafkaConnection:
        connection = await connect(
            host,
            port,
            client_id=self._client_id,
            request_timeout_ms=self._request_timeout_ms,
            max_idle_ms=self._connections_max_idle_ms,
            on_close=on_close,
            **self._security(),
        )
        if self._check_cluster is not None:
            try:
                cluster_id = _cluster_id(await connection.send(MetadataRequest([])))
                self._check_cluster(cluster_id)
                self._keep_to(cluster_id)
            except BaseException:
                connection.close()
                raise
        return connection

    def _keep_to(self, cluster_id: str) -> None:
        if self.cluster_id and cluster_id not in {"", self.cluster_id}:
            msg = f"the broker belongs to cluster {cluster_id}, this client to {self.cluster_id}"
            raise KafkaConnectionError(msg)

    async def send(self, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:  # noqa: ANN401 - aiokafka's
        """Send a request once the broker's quota allows it; return the response. Raises `KafkaError`, `OSError`.

        A broker that throttles us says so at once, and does not read from this connection for that time (KIP-219).
        """
        wait = self.open_at.get(node_id, 0.0) - monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        answer = await super().send(node_id, request, group=group)  # type: ignore[no-untyped-call]  # theirs
        throttle_ms = getattr(answer, "throttle_time_ms", 0)
        if throttle_ms:
            self.open_at[node_id] = monotonic() + throttle_ms / 1000
        return answer

    async def send_to_any(self, request: Any) -> Any:  # noqa: ANN401 - aiokafka's requests have no common type
        """Return the response of any available broker. Raises `KafkaError`, `TimeoutError`."""
        for _ in range(_ANY_NODE_ATTEMPTS - 1):
            try:
                return await self.send(self._any_node(), request)
            except NodeNotReadyError:
                """That broker is away; another may be available."""
        return await self.send(self._any_node(), request)

    def _any_node(self) -> int:
        node: int | None = self.get_random_node()
        if node is None:
            raise NodeNotReadyError
        return node

    async def produce(self, node_id: int, request: Produce) -> ProduceAnswer:
        """Send a produce request over a separate connection. Raises like `send`.

        Its response can wait for replicas or a quota. A broker answers the requests of one connection in order, and
        metadata must not wait behind it.
        """
        if not await self.ready(node_id, group=PRODUCE):
            raise NodeNotReadyError
        answer: ProduceAnswer = await self._conns[node_id, PRODUCE].exchange(request, self._request_timeout_ms)
        return answer

    @property
    def alive(self) -> bool:
        """Whether aiokafka's metadata task is running; an error that it does not expect ends it silently."""
        return self._sync_task is not None and not self._sync_task.done()

    async def refresh(self) -> None:
        """Request new metadata, and wait for it.

        Raises `KafkaConnectionError` if no broker answers, or aiokafka's metadata task has ended.
        """
        update = self.force_metadata_update()
        if self._sync_task is not None:
            await asyncio.wait([update, self._sync_task], return_when=asyncio.FIRST_COMPLETED)
        if not self.alive:
            msg = "aiokafka's metadata task has ended"
            raise KafkaConnectionError(msg)
        if not update.result():
            msg = "no broker answers a metadata request"
            raise KafkaConnectionError(msg)

    async def close(self) -> None:
        """Close every connection, even if the metadata task died: aiokafka would raise its error first and close none.

        The task is awaited here because aiokafka, while it waits, swallows a cancellation of the caller: it takes it
        for the task's own, and the one who cancelled would wait for ever.
        """
        try:
            if self._sync_task is not None:
                self._sync_task.cancel()
                await asyncio.wait([self._sync_task])
            await super().close()  # type: ignore[no-untyped-call]  # aiokafka leaves it unannotated
        finally:
            for connection in self._conns.values():
                connection.close()

    async def _metadata_update(self, cluster_metadata: ClusterMetadata, topics: Iterable[str]) -> bool:
        for _ in range(_ANY_NODE_ATTEMPTS):
            node = self.get_random_node()
            if node is None:
                break
            try:
                request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
                metadata = await self.send(node, request)
            except (KafkaError, TimeoutError):
                continue
            if metadata.brokers:
                self._learn(cluster_metadata, metadata)
                return True
        cluster_metadata.failed_update(None)
        return False

    def _learn(self, cluster: ClusterMetadata, metadata: Any) -> None:  # noqa: ANN401 - one class for each version
        self.cluster_id = _cluster_id(metadata)
        cluster.update_metadata(metadata)


def make_client(
    settings: KafkaSettings,
    security: Security | None = None,
    on_connection: OnConnection = lambda *_: None,
    timeout_ms: int = REQUEST_TIMEOUT_MS,
    check_cluster: CheckCluster | None = None,
) -> Client:
    """Return a client that is not connected yet. Successive clients should share one `security`."""
    return Client(
        check_cluster=check_cluster,
        on_connection=on_connection,
        security=(security or Security(settings)).options,
        bootstrap_servers=settings.bootstrap_servers,
        client_id=settings.client_id,
        request_timeout_ms=timeout_ms,
        metadata_max_age_ms=60_000,
        connections_max_idle_ms=int(settings.connections_max_idle_seconds * 1000),
    )


def addresses(cluster: ClusterMetadata) -> dict[int, str]:
    """Return the `host:port` of each broker of a cluster, by node."""
    nodes = [broker.nodeId for broker in cluster.brokers()]
    return {node: _address(cluster.broker_metadata(node)) for node in nodes}


def _cluster_id(metadata: Any) -> str:  # noqa: ANN401 - one class for each version
    return getattr(metadata, "cluster_id", None) or ""


def _address(broker: BrokerMetadata) -> str:
    return f"{broker.host}:{broker.port}"


async def new_producer_id(client: Client) -> ProducerId:
    """Return a new producer id. Raises `KafkaError`."""
    no_transactions = cast("str", None)  # aiokafka's annotation is narrower than the protocol
    answer = await client.send_to_any(InitProducerIdRequest(no_transactions, 0))
    if answer.error_code:
        raise for_code(answer.error_code)
    return ProducerId(answer.producer_id, answer.producer_epoch)
