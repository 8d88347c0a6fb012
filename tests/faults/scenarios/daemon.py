"""What is done to the daemon itself: it is killed, it is ended, it is replaced. Spans are those at scale 1."""

from tests.faults.scenario import Scenario
from tests.faults.stage import Stage


def daemon_killed(stage: Stage) -> None:
    """Kill -9 of the daemon every 5 to 15 s."""
    with stage.load():
        for _ in range(12):
            stage.wait(stage.random.uniform(5, 15))
            stage.daemons[0].kill_and_start()
        stage.wait(5)


def killed_before_answer(stage: Stage) -> None:
    """Kill -9 between the spool's commit and the answers that wait for it, again and again; Kafka is away meanwhile."""
    with stage.load():
        for node in stage.cluster.nodes:
            node.kill()
        _killed_at_its_point(stage, 120)
        stage.cluster.restore()
        stage.wait(20)


def killed_before_removal(stage: Stage) -> None:
    """Kill -9 between Kafka's acknowledgement and the removal from the spool, again and again, as a backlog drains."""
    with stage.load():
        for node in stage.cluster.nodes:
            node.kill()
        stage.wait(120)
        stage.cluster.restore()
        _killed_at_its_point(stage, 120)
        stage.wait(20)


def _killed_at_its_point(stage: Stage, seconds: float) -> None:
    deaths = stage.keep_alive(seconds)
    stage.measured["kills"] = deaths
    stage.expect(deaths, "the daemon never came to the point at which it was to be killed")
    stage.daemon.heal()


def daemon_ended(stage: Stage) -> None:
    """SIGTERM twenty times, every fifth with the brokers away."""
    with stage.load():
        for round_ in range(20):
            stage.wait(10)
            if away := round_ % 5 == 4:
                for node in stage.cluster.nodes:
                    node.kill()
            code = stage.daemon.terminate()
            stage.expect(code == 0, f"SIGTERM ended the daemon with exit code {code}")
            stage.daemon.start()
            if away:
                stage.cluster.restore()


SCENARIOS = [
    Scenario("01-daemon-killed", daemon_killed),
    Scenario("01-killed-before-answer", killed_before_answer, hook="kill-before-answer"),
    Scenario("01-killed-before-removal", killed_before_removal, hook="kill-before-removal"),
    Scenario("12-daemon-ended", daemon_ended),
]
