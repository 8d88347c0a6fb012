"""The sender's client: connects it, obtains a producer id, and replaces it when no broker answers any more.

The sender gets the client only once it is ready; until then, Kafka counts as away. If the next client finds another
cluster, because an operator accepted it, everything that belongs to the former one is ended first.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol

from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from aurora_bridge.kafka.client import PRODUCE, Client, OnConnection, addresses, new_producer_id
from aurora_bridge.kafka.client_keeper import keep_client
from aurora_bridge.kafka.metadata import Metadata
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.produce_protocol import NOT_IDEMPOTENT, ProducerId
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_RENEW_SECONDS = 5.0
"""After this long without a response, the client is replaced."""
_ASK_SECONDS = 1.0
"""After this long without a response, metadata is requested. Also the longest pause between requests for a producer id.
"""
_FIRST_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 3.0
"""How long brokers may give out no producer id before that is a problem."""
_WATCH_SECONDS = 0.5
_QUOTA_SHOWN_SECONDS = 10.0
"""How long a quota that throttled us remains a problem: throttling comes and goes with each request."""

Connect = Callable[[OnConnection], Client]
"""Makes a client that reports its attempts to connect."""


class ClientUser(Protocol):
    """Sends over the client."""

    @property
    def idle(self) -> bool:
        """Whether no record is queued or in flight."""

    def missing(self) -> list[str]:
        """Return the topics that cannot be written to now."""

    def on_metadata(self) -> None:
        """Handle new leaders, or a broker that became reachable or unreachable."""

    def on_other_cluster(self) -> None:
        """Handle that the next client belongs to another cluster, which knows nothing of what was sent."""

    async def on_lost(self) -> None:
        """Handle the loss of the client: end what is in flight over it."""


class ProducerClient:
    """Keeps a client connected for its `user`."""

    def __init__(  # noqa: PLR0913 - its user, and what it reports to
        self,
        connect: Connect,
        user: ClientUser,
        metadata: Metadata,
        *,
        prefix: str,
        idempotent: bool,
        problems: Problems,
        metrics: Metrics,
    ) -> None:
        """Keep clients that `connect` makes, and update `metadata` from them. All topics have this `prefix`.

        Notes in `problems` what is wrong.
        """
        self._connect = connect
        self._user = user
        self._metadata = metadata
        self._problems = problems
        self._prefix = prefix
        self._producer_ids = metrics.producer_ids
        self._connections = metrics.kafka_connections
        self.client: Client | None = None
        """The client to send over, None if there is none now."""
        self._no_producer = None if idempotent else NOT_IDEMPOTENT
        self.producer: ProducerId | None = self._no_producer
        """The id for partitions that have none yet. Set it to None to obtain a new one."""
        self._cluster_id = ""
        """The last client's cluster."""
        self._replacement = asyncio.Event()
        """Set when the client must be replaced."""
        self.heard_at = 0.0
        """Monotonic time at which a broker last answered anything."""

    async def run(self) -> None:
        """Keep a client until cancelled."""
        await keep_client(lambda: self._connect(self._on_connection), self._use, self._problems, _WATCH_SECONDS)

    def ask(self) -> None:
        """Request new metadata."""
        if self.client is not None:
            self.client.force_metadata_update()

    def replace(self) -> None:
        """Replace the client."""
        self._replacement.set()

    async def _use(self, client: Client) -> None:
        """Use a client; return when it should be replaced. Raises the error that it was lost by."""
        self._replacement.clear()
        try:
            await client.bootstrap()
            self._note_cluster(client.cluster_id)
            client.set_topics(self._metadata.partitions)
            await self._take_producer_id(client)
            await client.refresh()
            self.client = client
            client.cluster.add_listener(self._learn)
            self._learn(client.cluster)
            await self._watch(client)
        finally:
            if self.client is not None:
                self.client = None
                client.cluster.remove_listener(self._learn)
                if not _is_cancelled():  # the daemon's end is not an outage
                    self._metadata.forget()
                    await self._user.on_lost()

    def _note_cluster(self, cluster_id: str) -> None:
        if self._cluster_id and cluster_id not in {"", self._cluster_id}:
            log.warning("the cluster is now %s, formerly %s; starting over", cluster_id, self._cluster_id)
            self.producer = self._no_producer
            self._metadata.start_over()
            self._user.on_other_cluster()
        self._cluster_id = cluster_id or self._cluster_id

    async def _pause(self, seconds: float) -> None:
        """Wait. Raises `KafkaConnectionError` if the client must be replaced."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._replacement.wait()
            msg = "this client must be replaced"
            raise KafkaConnectionError(msg)

    async def _take_producer_id(self, client: Client) -> None:
        """Request a producer id until there is one. Raises `KafkaError` if no broker answers."""
        began, pause = monotonic(), _FIRST_PAUSE_SECONDS
        while self.producer is None:
            reason = None
            try:
                self.producer = await new_producer_id(client)
                self._producer_ids[()] += 1
            except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
                raise
            except ClusterAuthorizationFailedError:
                reason = "producer_id_denied"
            except KafkaError:
                # A broker that has just started cannot give one out at first.
                reason = "producer_id_unavailable" if monotonic() - began > _PATIENCE_SECONDS else "soon"
            for each in ("producer_id_denied", "producer_id_unavailable"):
                self._problems.set(each, [f"{self._prefix}*"] if each == reason else ())
            if reason is not None:
                await self._pause(pause)
                pause = min(2 * pause, _ASK_SECONDS)

    async def _watch(self, client: Client) -> None:
        """Return when no broker has answered for a while, though it was asked something.

        That covers brokers that have all moved, and connections that hang. If the metadata task has died, the client is
        replaced at once, before a leader moves unnoticed.
        """
        self.heard_at = monotonic()
        while True:
            await self._pause(self._problems.pause(_WATCH_SECONDS))
            if not client.alive:
                log.warning("aiokafka's metadata task has ended; reconnecting")
                return
            if self.producer is None:
                await self._take_producer_id(client)
                self._user.on_metadata()
            now, missing = monotonic(), bool(self._user.missing())
            brokers = self._metadata.brokers.values()
            throttled = [broker for broker in brokers if now < broker.open_at + _QUOTA_SHOWN_SECONDS]
            self._problems.set("throttled", [f"broker {broker.node}" for broker in throttled])
            if (self._user.idle and not missing) or any(now < broker.open_at for broker in throttled):
                self.heard_at = now
            if now - self.heard_at > _RENEW_SECONDS:
                log.info("no broker answered for %g s; reconnecting", _RENEW_SECONDS)
                return
            if missing or now - self.heard_at > _ASK_SECONDS:
                client.force_metadata_update()
            await asyncio.gather(*(self._try(client, node) for node in self._metadata.unreachable()))

    async def _try(self, client: Client, node: int) -> None:
        """Check whether produce requests can be sent to a broker again, whichever connection to it failed."""
        if await client.ready(node, group=PRODUCE):
            self._on_connection(addresses(client.cluster)[node], None)

    def _learn(self, cluster: ClusterMetadata) -> None:
        self.heard_at = monotonic()
        self._metadata.learn(cluster, self.heard_at)
        self._user.on_metadata()

    def _on_connection(self, address: str, error: Exception | None) -> None:
        changed = self._problems.unusable(address) is (error is None)
        self._problems.connection(address, error)
        self._connections[()] += error is None
        if changed and self.client is not None:
            self._user.on_metadata()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
