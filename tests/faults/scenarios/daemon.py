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
    Scenario("12-daemon-ended", daemon_ended),
]
