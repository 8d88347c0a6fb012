"""The partition queues of all topics, and which broker leads each.

A queue outlives the client and its metadata: a batch in doubt stays in doubt until it is answered, or its partition is
gone.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.metadata import Metadata
from aurora_bridge.kafka.partition_queue import PartitionQueue, Report
from aurora_bridge.kafka.record import Record
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)


class Routed(NamedTuple):
    """Results of new metadata."""

    moved: list[tuple[Record, bool]]
    """Records of partitions that are gone, to be queued elsewhere, and whether each belongs to a backlog."""
    reports: list[Report]
    """Reports on those of them that may be stored all the same."""
    unreachable: set[str]
    """Events with a partition whose leader cannot be connected to."""


class Queues:
    """The partition queues of the topics of `events`."""

    def __init__(self, prefix: str, events: Iterable[str], metadata: Metadata, metrics: Metrics) -> None:
        self._prefix = prefix
        self._topics = {event: prefix + event for event in events}
        self._metadata = metadata
        self._connected = metrics.kafka_connected
        self._all: dict[TopicPartition, PartitionQueue] = {}
        self.by_event: dict[str, list[PartitionQueue]] = {}
        """Queues by event, in order of partition. Events without a topic in Kafka are left out."""
        self.leaving = False
        """Whether a partition that is gone has a request in flight: until that ends, its topic is left unchanged."""
        metrics.kafka_batches_in_doubt.source = lambda: sum(queue.doubtful for queue in self._all.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return not any(self._all.values())

    def writable(self, event: str) -> bool:
        """Whether every partition of an event's topic has a leader, as far as we know."""
        queues = self.by_event.get(event)
        return queues is not None and all(queue.broker is not None for queue in queues)

    def missing(self) -> list[str]:
        """Return the topics that cannot be written to now."""
        return [topic for event, topic in self._topics.items() if not self.writable(event)]

    def withdraw(self, wanted: set[Record]) -> set[Record]:
        """Remove those of `wanted` that were certainly not sent; return them."""
        topics = {self._prefix + record.event for record in wanted}
        return set().union(*(queue.withdraw(wanted) for queue in self._all.values() if queue.topic in topics))

    def take_stored(self) -> Iterator[tuple[TopicPartition, int, int]]:
        """Yield where our records were stored since the last call: partition, first offset, end offset."""
        for place, queue in self._all.items():
            for first, end in queue.stored.take():
                yield place, first, end

    def route(self) -> Routed:
        """Take over partitions and leaders from the metadata."""
        counts = self._metadata.partitions
        leaving = {
            queue.topic
            for queue in self._all.values()
            if queue.under_way and queue.partition >= counts[queue.topic] > 0
        }
        self.leaving = bool(leaving)
        counts = {topic: self._count(topic) if topic in leaving else count for topic, count in counts.items()}
        self.by_event = {
            event: [self._queue(TopicPartition(topic, partition)) for partition in range(counts[topic])]
            for event, topic in self._topics.items()
            if counts[topic]
        }
        routed = Routed([], [], set())
        away = self._metadata.unreachable()
        for (topic, partition), queue in self._all.items():
            broker = self._metadata.leader(topic, partition)
            if broker is not None and broker.node in away:
                routed.unreachable.add(topic.removeprefix(self._prefix))
                broker = None
            queue.broker = broker
            if partition >= counts[topic] > 0:
                records, reports = queue.give_up()
                routed.moved.extend((record, queue.backlog) for record in records)
                routed.reports.extend(reports)
        self._note_connection()
        return routed

    def refuse_all(self, reason: str) -> list[Report]:
        """Refuse all records and forget all sequences; return the reports to deliver."""
        reports = [each for queue in self._all.values() if queue for each in queue.refuse(reason)]
        self._all.clear()
        self.by_event = {}
        return reports

    def lose(self, broker: Broker) -> None:
        """Forget a broker's leaderships until new metadata."""
        for queue in self._all.values():
            if queue.broker is broker:
                queue.broker = None
        self._note_connection()

    def _count(self, topic: str) -> int:
        return 1 + max(queue.partition for queue in self._all.values() if queue.topic == topic)

    def _queue(self, place: TopicPartition) -> PartitionQueue:
        if place not in self._all:
            self._all[place] = PartitionQueue(*place)
        return self._all[place]

    def _note_connection(self) -> None:
        """Log and export whether Kafka is available, when that changes."""
        missing = len(self.missing())
        connected = not missing
        if connected != bool(self._connected[()]):
            self._connected[()] = int(connected)
            where = f"away for {missing} of {len(self._topics)} topics" if missing < len(self._topics) else "away"
            log.log(logging.INFO if connected else logging.WARNING, "Kafka is %s", "available" if connected else where)
