"""The scenarios: what is done to brokers and daemons while webhooks come in. Their spans are those at scale 1."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.stage import Stage

Fault = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and what may be expected afterwards."""

    name: str
    """Number in the list of the promise's enemies, and a word."""
    fault: Fault
    nodes: int = 3
    daemons: int = 1
    broken: str | None = None
    """A daemon that lies: then the ledger must find it out."""
    settings: Mapping[str, object] = field(default_factory=dict)


def nothing(stage: Stage) -> None:
    """Let the load run."""
    with stage.load():
        stage.wait(60)


def daemon_killed(stage: Stage) -> None:
    """Kill -9 of the daemon every 5 to 15 s."""
    with stage.load():
        for _ in range(12):
            stage.wait(stage.random.uniform(5, 15))
            stage.daemons[0].kill_and_start()
        stage.wait(5)


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


def daemon_ended(stage: Stage) -> None:
    """SIGTERM twenty times, every fifth with the brokers away."""
    with stage.load():
        for round_ in range(20):
            stage.wait(10)
            if away := round_ % 5 == 4:
                for node in stage.cluster.nodes:
                    node.kill()
            code = stage.daemon.terminate()
            if code != 0:
                message = f"SIGTERM ended the daemon with exit code {code}"
                raise AssertionError(message)
            stage.daemon.start()
            if away:
                stage.cluster.restore()


SCENARIOS = [
    Scenario("01-daemon-killed", daemon_killed),
    Scenario("04-all-brokers-killed", brokers_killed),
    Scenario("04-brokers-bounced", leader_bounced),
    Scenario("04-below-minimum-in-sync", below_minimum),
    Scenario("05-one-broker-frozen", one_frozen),
    Scenario("05-all-brokers-frozen", all_frozen),
    Scenario("12-daemon-ended", daemon_ended),
    Scenario("control-nothing-happens", nothing, nodes=1),
]

CONTROLS = [
    Scenario("control-acks-0", brokers_killed, nodes=1, broken="acks-0"),
    Scenario("control-no-spool", brokers_killed, nodes=1, broken="no-spool"),
    Scenario("control-answer-before-commit", daemon_killed, nodes=1, broken="early"),
    Scenario("control-no-dedup", nothing, nodes=1, broken="no-dedup"),
    Scenario(
        "control-seen-before-durable",
        brokers_killed,
        nodes=1,
        broken="seen-early",
        settings={"spool__enabled": False},
    ),
]
"""The same with a daemon that lies."""
