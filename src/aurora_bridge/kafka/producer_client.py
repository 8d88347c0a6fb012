"""The sender's client: connected, with a producer id, watched, and replaced when no broker answers any more.

Until all that is there, the sender knows of no client, and nobody is told that Kafka is. Where the next client comes to
another cluster, because an operator accepted it, all that belongs to the former one is ended first.
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
from aurora_bridge.kafka.produce import NOT_IDEMPOTENT, ProducerId
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_RENEW_SECONDS = 5.0
"""After so long without any answer the client is replaced."""
_ASK_SECONDS = 1.0
"""After so long without any answer metadata is asked for; so often a producer id is."""
_FIRST_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 3.0
"""For so long it is no problem that no broker gives out a producer id."""
_WATCH_SECONDS = 0.5
_QUOTA_SHOWN_SECONDS = 10.0
"""A quota that held us up is a problem for so long: it comes and goes with each request."""

Connect = Callable[[OnConnection], Client]
"""Makes a client that tells how its attempts to connect ended."""


class ClientUser(Protocol):
    """Who sends over the client."""

    @property
    def idle(self) -> bool:
        """Whether no record is queued or under way."""

    def missing(self) -> list[str]:
        """Return the topics that cannot be written now."""

    def on_metadata(self) -> None:
        """Hear that leaders may have changed, or that a broker can be connected to or no more."""

    def on_other_cluster(self) -> None:
        """Hear that the next client is another cluster's, where nothing of what was sent is known."""

    async def on_lost(self) -> None:
        """Hear that there is no client now, and end what is under way over the last."""


class ProducerClient:
    """Keeps the client of a `user`."""

    def __init__(  # noqa: PLR0913 - its user, and what it tells
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
        """Keep clients that `connect` makes, which learn `metadata` of topics with this `prefix`.

        `problems` hears what is wrong.
        """
        self._connect = connect
        self._user = user
        self._metadata = metadata
        self._problems = problems
        self._prefix = prefix
        self._producer_ids = metrics.producer_ids
        self._connections = metrics.kafka_connections
        self.client: Client | None = None
        """The one to send over; None: there is none now."""
        self._no_producer = None if idempotent else NOT_IDEMPOTENT
        self.producer: ProducerId | None = self._no_producer
        """For partitions that have none yet. Set to None to get another."""
        self._cluster_id = ""
        """That of the last client."""
        self._replacement = asyncio.Event()
        """Set: the client is to be replaced."""
        self.heard_at = 0.0
        """Monotonic time at which a broker last answered anything."""

    async def run(self) -> None:
        """Keep a client until cancelled."""
        await keep_client(lambda: self._connect(self._on_connection), self._use, self._problems, _WATCH_SECONDS)

    def ask(self) -> None:
        """Ask for new metadata."""
        if self.client is not None:
            self.client.force_metadata_update()

    def replace(self) -> None:
        """Go on over another client."""
        self._replacement.set()

    async def _use(self, client: Client) -> None:
        """Return when the client should be replaced; raises what it was lost by."""
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
                if not _is_cancelled():  # the end of the daemon is no outage, and not told as one
                    self._metadata.forget()
                    await self._user.on_lost()

    def _note_cluster(self, cluster_id: str) -> None:
        if self._cluster_id and cluster_id not in {"", self._cluster_id}:
            log.warning("the cluster is %s, and no more %s; starting over there", cluster_id, self._cluster_id)
            self.producer = self._no_producer
            self._metadata.start_over()
            self._user.on_other_cluster()
        self._cluster_id = cluster_id or self._cluster_id

    async def _pause(self, seconds: float) -> None:
        """Wait. Raises `KafkaConnectionError` when the client is to be replaced."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._replacement.wait()
            msg = "this client is to be replaced"
            raise KafkaConnectionError(msg)

    async def _take_producer_id(self, client: Client) -> None:
        """Ask until there is one. Raises when no broker answers."""
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
                # A broker that has just started has none for a moment.
                reason = "producer_id_unavailable" if monotonic() - began > _PATIENCE_SECONDS else "soon"
            for each in ("producer_id_denied", "producer_id_unavailable"):
                self._problems.set(each, [f"{self._prefix}*"] if each == reason else ())
            if reason is not None:
                await self._pause(pause)
                pause = min(2 * pause, _ASK_SECONDS)

    async def _watch(self, client: Client) -> None:
        """Return when no broker answered for a while, though something was asked.

        That covers brokers that all moved, and connections that hang. A client whose metadata task died is recreated
        at once, before a leader moves and nobody is told.
        """
        self.heard_at = monotonic()
        while True:
            await self._pause(self._problems.pause(_WATCH_SECONDS))
            if not client.alive:
                log.warning("the metadata task of aiokafka has ended; reconnecting")
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
        """Find out whether produce requests can be sent to a broker again, whichever connection to it failed."""
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
