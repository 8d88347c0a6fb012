"""What is done to the daemon itself: it is killed, it is ended, it is replaced. Spans are those at scale 1."""

import subprocess
from collections.abc import Mapping
from itertools import cycle
from threading import Event
from time import monotonic
from typing import Final

from aurora_bridge.outbox.inspect import inspect_spool
from tests.faults.hooks import BREAK, BROKEN, REPLACED, times
from tests.faults.manual_sender import KINDS, Answer, Webhook
from tests.faults.process_stats import timed_start
from tests.faults.scenario import Scenario
from tests.faults.stage import SETTLE_SECONDS, Stage
from tests.support.daemon import PROGRAM, Daemon, environment
from tests.support.node import KafkaNode

REPLACED_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 30.0
"""What systemd's unit and compose.yaml leave the daemon to end."""
RESTART_SECONDS: Final = 2.0
"""What systemd's unit waits before it starts a daemon again that failed (`RestartSec`)."""
COPIED: Final = ("once",)
"""A replica that has not read up to the end of Kafka, or knows nothing of what is in the spool of another, can give the
copy of a state an id of its own, as docs/guarantees.md says; that of a once-event never."""
KNOWN_SECONDS: Final = 10.0
"""Within which a replica knows what was published beside it. It takes 2 s on a calm cluster."""
LEFT: Final = 50
"""Webhooks of each kind that are in the spool that is left behind, and come again."""


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


def metadata_task_dies(stage: Stage) -> None:
    """The tasks that keep the metadata of the sender's and the follower's client die of an exception, five times."""
    with stage.load():
        for _ in range(5):
            stage.wait(10)
            _replaced(stage, _strike_clients(stage.daemon), "a client without its metadata task")


def _strike_clients(daemon: Daemon) -> float:
    """Return the most seconds from the death of a task to a new client: two die, each when it next asks."""
    broken, replaced = len(times(daemon.folder, BROKEN)), len(times(daemon.folder, REPLACED))
    daemon.process.send_signal(BREAK)
    daemon.wait_until("both tasks died", lambda one: len(times(one.folder, BROKEN)) == broken + 2)
    daemon.wait_until("both clients are new", lambda one: len(times(one.folder, REPLACED)) == replaced + 2)
    deaths, new = times(daemon.folder, BROKEN)[-2:], times(daemon.folder, REPLACED)[-2:]
    return max(after - before for before, after in zip(deaths, new, strict=True))


def sender_dies(stage: Stage) -> None:
    """The sender's task dies of an exception, again and again: the daemon ends, and 2 s later is started again."""
    with stage.load():
        for _ in range(5):
            stage.wait(10)
            began = monotonic()
            stage.daemon.process.send_signal(BREAK)
            code = stage.daemon.process.wait(30)
            ended = monotonic() - began
            stage.expect(code == 1, f"without its sender the daemon ended with exit code {code}")
            Event().wait(RESTART_SECONDS)
            _, started = timed_start(stage.daemon)
            _keep_most(stage, "slowest end without a sender, s", ended)
            _replaced(stage, ended + RESTART_SECONDS + started, "a daemon without its sender")
            stage.daemon.wait_until_connected()


def _replaced(stage: Stage, seconds: float, what: str) -> None:
    """Note how long it took to replace a part that had died."""
    _keep_most(stage, "slowest replacement, s", seconds)
    stage.expect(seconds <= REPLACED_SECONDS, f"{what} was replaced after {seconds:.1f} s")


def _keep_most(stage: Stage, words: str, value: float) -> None:
    stage.measured[words] = max(stage.measured.get(words, 0.0), round(value, 2))


def daemon_ended(stage: Stage) -> None:
    """SIGTERM twenty times, every fifth with the brokers away."""
    with stage.load():
        for round_ in range(20):
            stage.wait(10)
            if away := round_ % 5 == 4:
                for node in stage.cluster.nodes:
                    node.kill()
            _end(stage, stage.daemon)
            stage.daemon.start()
            if away:
                stage.cluster.restore()


