"""Brokers whose answers mislead: metadata from before, and an error that says nothing. Spans are those at scale 1."""

from functools import partial
from threading import Event
from time import monotonic
from typing import Final, cast

from tests.faults.frames import MARKER, FailingCluster, LaggingCluster
from tests.faults.scenario import Scenario
from tests.faults.scenarios.line import wait_until
from tests.faults.scenarios.order import rounds
from tests.faults.scenarios.partitions import HELD, backlog, expect_flow
from tests.faults.stage import AUTHENTICATED, EVENTS, SETTLE_SECONDS, Stage
from tests.support.daemon import command
from tests.support.proxy import Proxy
from tests.support.topics import add_partitions, create_topics, end_of

GROWING: Final = "lead_created"
"""The event whose topic gets partitions. Each is of a subject of its own, which a new partition moves nowhere."""
LOST_SECONDS: Final = 0.5
LAG_SECONDS: Final = 1.0
HELD_UP: Final = "one record that fails holds up its topic"


def partitions_added(stage: Stage) -> None:
    """A topic gets one partition more again and again, answers are lost, and brokers lag: they tell of one."""
    cluster, topic = cast("LaggingCluster", stage.cluster), stage.prefix + GROWING
    create_topics(cluster.plain, topic, partitions=1)
    with stage.load():
        cluster.memory.remember()
        for number in range(1, 1 + rounds(stage, 60)):
            stage.daemon.wait_until_connected()
            add_partitions(cluster.plain, topic, number + 1)
            cluster.tell(Proxy.cut)  # so that the daemon looks at the cluster
            wait_until(partial(end_of, cluster.plain, topic, number), monotonic() + SETTLE_SECONDS)
            cluster.tell(Proxy.lose_answers)
            Event().wait(LOST_SECONDS)
            cluster.memory.lags = True
            cluster.tell(Proxy.cut)
            Event().wait(LAG_SECONDS)
            cluster.memory.lags = False
            cluster.tell(Proxy.cut)
        stage.wait(20)
    stage.measured["answers with metadata from before"] = cluster.memory.told_from_before
    stage.expect(cluster.memory.told_from_before, "no broker lagged: nothing was tried")


def unknown_error(stage: Stage) -> None:
    """A broker answers UNKNOWN_SERVER_ERROR for every batch with one certain event, among others of its topic."""
    stage.beside = lambda record: MARKER in (record.value or b"")
    with stage.load():
        usual, began = stage.wait_until_usual(), monotonic()
        answer = stage.daemon.get(f"/{HELD}?lead_id=marked&note={MARKER.decode()}", AUTHENTICATED)
        stage.expect(answer.status == 200, f"the event at fault is answered {answer.status}")
        wait_until(lambda: _quarantined(stage) and not backlog(stage.daemon, HELD), monotonic() + HELD_SECONDS)
        stage.measured["until its topic flowed again, s"] = round(monotonic() - began, 1)
        waiting = backlog(stage.daemon, HELD)
        stage.expect(not waiting, f"{HELD_UP}: {waiting:g} events wait after {HELD_SECONDS:g} s")
        since = monotonic()
        stage.wait(30)
        answers = stage.answers_by_event(since)[HELD]
        stage.expect(
            any('"published"' in line["body"] for line in answers), f"{HELD_UP}: none of {len(answers)} is published"
        )
        listed = command("quarantine", "list", cwd=stage.daemon.folder, state_dir=stage.daemon.state).stdout
        stage.expect("unknown_server_error" in listed, f"`quarantine list` does not show it: {listed}")
        stage.expect(_quarantined(stage) == 1, f"the metric says that {_quarantined(stage):g} are quarantined")
        expect_flow(stage, usual, began, set(EVENTS.values()) - {HELD})
        cast("FailingCluster", stage.cluster).heal()
        stage.wait(20)


def _quarantined(stage: Stage) -> float:
    return stage.daemon.metrics().value("aurora_bridge_spool_quarantined_events")


HELD_SECONDS: Final = 20.0
"""Three answers, and a few more for each halving; the rest is for a busy machine."""

SCENARIOS = [
    Scenario("06-partitions-added", partitions_added, cluster=LaggingCluster),
    Scenario("07-record-fails", unknown_error, cluster=FailingCluster),
]
