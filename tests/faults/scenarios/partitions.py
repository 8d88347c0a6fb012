"""What befalls partitions or one topic, while all others flow on. Spans are those at scale 1.

The moves are those of Kafka's own system tests (`tests/kafkatest/tests/core/reassign_partitions_test.py`).
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from time import monotonic
from typing import Final, cast

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation, PartitionMetadata

from aurora_bridge.kafka.client import REQUEST_TIMEOUT_MS
from tests.faults.broker_proxy import ProxiedBrokers
from tests.faults.journal import p99
from tests.faults.scenario import Scenario
from tests.faults.stage import AUTHENTICATED, EVENTS, READ_SECONDS, Stage
from tests.support.admin import elect_preferred
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon, command
from tests.support.node import KafkaNode
from tests.support.reassign import reassign
from tests.support.secure import USER, SecureCluster
from tests.support.topics import Record, create_topics, delete_topics, end_of, partition_of, read_all

APART: Final = "lead_created"
"""The event whose topic's last partition is kept apart from the others."""
HELD: Final = "lead_changed"
"""The event whose topic is held back."""
LAST: Final = 2
PLACES: Final = ([1, 2], [2, 1], [3, 1], [1, 3], [2, 3], [3, 2])
"""The replicas that a partition has one after the other, the one that leads it first."""
LEADERLESS_SECONDS: Final = 5 * REQUEST_TIMEOUT_MS / 1000
"""Not shortened: it is the daemon's own patience that is tried."""
RECOVERED_SECONDS: Final = 10.0
NOISE_SECONDS: Final = 1.0
"""That a busy machine may add to the p99 of others, beside twice as long. Who waits for a broker waits for 2.5 s."""
NOISE_SHARE: Final = 0.01
"""Of the others that may be spooled for the machine's sake."""
LOOK_SECONDS: Final = 0.1
STILL_SECONDS: Final = 0.5
"""In which a partition gets a dozen events at 200 webhooks a second."""


def without_leader(stage: Stage) -> None:
    """The only broker of one partition is dead for five times the request timeout, and a batch in doubt meanwhile."""
    twice = _leaderless(stage)
    stage.expect(not twice, f"{twice} records are there twice, though the broker knew our sequence")


def producer_id_expired(stage: Stage) -> None:
    """The same for so long that the broker comes back without the producer id's state: it takes the batch again."""
    twice = _leaderless(stage)
    stage.measured["records of the batch in doubt, there twice"] = twice
    stage.expect(twice, "the broker knew our sequence: it had forgotten nothing")


def _leaderless(stage: Stage) -> int:
    """Kill the only broker of a partition between a batch and its acknowledgement; return how much of it came twice."""
    _create(stage, [[1], [2], [3]])
    only = stage.cluster.nodes[2]
    with stage.load():
        stage.wait_until_usual()
        _until(stage, lambda: _is_in_doubt(stage))
        only.kill()
        _come_back(stage, only)
        stage.wait(20)
    keys = [record.key for record in _records(stage)]
    return len(keys) - len(set(keys))


def log_truncated(stage: Stage) -> None:
    """A partition's leader dies, and one that lagged behind takes over: the log is shorter than our sequence."""
    _create(stage, [[1, 2], [1, 3], [3, 2]], {"unclean.leader.election.enable": "true"})
    _, lagging, leading = stage.cluster.nodes
    with stage.load():
        stage.wait(20)
        lagging.kill()
        _until(stage, lambda: lagging.number not in _partition(stage).isrs)
        stage.wait(20)
        stage.daemon.wait_until("its backlog is gone", lambda one: not backlog(one, APART))
        with stage.losing(APART):
            leading.kill()
        _come_back(stage, lagging)
        ids = stage.daemon.metrics().value("aurora_bridge_producer_ids_total")
        stage.measured["producer ids"] = ids
        stage.expect(ids > 1, "the new leader knew our sequence: it had forgotten nothing")
        stage.cluster.restore()
        stage.wait(20)


def _create(stage: Stage, replicas: list[list[int]], config: dict[str, str] | None = None) -> None:
    """Create the topic that the daemon would create otherwise, with a last partition that needs no second copy."""
    config = {"min.insync.replicas": "1", **(config or {})}
    create_topics(stage.cluster.plain, stage.prefix + APART, replicas=replicas, config=config)


def _come_back(stage: Stage, node: KafkaNode) -> None:
    """Let a partition be without its leader, then start `node`, and hold the daemon to its time from there."""
    process = stage.daemon.process
    Event().wait(LEADERLESS_SECONDS)
    stage.expect(backlog(stage.daemon, APART), "the partition without a leader was not missed")
    node.spawn()
    _until(stage, lambda: _partition(stage).leader == node.number)
    began = monotonic()
    stage.daemon.wait_until("its backlog is gone", lambda one: not backlog(one, APART))
    seconds = monotonic() - began
    stage.measured["from the leader's return to an empty backlog, s"] = round(seconds, 1)
    stage.expect(seconds <= RECOVERED_SECONDS, f"{seconds:.1f} s after the leader's return there was still a backlog")
    stage.expect(stage.daemon.process is process and process.poll() is None, "the daemon was started again")


