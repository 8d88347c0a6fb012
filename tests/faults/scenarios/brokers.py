"""What brokers do to a daemon: they die, they freeze, they are too few. Spans are those at scale 1."""

from tests.faults.scenario import Scenario
from tests.faults.stage import Stage


def brokers_killed(stage: Stage) -> None:
    """All brokers are dead for five minutes."""
    with stage.load():
        stage.wait(20)
        for node in stage.cluster.nodes:
            node.kill()
        stage.wait(300)
        stage.cluster.restore()
        stage.wait(20)


def leader_bounced(stage: Stage) -> None:
    """One broker is stopped and started again and again, in order and not."""
    with stage.load():
        for round_ in range(6):
            node = stage.cluster.nodes[round_ % len(stage.cluster.nodes)]
            stage.wait(20)
            (node.terminate if round_ % 2 else node.kill)()
            stage.wait(20)
            node.restart()


def below_minimum(stage: Stage) -> None:
    """Two of three brokers are dead for two minutes: fewer copies than acknowledged ones need."""
    with stage.load():
        stage.wait(10)
        for node in stage.cluster.nodes[1:]:
            node.kill()
        stage.wait(120)
        stage.cluster.restore()
        stage.wait(10)


def one_frozen(stage: Stage) -> None:
    """One broker is frozen for a minute."""
    with stage.load():
        stage.wait(20)
        stage.cluster.nodes[0].pause()
        stage.wait(60)
        stage.cluster.nodes[0].resume()
        stage.wait(20)


def all_frozen(stage: Stage) -> None:
    """All brokers are frozen for a minute."""
    with stage.load():
        stage.wait(20)
        for node in stage.cluster.nodes:
            node.pause()
        stage.wait(60)
        for node in stage.cluster.nodes:
            node.resume()
        stage.wait(20)


SCENARIOS = [
    Scenario("04-all-brokers-killed", brokers_killed),
    Scenario("04-brokers-bounced", leader_bounced),
    Scenario("04-below-minimum-in-sync", below_minimum),
    Scenario("05-one-broker-frozen", one_frozen),
    Scenario("05-all-brokers-frozen", all_frozen),
]
