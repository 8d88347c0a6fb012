"""Daemons that lie, each under the fault that shows it: the ledger must find every one of them out."""

from tests.faults.scenario import Scenario
from tests.faults.scenarios.brokers import brokers_killed
from tests.faults.scenarios.daemon import daemon_killed
from tests.faults.scenarios.fsync import fsync_fails_once
from tests.faults.stage import Stage


def nothing(stage: Stage) -> None:
    """Let the load run."""
    with stage.load():
        stage.wait(60)


HONEST = Scenario("control-nothing-happens", nothing)
"""The same load and judge without any fault."""

CONTROLS = [
    Scenario("control-acks-0", brokers_killed, broken="acks-0"),
    Scenario("control-no-spool", brokers_killed, broken="no-spool"),
    Scenario("control-answer-before-commit", daemon_killed, broken="early"),
    Scenario("control-no-dedup", nothing, broken="no-dedup"),
    Scenario(
        "control-seen-before-durable",
        brokers_killed,
        broken="seen-early",
        settings={"spool__enabled": False},
    ),
    Scenario("control-fsync-ignored", fsync_fails_once, broken="fsync-ignored"),
]
