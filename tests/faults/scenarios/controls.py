"""Daemons that lie, each under the fault that shows it: the ledger must find every one of them out."""

from typing import Final

from tests.faults.scenario import Scenario
from tests.faults.scenarios import index, refused
from tests.faults.scenarios.brokers import brokers_killed
from tests.faults.scenarios.daemon import daemon_killed
from tests.faults.scenarios.disk import CAP_BYTES
from tests.faults.scenarios.fsync import AFTER_FAILURE, fsync_fails, fsync_fails_once
from tests.faults.scenarios.power import power_lost
from tests.faults.stage import Stage

LOSS: Final = "acknowledged and lost"
NO_START: Final = "the daemon does not start with damaged pages"


def nothing(stage: Stage) -> None:
    """Let the load run."""
    with stage.load():
        stage.wait(60)


HONEST = Scenario("control-nothing-happens", nothing)
"""The same load and judge without any fault."""

CONTROLS = [
    Scenario("control-acks-0", brokers_killed, broken="acks-0", finds=LOSS),
    Scenario("control-no-spool", brokers_killed, broken="no-spool", finds=LOSS),
    Scenario("control-answer-before-commit", daemon_killed, broken="early", finds=LOSS),
    Scenario("control-no-dedup", nothing, broken="no-dedup", finds="one event under several ids"),
    Scenario(
        "control-seen-before-durable",
        brokers_killed,
        broken="seen-early",
        finds=LOSS,
        settings={"spool__enabled": False},
    ),
    Scenario("control-fsync-ignored", fsync_fails_once, broken="fsync-ignored", finds=LOSS),
    Scenario("control-fsync-ignored-always", fsync_fails, broken="fsync-ignored", finds=AFTER_FAILURE),
    Scenario("control-commit-unsynced", power_lost, broken="commit-unsynced", finds=LOSS),
    Scenario(
        "control-refused-forgotten",
        refused.without_a_spool,
        nodes=1,
        broken="forgets-refused",
        finds=LOSS,
        settings={"spool__enabled": False},
    ),
    Scenario(
        "control-refused-forgotten-spool-full",
        refused.with_a_full_spool,
        nodes=1,
        broken="forgets-refused",
        finds=LOSS,
        settings={"spool__max_bytes": CAP_BYTES},
    ),
    Scenario("control-stale-while-full", index.volume_full, broken="stale-in-trouble", finds=LOSS),
    Scenario(
        "control-stale-at-the-cap",
        index.at_its_cap,
        nodes=1,
        broken="stale-in-trouble",
        finds=LOSS,
        settings={"index__max_bytes": index.CAP_BYTES},
    ),
    Scenario("control-stale-while-hung", index.disk_hung, broken="stale-in-trouble", finds=LOSS),
    Scenario(
        "control-stale-while-hung-and-killed",
        index.disk_hung_and_killed,
        nodes=1,
        broken="stale-in-trouble",
        finds=LOSS,
    ),
    Scenario("control-stale-while-one-hung", index.one_disk_hung, daemons=2, broken="stale-in-trouble", finds=LOSS),
    Scenario("control-stale-once-deleted", index.deleted, broken="stale-in-trouble", finds=LOSS),
    Scenario("control-needs-its-index", index.damaged, broken="needs-its-index", finds=NO_START),
]
