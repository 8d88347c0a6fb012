"""Mutants, each under the fault that shows it: the ledger must find every one of them out."""

from dataclasses import replace
from typing import Final

from tests.faults.scenario import TWICE, Scenario
from tests.faults.scenarios import answers, controller, index, leadership, line, quota, refused
from tests.faults.scenarios.brokers import brokers_killed
from tests.faults.scenarios.daemon import daemon_killed
from tests.faults.scenarios.disk import CAP_BYTES
from tests.faults.scenarios.fsync import AFTER_FAILURE, fsync_fails, fsync_fails_once
from tests.faults.scenarios.power import power_lost
from tests.faults.stage import Stage

LOSS: Final = "acknowledged and lost"
SEVERAL_IDS: Final = "one event under several ids"
NO_START: Final = "the daemon does not start with damaged pages"
MARKS: Final = {
    LOSS,
    NO_START,
    AFTER_FAILURE,
    SEVERAL_IDS,
    leadership.COPIES,
    line.AGAIN,
    line.SLOWLY,
    line.BESIDE,
    TWICE,
    quota.LOST,
    quota.UNNAMED,
    answers.HELD_UP,
    controller.NOT_BACK,
    controller.NOT_STARTED,
}
"""What the controls may be found out by."""


def nothing(stage: Stage) -> None:
    """Let the load run."""
    with stage.load():
        stage.wait(60)


HONEST = Scenario("control-nothing-happens", nothing)
"""The same load and judge without any fault."""

_OF_THE_SENDER = [
    ("control-sequence-freed", "06-leadership-lost", "frees-sequence", leadership.COPIES),
    ("control-sequence-freed-no-spool", "06-leadership-lost-no-spool", "frees-sequence", LOSS),
    ("control-any-metadata-believed", "06-partitions-added", "believes-any-metadata", LOSS),
    ("control-never-suspects", "07-record-fails", "never-suspects", answers.HELD_UP),
    ("control-unbounded-slow", "08-line-slow", "unbounded", line.SLOWLY),
    ("control-unbounded-narrow", "08-line-narrow", "unbounded", line.AGAIN),
    ("control-unbounded-beside-a-backlog", "08-line-slow-beside-a-backlog", "unbounded", line.BESIDE),
    ("control-impatient-beside-a-backlog", "08-line-slow-beside-a-backlog", "impatient", TWICE),
    ("control-round-trip-forgotten", "08-line-long", "round-trip-forgotten", line.SLOWLY),
    ("control-quota-unheard", "21-quota-on-bytes-small", "quota-unheard", quota.LOST),
    ("control-quota-unheard-request-time", "21-quota-on-request-time", "quota-unheard", quota.UNNAMED),
    ("control-needs-controller", "04-controller-away", "needs-controller", controller.NOT_STARTED),
    ("control-asks-once", "10-start-no-producer-ids", "asks-once", controller.NOT_BACK),
    ("control-asks-once-no-topics", "10-start-controller-away", "asks-once", controller.NOT_BACK),
]
"""Control, the scenario that it plays, its mutant (`sender_mutants`), and what is found."""
_BY_NAME = {one.name: one for kind in (answers, controller, leadership, line, quota) for one in kind.SCENARIOS}

CONTROLS = [
    Scenario("control-acks-0", brokers_killed, broken="acks-0", finds=LOSS),
    Scenario("control-no-spool", brokers_killed, broken="no-spool", finds=LOSS),
    Scenario("control-answer-before-commit", daemon_killed, broken="early", finds=LOSS),
    Scenario("control-no-dedup", nothing, broken="no-dedup", finds=SEVERAL_IDS),
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
    *(
        replace(_BY_NAME[name], name=control, broken=mutant, finds=finds)
        for control, name, mutant, finds in _OF_THE_SENDER
    ),
]
