"""`aurora-bridge topics`: what is there, what is missing, and what could lose events, each with the remedy."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from time import monotonic

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from aurora_bridge.webhook.catalogue import EVENTS
from tests.cli.in_process import here
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import SECONDS
from tests.support.ports import HOST, free_ports
from tests.support.topics import create_topics, topic_names

DAY_MS = 86_400_000


def test_what_is_missing_is_told_with_exit_code_1_and_created_when_asked_for(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    create_topics(kafka.bootstrap, f"{prefix}lead_changed", partitions=2)
    before = here("topics", **settings)
    assert before.returncode == 1
    assert f"missing: {prefix}agreement_status_changed, " in before.stderr
    assert "aurora-bridge topics --apply" in before.stderr
    assert len(topic_names(kafka.bootstrap, prefix)) == 1

    applied = here("topics", "--apply", kafka__partitions=1, **settings)
    assert applied.returncode == 0
    assert f"{len(EVENTS) - 1} created" in applied.stderr
    assert "missing" not in applied.stdout + applied.stderr
    assert topic_names(kafka.bootstrap, prefix) == sorted(prefix + event for event in EVENTS)
    head, *rows = applied.stdout.splitlines()
    assert head.split() == [
        *("topic", "partitions", "replicas", "min.insync", "retention", "max.message.bytes"),
        *("unclean", "election"),
    ]
    assert len(rows) == len(EVENTS)
    cells = {row.split()[0].removeprefix(prefix): row.split()[1:] for row in rows}
    assert cells["lead_changed"] == ["2", "1", "1", "7", "d", "1048588", "false"]
    assert cells["lead_created"] == ["1", "1", "1", "30", "d", "1048588", "false"]


def test_what_could_lose_events_is_a_warning_with_the_remedy_and_exit_code_0(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    month = {"retention.ms": str(30 * DAY_MS)}
    create_topics(kafka.bootstrap, f"{prefix}lead_changed", config=month | {"unclean.leader.election.enable": "true"})
    create_topics(kafka.bootstrap, f"{prefix}lead_created", config={"retention.ms": str(7 * DAY_MS)})
    create_topics(kafka.bootstrap, f"{prefix}lead_converted", config=month | {"max.message.bytes": "3000"})
    create_topics(kafka.bootstrap, f"{prefix}project_created", config=month | {"min.insync.replicas": "2"})
    create_topics(kafka.bootstrap, f"{prefix}project_deleted", config={"retention.ms": "-1"})
    here("topics", "--apply", kafka__partitions=1, **settings)
    ended = here("topics", **settings)
    assert ended.returncode == 0
    copies, insync, unclean, retention, size = ended.stderr.splitlines()
    assert "set it to 2, with 3 replicas" in copies
    assert insync.endswith(f"so Kafka accepts nothing; add replicas: {prefix}project_created.")
    assert unclean.endswith(f"set unclean.leader.election.enable=false: {prefix}lead_changed.")
    assert retention.endswith(f"set retention.ms to at least {30 * DAY_MS}: {prefix}lead_created.")
    assert size.endswith(f"set max.message.bytes to at least 100352: {prefix}lead_converted.")


@pytest.mark.parametrize("key", ["id", "subject"])
def test_with_the_subject_as_key_a_compacted_topic_of_anything_but_states_is_a_warning(
    kafka: KafkaCluster | NamedKafka, prefix: str, key: str
) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    compacted = {"retention.ms": "-1", "cleanup.policy": "compact"}
    events = ("lead_changed", "project_created", "unrecognized", "agreement_status_changed", "design_request_completed")
    create_topics(kafka.bootstrap, *(prefix + event for event in events), config=compacted)
    ended = here("topics", kafka__key=key, **settings)
    told = [line for line in ended.stderr.splitlines() if "cleanup.policy" in line]
    expected = (
        "warning: compaction keeps one event per subject, but it does not replace the others; set "
        f"cleanup.policy=delete: {prefix}lead_changed, {prefix}project_created, {prefix}unrecognized."
    )
    assert told == ([expected] if key == "subject" else [])


def test_as_json_each_topic_is_a_line(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}lead_changed", partitions=2)
    ended = here("topics", "--json", kafka__bootstrap_servers=kafka.bootstrap, kafka__topic_prefix=prefix)
    topics = {topic.pop("topic"): topic for topic in map(json.loads, ended.stdout.splitlines())}
    assert list(topics) == [prefix + event for event in EVENTS]
    assert topics[f"{prefix}lead_created"] == {"exists": False, "partitions": 0, "replicas": 0}
    assert topics[f"{prefix}lead_changed"] == {
        "exists": True,
        "partitions": 2,
        "replicas": 1,
        "min.insync.replicas": "1",
        "retention.ms": str(7 * DAY_MS),
        "max.message.bytes": "1048588",
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete",
    }


@pytest.fixture
def guarded(kafka1: KafkaCluster) -> Iterator[KafkaCluster]:
    """A broker with access control, that allows whatever no rule is about."""
    del kafka1  # where it can run, so can this one
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with KafkaCluster(properties=properties) as cluster:
        yield cluster


def allow(bootstrap: str, kind: ResourceType, name: str, *operations: AclOperation, prefixed: bool = False) -> None:
    """Allow these operations on what has the name, and so no others."""
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    rules = [
        AclBinding(kind, name, pattern, "User:ANONYMOUS", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_acls(rules).values():
        future.result(30)


def until(words: str, *arguments: str, **settings: object) -> CompletedProcess[str]:
    """Run the command until it says these words: a broker takes a moment to follow a new rule."""
    deadline = monotonic() + SECONDS
    while words not in (ended := here("topics", *arguments, **settings)).stderr:
        assert monotonic() < deadline, ended.stderr
    return ended


@pytest.mark.slow
def test_an_acl_that_is_missing_is_named_with_exit_code_1(guarded: KafkaCluster) -> None:
    settings = {"kafka__bootstrap_servers": guarded.bootstrap, "kafka__partitions": 1}
    assert here("topics", "--apply", **settings).returncode == 0

    allow(guarded.bootstrap, ResourceType.TOPIC, "aurora.lead_changed", AclOperation.DESCRIBE)
    ended = until("this user lacks the ACL DescribeConfigs on Topic:aurora.lead_changed.", **settings)
    assert ended.returncode == 1
    assert "\naurora.lead_changed                             1           1         ?" in ended.stdout

    allow(guarded.bootstrap, ResourceType.TOPIC, "aurora.lead_converted", AclOperation.ALTER_CONFIGS)
    ended = until("this user lacks the ACL Describe on Topic:aurora.lead_converted.", **settings)
    assert ended.returncode == 1
    assert "\naurora.lead_converted                           not allowed\n" in ended.stdout

    allow(guarded.bootstrap, ResourceType.TOPIC, "denied.", AclOperation.DESCRIBE, prefixed=True)
    everything_but_create = (AclOperation.CLUSTER_ACTION, AclOperation.ALTER, AclOperation.DESCRIBE)
    allow(guarded.bootstrap, ResourceType.BROKER, "kafka-cluster", *everything_but_create)
    ended = until(f"still missing: all {len(EVENTS)} topics.", "--apply", kafka__topic_prefix="denied.", **settings)
    assert ended.returncode == 1
    assert "not created: denied.agreement_download_url_job_completed, " in ended.stderr
    assert "grant it the operation Create on these topics" in ended.stderr


def test_more_replicas_than_brokers_are_told_with_the_remedy_and_exit_code_1(kafka1: KafkaCluster, prefix: str) -> None:
    settings = {"kafka__bootstrap_servers": kafka1.bootstrap, "kafka__topic_prefix": prefix}
    ended = here("topics", "--apply", kafka__replication_factor=3, **settings)
    assert ended.returncode == 1
    created, why, missing = ended.stderr.splitlines()
    assert (created, why.partition(prefix)[0]) == ("0 created", "not created: ")
    assert "lower AURORA_BRIDGE_KAFKA__REPLICATION_FACTOR" in why
    assert missing.startswith(f"still missing: all {len(EVENTS)} topics.")


def test_a_kafka_that_is_away_is_told_with_exit_code_1() -> None:
    (nobody,) = free_ports(1)
    for arguments in (["topics"], ["topics", "--apply"]):
        ended = here(*arguments, kafka__bootstrap_servers=f"{HOST}:{nobody}")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert f"Kafka at {HOST}:{nobody} cannot be read" in ended.stderr


def test_without_kafka_in_the_settings_it_ends_with_exit_code_78() -> None:
    ended = here("topics")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "topics needs Kafka" in ended.stderr