def rolling_restart(stage: Stage) -> None:
    """Two daemons and three brokers are restarted one after the other, for ten minutes."""
    with stage.load(copied=COPIED):
        end = monotonic() + stage.span(600)
        parts: list[Daemon | KafkaNode] = [*stage.daemons, *stage.cluster.nodes]
        for one in cycle(parts):
            stage.wait(10)
            if monotonic() > end:
                break
            if isinstance(one, Daemon):
                _end(stage, one)
                one.start()
            else:
                one.terminate()
                one.restart()


def _end(stage: Stage, daemon: Daemon) -> None:
    """End a daemon with SIGTERM; it has to obey in good order, and in time."""
    began = monotonic()
    code = daemon.terminate()
    seconds = monotonic() - began
    _keep_most(stage, "slowest end, s", seconds)
    stage.expect(code == 0, f"SIGTERM ended the daemon with exit code {code}")
    stage.expect(seconds < GRACE_SECONDS, f"the daemon took {seconds:.1f} s to end")


def volume_left_behind(stage: Stage) -> None:
    """A daemon ends while Kafka is away; another takes its place on a new volume, and `drain` empties the old one."""
    with stage.load(copied=COPIED):
        stage.wait(20)
        for node in stage.cluster.nodes:
            node.kill()
        stage.wait(60)
        webhooks = [stage.manual.new(kind) for kind in KINDS for _ in range(LEFT)]
        told = {webhook: stage.manual.send(webhook, stage.daemon.url) for webhook in webhooks}
        stage.expect({one.outcome for one in told.values()} == {"spooled"}, "not all went to the spool")
        _end(stage, stage.daemon)
        left = stage.replace()
        stage.measured["left behind"] = _waiting(left)
        stage.expect(_waiting(left), "the volume that was left behind has an empty spool")
        stage.daemon.start()
        _send_again(stage, {webhook: one for webhook, one in told.items() if webhook.kind in COPIED}, "before")
        stage.cluster.restore()
        drained = subprocess.run(
            [PROGRAM, "drain", left.state],
            check=False,
            cwd=left.folder,
            env=environment(
                kafka__bootstrap_servers=stage.cluster.bootstrap, kafka__topic_prefix=stage.prefix, state_dir=left.state
            ),
            capture_output=True,
            text=True,
            timeout=SETTLE_SECONDS,
        )
        stage.expect(drained.returncode == 0, f"`drain` ended with exit code {drained.returncode}: {drained.stderr}")
        stage.expect(not _waiting(left), f"{_waiting(left)} are still in the spool after `drain`")
        stage.wait(20)
        Event().wait(KNOWN_SECONDS)
        outcomes = _send_again(stage, told, "after")
        stage.expect(outcomes == {"duplicate"}, f"what was drained was answered {outcomes} when it came again")


def _send_again(stage: Stage, told: Mapping[Webhook, Answer], when: str) -> set[str]:
    """Send what is on the volume that was left behind, as its like; return the outcomes."""
    again = {webhook: stage.manual.send(webhook, stage.daemon.url, attempt=2) for webhook in told}
    anew = sum(again[webhook].id != one.id for webhook, one in told.items())
    stage.expect(not anew, f"{when} `drain`, {anew} of {len(told)} that came again got another id")
    return {one.outcome for one in again.values()}


def _waiting(daemon: Daemon) -> int:
    with inspect_spool(daemon.state) as db:
        (count,) = db.execute("SELECT count(*) FROM events").fetchone()
        return int(count)


SCENARIOS = [
    Scenario("01-daemon-killed", daemon_killed),
    Scenario("01-killed-before-answer", killed_before_answer, hook="kill-before-answer"),
    Scenario("01-killed-before-removal", killed_before_removal, hook="kill-before-removal"),
    Scenario("09-metadata-task-dies", metadata_task_dies, hook="metadata-task-dies"),
    Scenario("09-sender-dies", sender_dies, hook="sender-dies"),
    Scenario("12-daemon-ended", daemon_ended),
    Scenario("12-rolling-restart", rolling_restart, daemons=2),
    Scenario("20-volume-left-behind", volume_left_behind),
]
