"""Real Apache Kafka for the tests: a cluster of one node or three, in KRaft mode, on free loopback ports.

Every node is broker and controller at once, unless controllers of their own are asked for. Storage is formatted by
Kafka's own tool, so that a node has the features of a fresh installation. A node has three listeners, all without
encryption unless `properties` say otherwise: `CLIENT` for the code under test, `INTERNAL` for the other brokers and for
the look whether it is ready (it stays plain when a test puts TLS or SASL on `CLIENT`), and `CONTROLLER`.

Everything here blocks; from a coroutine call it through `asyncio.to_thread`. What a single node can suffer is in
`node.py`; what arrived in a topic, `topics.py` reads.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support import jars
from tests.support.node import CLASSES, CLUSTER_ID, KafkaNode
from tests.support.ports import free_ports

READY_SECONDS: Final = 120.0
"""Bound for every wait. A start takes seconds; the rest is for a machine that is busy with something else."""

POLL_SECONDS: Final = 0.05
"""Between two looks at a node that is not ready yet."""

LISTENERS: Final = 3
"""A node has that many, and takes as many ports."""


class ClusterError(Exception):
    """A node did not format, start or get ready; carries the end of its log."""


@dataclass(frozen=True, slots=True)
class NamedKafka:
    """A Kafka that somebody else runs: for tests that only talk to it."""

    bootstrap: str

    @property
    def plain(self) -> str:
        """Where the tests themselves look and administer."""
        return self.bootstrap


class KafkaCluster:
    """Apache Kafka in a temporary folder, from `start()` to `stop()` or as a context manager.

    Three nodes keep three copies of everything and want two of them in sync. `properties` are server properties that
    come on top of the usual ones, for every node. `client_port` fixes the port of the first node's `CLIENT` listener.
    All clusters have the same id unless `cluster_id` says otherwise.
    With `controllers`, so many more nodes are controllers and nothing else, and the others are brokers only.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        client_port: int | None = None,
        cluster_id: str = CLUSTER_ID,
        controllers: int = 0,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="aurora-bridge-kafka-"))
        self._properties = dict(properties or {})
        ports = free_ports(LISTENERS * (nodes + controllers))
        if client_port is not None:
            ports[0] = client_port
        everyone = [
            KafkaNode(
                number=number + 1,
                ports=ports[LISTENERS * number :][:LISTENERS],
                directory=self.directory / f"node-{number + 1}",
                wait_until_ready=self.wait_until_ready,
            )
            for number in range(nodes + controllers)
        ]
        for node in everyone:
            node.cluster_id = cluster_id
        self.nodes, self.controllers = everyone[:nodes], everyone[nodes:]

    @property
    def bootstrap(self) -> str:
        """The `CLIENT` addresses of all nodes, as Kafka's clients take them."""
        return ",".join(node.client for node in self.nodes)

    @property
    def plain(self) -> str:
        """The `INTERNAL` addresses of all nodes: where the tests themselves look and administer."""
        return ",".join(node.internal for node in self.nodes)

    @property
    def _everyone(self) -> list[KafkaNode]:
        return [*self.controllers, *self.nodes]

    def start(self) -> None:
        """Format and start all nodes; return when the cluster is ready.

        Raises `ClusterError` if it does not get there, `JarsMissingError` if Kafka cannot be fetched.
        """
        jars.LIBS.parent.mkdir(exist_ok=True)
        with Path(f"{jars.LIBS}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of a test run begin together
            jars.obtain()
            if not CLASSES.exists():
                keep_classes()
        self.start_nodes()

    def start_nodes(self) -> None:
        """Do so without what earlier nodes wrote down of their classes. Raises `ClusterError`."""
        formatting = [(node, node.begin_format(self._properties_of(node))) for node in self._everyone]
        for node, process in formatting:
            if process.wait(READY_SECONDS) != 0:
                message = f"storage could not be formatted\n{node.log_tail()}"
                raise ClusterError(message)
        for node in self._everyone:
            node.spawn()
        self.wait_until_ready()

    def stop(self) -> None:
        """End all nodes at once and remove their data."""
        for node in self._everyone:
            if node.up:
                node.kill()
        shutil.rmtree(self.directory)

    def restore(self) -> None:
        """Undo what a test did to the nodes, if anything: start those that are down, resume the frozen ones, wait."""
        disturbed = [node for node in self._everyone if node.paused or not node.up]
        for node in disturbed:
            if node.up:
                node.resume()
            else:
                node.spawn()
        if disturbed:
            self.wait_until_ready()

    def wait_until_ready(self, within: float = READY_SECONDS) -> None:
        """Return when each node that is up answers by itself, knows the others, and has all its replicas in sync.

        Raises `ClusterError` after `within` seconds, or at once when a node has died.
        """
        up = [node for node in self.nodes if node.up]
        deadline = time.monotonic() + within
        for node in up:
            while not _settled(node, {peer.number for peer in up}):
                with suppress(subprocess.TimeoutExpired):  # the pause between two looks; a death ends it
                    node.process.wait(POLL_SECONDS)
                dead = [peer for peer in up if peer.process.poll() is not None]
                if dead or time.monotonic() > deadline:
                    trouble = "a node died" if dead else f"not ready after {within:g} s"
                    raise ClusterError("\n".join([trouble, *(peer.log_tail() for peer in dead or up)]))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _properties_of(self, node: KafkaNode) -> dict[str, str]:
        copies = str(len(self.nodes))
        in_sync = str(max(1, len(self.nodes) - 1))
        voters = self.controllers or self.nodes
        clients = f"CLIENT://{node.client},INTERNAL://{node.internal}"
        usual = {
            "process.roles": "broker,controller",
            "listeners": f"{clients},CONTROLLER://{node.controller}",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(f"{peer.number}@{peer.controller}" for peer in voters),
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(node.directory / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            # A killed node may come back only when its session is over, after 9 s by default. Even so little is six
            # heartbeats.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.dedupe.buffer.size": "2097152",  # 128 MB by default, on the heap
            # Most of the time a node of the tests has nothing to do, and then its threads and its empty metadata
            # records are what it costs.
            "num.network.threads": "1",
            "num.io.threads": "2",
            "metadata.max.idle.interval.ms": "10000",
            **self._properties,
        }
        if not self.controllers:
            return usual
        if node not in self.controllers:
            return usual | {"process.roles": "broker", "listeners": clients}
        del usual["inter.broker.listener.name"]
        return usual | {"process.roles": "controller", "listeners": f"CONTROLLER://{node.controller}"}


def keep_classes() -> None:
    """Have a node write down what it loads, for all that start later.

    They start without it as well: a JVM cannot always share its own classes, and a busy machine may take too long.
    Raises `JarsMissingError` if Kafka cannot be fetched.
    """
    cluster = KafkaCluster()
    (node,) = cluster.nodes
    scratch = CLASSES.with_suffix(f".{os.getpid()}")
    node.jvm = [f"-XX:ArchiveClassesAtExit={scratch}"]
    try:
        with suppress(ClusterError, subprocess.TimeoutExpired, FileNotFoundError):
            cluster.start_nodes()
            node.terminate()
            scratch.rename(CLASSES)
    finally:
        cluster.stop()


def _settled(node: KafkaNode, expected: set[int]) -> bool:
    """Whether the node itself answers, and sees the expected nodes alive with their replicas in sync.

    The client is new each time: only its first question is sure to go to this node and no other.
    """
    admin = AdminClient({"bootstrap.servers": node.internal, "reconnect.backoff.max.ms": 200, "log_level": 0})
    try:
        metadata = admin.list_topics(timeout=1)
    except KafkaException:
        return False
    partitions = [partition for topic in metadata.topics.values() for partition in topic.partitions.values()]
    return expected <= metadata.brokers.keys() and all(
        partition.leader in expected and expected & set(partition.replicas) <= set(partition.isrs)
        for partition in partitions
    )
