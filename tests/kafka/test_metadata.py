"""Which partitions there are, by metadata that may lag."""

from aiokafka.cluster import ClusterMetadata
from aiokafka.protocol.metadata import MetadataResponse_v0

from aurora_bridge.kafka.metadata import GONE_SECONDS, Metadata
from aurora_bridge.kafka.problems import Problems
from tests.kafka.sending import sender_metrics

TOPIC = "topic"


def shown(partitions: int, leader: int = 1) -> ClusterMetadata:
    """Return metadata that shows so many partitions of the topic."""
    cluster = ClusterMetadata()
    led = [(0, TOPIC, [(0, index, leader, [1], [1]) for index in range(partitions)])] if partitions else []
    cluster.update_metadata(MetadataResponse_v0([(1, "127.0.0.1", 1)], led))
    return cluster


def made() -> tuple[Metadata, Problems]:
    metrics = sender_metrics()
    problems = Problems(metrics)
    return Metadata([TOPIC], problems, metrics), problems


def test_a_partition_that_is_missing_for_a_while_has_no_leader_then_it_is_gone() -> None:
    metadata, _ = made()
    counts = []
    for count, now in [(3, 0.0), (2, 1.0), (2, GONE_SECONDS), (2, 1.0 + GONE_SECONDS)]:
        metadata.learn(shown(count), now)
        counts.append(metadata.partitions[TOPIC])
    assert counts == [3, 3, 3, 2]
    assert metadata.leader(TOPIC, 2) is None
    assert metadata.leader(TOPIC, 1) is metadata.brokers[1]


def test_one_that_is_back_meanwhile_was_only_not_shown() -> None:
    metadata, _ = made()
    for count, now in [(3, 0.0), (2, 1.0), (3, GONE_SECONDS), (2, 1.5 + GONE_SECONDS)]:
        metadata.learn(shown(count), now)
    assert metadata.partitions[TOPIC] == 3


def test_a_topic_that_was_away_and_has_fewer_was_recreated() -> None:
    metadata, problems = made()
    for count, now in [(3, 0.0), (0, 1.0)]:
        metadata.learn(shown(count), now)
    assert (metadata.partitions[TOPIC], [problem.reason for problem in problems]) == (0, ["topic_missing"])
    metadata.learn(shown(2), 3.0)
    assert (metadata.partitions[TOPIC], list(problems)) == (2, [])


def test_one_that_was_not_shown_for_a_moment_is_the_same() -> None:
    metadata, _ = made()
    for count, now in [(3, 0.0), (0, 1.0), (2, 2.0)]:
        metadata.learn(shown(count), now)
    assert metadata.partitions[TOPIC] == 3


def test_a_lost_client_makes_nothing_known_and_nothing_gone() -> None:
    metadata, _ = made()
    metadata.learn(shown(3), 0.0)
    metadata.forget()
    assert (metadata.partitions[TOPIC], metadata.leader(TOPIC, 0)) == (0, None)
    metadata.learn(shown(2), 1.0)
    assert metadata.partitions[TOPIC] == 3


def test_a_partition_without_a_leader_has_none() -> None:
    metadata, _ = made()
    metadata.learn(shown(1, leader=-1), 0.0)
    assert metadata.leader(TOPIC, 0) is None
