"""What brokers do to a daemon: they die, they freeze, they are too few. Spans are those at scale 1."""

from typing import Final

from tests.faults.journal import p99
from tests.faults.scenario import Scenario
from tests.faults.stage import EVENTS, Stage
from tests.support.node import KafkaNode
from tests.support.topics import create_topics, partition_of

SOON_SECONDS: Final = 5.0


def brokers_killed(stage: Stage) -> None:
    """All brokers are dead for five minutes."""
    with stage.load():
        stage.wait(20)
        for node in stage.cluster.nodes:
            node.kill()
        stage.wait(300)
        stage.cluster.restore()
        stage.fixed()
        stage.wait(20)


def leader_bounced(stage: Stage) -> None:
    """Whoever leads one partition is stopped and started again and again: with SIGTERM, then with SIGKILL."""
    topic = stage.prefix + "agreement_status_changed"
    with stage.load():
        for end in (*[KafkaNode.terminate] * 3, *[KafkaNode.kill] * 3):
            stage.wait(20)
            leader = partition_of(stage.cluster.plain, topic, 0).leader
            node = next(node for node in stage.cluster.nodes if node.number == leader)
            end(node)
            stage.wait(20)
            node.restart()
            stage.fixed()


def below_minimum(stage: Stage) -> None:
    """Every partition that the events go to wants two replicas in sync, and for two minutes has one."""
    for event in EVENTS.values():
        create_topics(stage.cluster.plain, stage.prefix + event, replicas=[[1, 2], [3, 2], [1, 2]])
    with stage.load():
        stage.wait(10)
        stage.cluster.nodes[1].kill()
        stage.wait(120)
        errors = stage.daemon.metrics().value("aurora_bridge_publish_errors_total", reason="not_enough_replicas")
        stage.expect(errors, "no partition had fewer replicas in sync than it wants")
        stage.cluster.restore()
        stage.fixed()
        stage.wait(10)


def majority_killed(stage: Stage) -> None:
    """Two of three brokers are dead for two minutes: there is no controller either that could say so."""
    with stage.load():
        stage.wait(10)
        for node in stage.cluster.nodes[1:]:
            node.kill()
        stage.wait(120)
        stage.cluster.restore()
        stage.fixed()
        stage.wait(10)


def one_frozen(stage: Stage) -> None:
    """One broker is frozen for a minute."""
    with stage.load():
        stage.wait(20)
        stage.cluster.nodes[0].pause()
        stage.wait(60)
        stage.cluster.nodes[0].resume()
        stage.fixed()
        stage.wait(20)
    _answered_soon(stage)


def all_frozen(stage: Stage) -> None:
    """All brokers are frozen for a minute."""
    with stage.load():
        stage.wait(20)
        for node in stage.cluster.nodes:
            node.pause()
        stage.wait(60)
        for node in stage.cluster.nodes:
            node.resume()
        stage.fixed()
        stage.wait(20)
    _answered_soon(stage)


def _answered_soon(stage: Stage) -> None:
    seconds = p99([answer["seconds"] for answer in stage.answers() if answer["status"]])
    stage.wish(seconds < SOON_SECONDS, f"p99 is {seconds:.1f} s, and meant to stay below {SOON_SECONDS:g} s")


SCENARIOS = [
    Scenario("04-all-brokers-killed", brokers_killed),
    Scenario("04-leader-bounced", leader_bounced),
    Scenario("04-below-minimum-in-sync", below_minimum),
    Scenario("04-majority-killed", majority_killed),
    Scenario("05-one-broker-frozen", one_frozen),
    Scenario("05-all-brokers-frozen", all_frozen),
]