def _until(stage: Stage, condition: Callable[[], bool]) -> None:
    """Wait until the first node, which nothing happens to, sees a condition hold."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        with suppress(KafkaException):
            if condition():
                return
        Event().wait(LOOK_SECONDS)
    stage.expect(None, "the brokers did not come to the state of the scenario")


def _records(stage: Stage) -> list[Record]:
    """Return what lies in the partition that is kept apart."""
    records = read_all(stage.cluster.plain, [stage.prefix + APART], READ_SECONDS)
    return [record for record in records if record.partition == LAST]


def _is_in_doubt(stage: Stage) -> bool:
    """Lose what the broker answers next; whether that was the word that the partition has its last record.

    It may have been word of other partitions, for which this one has to wait: the daemon has one request under way for
    each broker. For 2.5 s it waits for that word, and then reconnects.
    """
    cast("ProxiedBrokers", stage.cluster).proxies[LAST].lose_answers()
    _until(stage, lambda: _stands_still(stage))
    last = (_records(stage)[-1].key or b"").decode()
    return last not in {answer.get("id") for answer in stage.answers()}


def _stands_still(stage: Stage) -> bool:
    """Whether nothing comes to the partition, under load."""
    place = (stage.cluster.plain, stage.prefix + APART, LAST)
    end = end_of(*place)
    Event().wait(STILL_SECONDS)
    return end_of(*place) == end


def _partition(stage: Stage) -> PartitionMetadata:
    return partition_of(stage.cluster.nodes[0].internal, stage.prefix + APART, LAST)


def partitions_reassigned(stage: Stage) -> None:
    """Twelve times all partitions get another leader: in turn by an election, and since its replica moves away."""
    topics = [stage.prefix + event for event in EVENTS.values()]
    for topic in topics:
        create_topics(stage.cluster.plain, topic, replicas=_placed(0))
    slowest = 0.0
    with stage.load():
        for step in range(1, 13):
            stage.wait(15)
            before = _leaders(stage, topics)
            began, wanted = monotonic(), _placed(step)
            reassign(stage.cluster.plain, topics, wanted)
            _until(stage, partial(_are_placed, stage, topics, wanted))
            elect_preferred(stage.cluster.plain, topics, len(wanted))
            led = [nodes[0] for _ in topics for nodes in wanted]
            _until(stage, partial(_are_led, stage, topics, led))
            slowest = max(slowest, monotonic() - began)
            stage.expect(all(map(int.__ne__, before, led)), f"leaders {before}, and then {led}: not all are others")
        stage.wait(20)
    stage.measured["slowest move, s"] = round(slowest, 1)


def _placed(step: int) -> list[list[int]]:
    """Return the replicas of each partition at a step; each is led by another node than at the step before."""
    return [PLACES[(2 * number + step) % len(PLACES)] for number in range(LAST + 1)]


def _leaders(stage: Stage, topics: list[str]) -> list[int]:
    return [partition.leader for partition in _partitions(stage, topics)]


def _are_led(stage: Stage, topics: list[str], wanted: list[int]) -> bool:
    return _leaders(stage, topics) == wanted


def _are_placed(stage: Stage, topics: list[str], wanted: list[list[int]]) -> bool:
    """Whether each partition has these replicas and no others, all in sync."""
    nodes = [set(replicas) for _ in topics for replicas in wanted]
    found = _partitions(stage, topics)
    return [set(one.replicas) for one in found] == nodes and [set(one.isrs) for one in found] == nodes


def _partitions(stage: Stage, topics: list[str]) -> list[PartitionMetadata]:
    return [partition_of(stage.cluster.plain, topic, number) for topic in topics for number in range(LAST + 1)]


def record_refused(stage: Stage) -> None:
    """One event is larger than its topic takes, among others of the same topic."""
    create_topics(stage.cluster.plain, stage.prefix + HELD, config={"max.message.bytes": "10000"})
    with stage.load():
        usual, began = stage.wait_until_usual(), monotonic()
        answer = stage.daemon.get(f"/{HELD}?lead_id=large&note={'x' * 12_000}", AUTHENTICATED)
        stage.expect(answer.status == 200, f"the event that is too large is answered {answer.status}")
        stage.wait(30)
        listed = command("quarantine", "list", cwd=stage.daemon.folder, state_dir=stage.daemon.state).stdout
        quarantined = stage.daemon.metrics().value("aurora_bridge_spool_quarantined_events")
        logged = [line for line in stage.daemon.log_lines() if line.get("reason") == "message_too_large"]
        stage.expect("message_too_large" in listed, f"`quarantine list` does not show it: {listed}")
        stage.expect(quarantined == 1, f"the metric says that {quarantined:g} are quarantined")
        stage.expect(logged, "the log does not tell of it")
        expect_flow(stage, usual, began, set(EVENTS.values()))


def topic_deleted(stage: Stage) -> None:
    """A topic is deleted under load, and created again."""
    topic = stage.prefix + HELD
    with stage.load():
        usual, began = stage.wait_until_usual(), monotonic()
        with stage.losing(HELD):
            delete_topics(stage.cluster.plain, topic)
        _held_back(stage, usual, began, "topic_missing")
        create_topics(stage.cluster.plain, topic)
        _drains(stage)
        stage.wait(20)


def topic_forbidden(stage: Stage) -> None:
    """Access control lists forbid a topic under load, and allow it again."""
    cluster, topic = cast("SecureCluster", stage.cluster), stage.prefix + HELD
    cluster.allow(stage.prefix, AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE)
    password = stage.folder / "password"
    password.write_text(cluster.password)
    stage.daemon.change(
        kafka__security_protocol="SASL_SSL",
        kafka__sasl_mechanism="SCRAM-SHA-512",
        kafka__sasl_username=USER,
        kafka__sasl_password_file=password,
        kafka__tls_ca_file=cluster.authority.file,
    )
    with stage.load():
        usual, began = stage.wait_until_usual(), monotonic()
        cluster.forbid(topic, AclOperation.WRITE)
        _held_back(stage, usual, began, "write_denied")
        cluster.let(topic, AclOperation.WRITE)
        _drains(stage)
        stage.wait(20)


def _held_back(stage: Stage, usual: float, began: float, reason: str) -> None:
    """Check that one topic is held back from `began`, and that this is told; and that all others flow."""
    told = stage.daemon.wait_until(
        f"the metric says {reason}", lambda one: one.metrics().value("aurora_bridge_kafka_problem", reason=reason)
    )
    stage.wait(30)
    status, document = stage.daemon.ready()
    topic = stage.prefix + HELD
    stage.expect(told == 1 and status == 200, f"/readyz is {status}")
    stage.expect(any(topic in why for why in document["reasons"]), f"/readyz does not name the topic: {document}")
    stage.expect(any(line.get("reason") == reason for line in stage.daemon.log_lines()), "the log does not tell of it")
    stage.expect(backlog(stage.daemon, HELD), "nothing of the topic is held back")
    expect_flow(stage, usual, began, set(EVENTS.values()) - {HELD})


def expect_flow(stage: Stage, usual_since: float, began: float, events: set[str]) -> None:
    """Check that what happened at `began` neither held these events back nor slowed them."""
    before, since = stage.answers_by_event(usual_since, began), stage.answers_by_event(began)
    usual = p99([answer["seconds"] for event in events for answer in before[event]])
    now = p99([answer["seconds"] for event in events for answer in since[event]])
    stage.measured["p99 of the others before, s"] = round(usual, 2)
    stage.measured["p99 of the others meanwhile, s"] = round(now, 2)
    stage.expect(now <= 2 * usual + NOISE_SECONDS, f"the others are slowed: p99 {now:.2f} s, {usual:.2f} s before")
    for event in events:
        spooled = sum('"spooled"' in answer["body"] for answer in since[event])
        few = spooled <= NOISE_SHARE * len(since[event]) and not backlog(stage.daemon, event)
        stage.expect(few, f"{spooled} of {len(since[event])} {event} were held back as well")


def _drains(stage: Stage) -> None:
    began = monotonic()
    stage.daemon.wait_until("its backlog is gone", lambda one: not backlog(one, HELD))
    stage.measured["until its backlog was gone, s"] = round(monotonic() - began, 1)


def backlog(one: Daemon, event: str) -> float:
    """Return how many events of a topic wait in the spool, or for it."""
    return one.metrics().value("aurora_bridge_backlog_events", event=event)


def _forgetful(nodes: int) -> KafkaCluster:
    """Return brokers that forget what they know of a producer id within seconds.

    One that comes back knows it again from its log until it checks; the daemon's batch must not come before that.
    """
    properties = {"producer.id.expiration.ms": "3000", "producer.id.expiration.check.interval.ms": "10"}
    return ProxiedBrokers(nodes, properties=properties)


SCENARIOS = [
    Scenario("06-without-leader", without_leader, cluster=ProxiedBrokers),
    Scenario("06-producer-id-expired", producer_id_expired, cluster=_forgetful),
    Scenario("06-log-truncated", log_truncated),
    Scenario("06-partitions-reassigned", partitions_reassigned),
    Scenario("07-record-refused", record_refused),
    Scenario("07-topic-deleted", topic_deleted),
    Scenario("07-topic-forbidden", topic_forbidden, cluster=SecureCluster),
]
