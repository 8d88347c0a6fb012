"""Which partitions our topics have, and which broker leads each, tolerating brokers that lag.

A lagging broker can list too few partitions. So a missing partition at first only has no leader, and its records stay
queued; after a while it counts as gone. A topic that was missing for a while and comes back with fewer partitions was
recreated: its missing partitions are gone at once.
"""

from collections.abc import Iterable

from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.client import addresses
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.metrics import Metrics

GONE_SECONDS = 10.0
"""A partition that has been missing for this long is gone."""
_ABSENT_SECONDS = 2.0
"""A topic that comes back after this long was recreated; a shorter absence may be a broker's lag."""
_NO_LEADER = -1


class Metadata:
    """The latest metadata of our topics. Notes in `problems` what is wrong with them."""

    def __init__(self, topics: Iterable[str], problems: Problems, metrics: Metrics) -> None:
        self.partitions = dict.fromkeys(topics, 0)
        """Number of partitions, by topic; 0: it is missing, or nothing is known."""
        self.brokers: dict[int, Broker] = {}
        """Every broker that has led a partition, by node."""
        self._problems = problems
        self._metrics = metrics
        self._cluster: ClusterMetadata | None = None
        self.start_over()

    def start_over(self) -> None:
        """Forget everything, because the next metadata is another cluster's."""
        self.brokers.clear()
        self._counts = dict.fromkeys(self.partitions, 0)
        self._fewer_since: dict[str, float] = {}
        self._absent_since: dict[str, float] = {}
        self.forget()

    def learn(self, cluster: ClusterMetadata, now: float) -> None:
        """Take over new metadata of our topics, at monotonic time `now`."""
        self._cluster = cluster
        for topic in self._counts:
            shown = cluster.partitions_for_topic(topic)
            self.partitions[topic] = self._count(topic, max(shown) + 1, now) if shown else self._absent(topic, now)
        absent = {topic for topic, count in self.partitions.items() if not count} - cluster.unauthorized_topics
        self._problems.only(addresses(cluster).values())
        self._problems.set("describe_denied", cluster.unauthorized_topics)
        self._problems.set("topic_missing", () if self._problems.creating else absent)

    def _count(self, topic: str, shown: int, now: float) -> int:
        before, absent_since = self._counts[topic], self._absent_since.pop(topic, now)
        recreated = now - absent_since >= _ABSENT_SECONDS
        if shown < before and not recreated and now - self._fewer_since.setdefault(topic, now) < GONE_SECONDS:
            return before
        self._fewer_since.pop(topic, None)
        self._counts[topic] = shown
        return shown

    def _absent(self, topic: str, now: float) -> int:
        self._absent_since.setdefault(topic, now)
        return 0

    def forget(self) -> None:
        """Know no partitions or leaders until the next metadata."""
        self._cluster = None
        self.partitions = dict.fromkeys(self.partitions, 0)

    def unreachable(self) -> set[int]:
        """Return the nodes of brokers to which the last attempt to connect failed."""
        brokers = addresses(self._cluster) if self._cluster else {}
        return {node for node, address in brokers.items() if self._problems.unusable(address)}

    def leader(self, topic: str, partition: int) -> Broker | None:
        """Return the broker that leads a partition, None if there is none."""
        node = self._cluster.leader_for_partition(TopicPartition(topic, partition)) if self._cluster else None
        if node is None or node == _NO_LEADER:
            return None
        if node not in self.brokers:
            self.brokers[node] = Broker(node, self._metrics)
        return self.brokers[node]
