"""The brokers of the tests are tested: they start, break and come back as the other tests take for granted."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tests.support import broker, jars, node
from tests.support.broker import ClusterError, KafkaCluster, NamedKafka
from tests.support.node import KafkaNode
from tests.support.topics import ANY_TIME, Record, create_topics, delete_topics, read_all, topic_names


def publish(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0})
    errors: list[KafkaError | None] = []
    headers: dict[str, str | bytes | None] = {"content-type": b"text/plain"}
    for value in values:
        producer.produce(
            topic,
            value,
            key=b"key",
            headers=headers,
            partition=1,
            timestamp=1234,
            on_delivery=lambda error, _: errors.append(error),
        )
    assert producer.flush(30) == 0
    assert errors == [None] * len(values)


def leader(kafka: KafkaCluster, topic: str) -> KafkaNode:
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(topic, timeout=10).topics
    return kafka.nodes[topics[topic].partitions[1].leader - 1]


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_what_was_produced_is_read_back_whole(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    topic = f"{prefix}read_back"
    create_topics(kafka.bootstrap, topic, config=ANY_TIME)
    publish(kafka.bootstrap, topic, b"first", b"second")
    headers: dict[str, str | bytes | None] = {"content-type": b"text/plain"}
    expected = [
        Record(topic, 1, 0, b"key", b"first", headers, 1234),
        Record(topic, 1, 1, b"key", b"second", headers, 1234),
    ]
    assert expected == read_all(kafka.bootstrap, [topic])


def test_an_empty_topic_reads_as_no_records(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}empty")
    assert read_all(kafka.bootstrap, [f"{prefix}empty"]) == []


def test_a_topic_that_is_not_there_is_an_error_and_not_created_by_looking(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    with pytest.raises(LookupError, match=f"no such topic: {prefix}missing"):
        read_all(kafka.bootstrap, [f"{prefix}missing"])
    assert topic_names(kafka.bootstrap, prefix) == []


def test_a_deleted_topic_is_gone(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}one", f"{prefix}two")
    delete_topics(kafka.bootstrap, f"{prefix}one")
    assert topic_names(kafka.bootstrap, prefix) == [f"{prefix}two"]


def test_a_node_comes_back_on_its_old_address_with_its_records(kafka1: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}survivor"
    create_topics(kafka1.bootstrap, topic, config=ANY_TIME)
    publish(kafka1.bootstrap, topic, b"before")
    (node,) = kafka1.nodes
    node.kill()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": kafka1.bootstrap, "log_level": 0}).list_topics(timeout=0.2)
    node.restart()
    publish(kafka1.bootstrap, topic, b"after")
    assert values(read_all(kafka1.bootstrap, [topic])) == [b"before", b"after"]


def test_a_frozen_node_does_not_answer_until_it_is_resumed(kafka1: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}frozen"
    create_topics(kafka1.bootstrap, topic, config=ANY_TIME)
    kafka1.nodes[0].pause()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": kafka1.bootstrap, "log_level": 0}).list_topics(timeout=0.2)
    kafka1.nodes[0].resume()
    publish(kafka1.bootstrap, topic, b"thawed")
    assert values(read_all(kafka1.bootstrap, [topic])) == [b"thawed"]


def test_the_brokers_are_of_the_series_that_was_chosen(kafka1: KafkaCluster) -> None:
    assert f"Kafka version: {jars.CHOSEN}." in kafka1.nodes[0].log.read_text()


def test_three_nodes_hold_three_copies_and_want_two_in_sync(kafka3: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}copies"
    create_topics(kafka3.bootstrap, topic, config=ANY_TIME)
    kafka3.wait_until_ready()
    admin = AdminClient({"bootstrap.servers": kafka3.bootstrap})
    partitions = admin.list_topics(topic, timeout=10).topics[topic].partitions.values()
    assert [{1, 2, 3}] * 3 == [set(partition.isrs) for partition in partitions]
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (config,) = admin.describe_configs([resource]).values()
    assert config.result(10)["min.insync.replicas"].value == "2"


def test_two_of_three_nodes_go_on_without_the_third(kafka3: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}two_of_three"
    create_topics(kafka3.bootstrap, topic, config=ANY_TIME)
    publish(kafka3.bootstrap, topic, b"three")
    leader(kafka3, topic).kill()
    publish(kafka3.bootstrap, topic, b"two")
    assert values(read_all(kafka3.bootstrap, [topic])) == [b"three", b"two"]


def test_what_is_read_waits_for_the_successor_of_a_dead_leader(kafka3: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}successor"
    create_topics(kafka3.bootstrap, topic, config=ANY_TIME)
    publish(kafka3.bootstrap, topic, b"kept")
    leader(kafka3, topic).kill()
    assert values(read_all(kafka3.bootstrap, [topic])) == [b"kept"]


@pytest.mark.usefixtures("kafka1")
def test_a_jvm_that_cannot_share_classes_starts_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (node, broker):
        monkeypatch.setattr(module, "CLASSES", tmp_path / "classes.jsa")
    monkeypatch.setattr(node, "JVM", (*node.JVM, "-Xshare:off"))
    with KafkaCluster() as cluster:
        assert topic_names(cluster.bootstrap) == []
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_start_says_why() -> None:
    cluster = KafkaCluster(properties={"num.io.threads": "none"})
    with pytest.raises(ClusterError, match="Not a number of type INT"), cluster:
        pass
    assert not cluster.directory.exists()
