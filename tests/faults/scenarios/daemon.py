"""What is done to the daemon itself: it is killed, it is ended, it is replaced. Spans are those at scale 1."""

from time import monotonic
from typing import Final

from tests.faults.hooks import BREAK, BROKEN, REPLACED, times
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.support.daemon import Daemon

REPLACED_SECONDS: Final = 5.0


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


def metadata_task_dies(stage: Stage) -> None:
    """The tasks that keep the metadata of the sender's and the follower's client die of an exception, five times."""
    with stage.load():
        for _ in range(5):
            stage.wait(10)
            _replaced(stage, _strike_clients(stage.daemon), "a client without its metadata task")


def _strike_clients(daemon: Daemon) -> float:
    """Return the seconds from the death of the first task to the second new client."""
    broken, replaced = len(times(daemon.folder, BROKEN)), len(times(daemon.folder, REPLACED))
    daemon.process.send_signal(BREAK)
    daemon.wait_until("both tasks died", lambda one: len(times(one.folder, BROKEN)) == broken + 2)
    daemon.wait_until("both clients are new", lambda one: len(times(one.folder, REPLACED)) == replaced + 2)
    return times(daemon.folder, REPLACED)[-1] - times(daemon.folder, BROKEN)[broken]


def sender_dies(stage: Stage) -> None:
    """The sender's own task dies of an exception, again and again: the daemon ends, and is started again."""
    with stage.load():
        for _ in range(5):
            stage.wait(10)
            began = monotonic()
            stage.daemon.process.send_signal(BREAK)
            code = stage.daemon.process.wait(30)
            stage.expect(code == 1, f"without its sender the daemon ended with exit code {code}")
            stage.daemon.start()
            _replaced(stage, monotonic() - began, "a daemon without its sender")
            stage.daemon.wait_until_connected()


def _replaced(stage: Stage, seconds: float, what: str) -> None:
    """Note how long it took to replace a part that had died."""
    words = "slowest replacement, s"
    stage.measured[words] = max(stage.measured.get(words, 0.0), round(seconds, 2))
    stage.expect(seconds <= REPLACED_SECONDS, f"{what} was replaced after {seconds:.1f} s")


SCENARIOS = [
    Scenario("01-daemon-killed", daemon_killed),
    Scenario("01-killed-before-answer", killed_before_answer, hook="kill-before-answer"),
    Scenario("01-killed-before-removal", killed_before_removal, hook="kill-before-removal"),
    Scenario("09-metadata-task-dies", metadata_task_dies, hook="metadata-task-dies"),
    Scenario("09-sender-dies", sender_dies, hook="sender-dies"),
    Scenario("12-daemon-ended", daemon_ended),
]
