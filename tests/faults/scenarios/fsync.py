"""An fsync of the spool that fails: what was written for it may be there later, or not. Spans are those at scale 1.

A second fsync that succeeds proves nothing: the system takes the pages for written since it told the error (Rebello et
al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). `failing_fsync.c` plays that.
"""

import subprocess
from math import inf
from time import monotonic

from tests.faults.faulty import FaultyDaemon
from tests.faults.preloaded import compile_library
from tests.faults.scenario import Scenario
from tests.faults.scenarios.disk import end_kafka, expect_empty_and_whole
from tests.faults.stage import Stage

END_SECONDS = 15.0
AFTER_FAILURE = "webhooks answered 2xx after an fsync had failed"


def fsync_fails(stage: Stage) -> None:
    """While Kafka is away, each fsync of the spool fails with EIO; what was written is there after a new start."""
    _fail_fsync(stage)


def fsync_fails_once(stage: Stage) -> None:
    """While Kafka is away, one fsync of the spool fails with EIO and loses what it was for; all later ones succeed."""
    _fail_fsync(stage, FAULT_ONCE="1", FAULT_DROP="1")


def _fail_fsync(stage: Stage, **how: str) -> None:
    """Let fsync of the spool fail in this manner (`failing_fsync.c`), expect the daemon to end, and start it again."""
    flag = stage.folder / "fsync-fails"
    daemon = stage.daemon
    mark = stage.folder / "fsync-failed"
    library = compile_library("failing_fsync.c", stage.folder)
    daemon.surroundings |= {"LD_PRELOAD": str(library), "FAULT_PATH": "/spool.db"}
    daemon.surroundings |= {"FAULT_FLAG": str(flag), "FAULT_MARK": str(mark), **how}
    with stage.load():
        stage.wait(10)
        end_kafka(stage)
        stage.wait(20)
        flag.touch()
        code = _exit_code(daemon)
        stage.expect(code == 1, f"after EIO at fsync the daemon ended with exit code {code}")
        said = "the spool failed: disk I/O error" in daemon.log.read_text()
        stage.expect(said, "the log does not say that the spool failed")
        stage.wait(10)
        again = monotonic()
        flag.unlink()
        daemon.start()
        stage.wait(20)
        stage.cluster.restore()
        stage.fixed()
        stage.wait(20)
    failure = float(mark.read_text()) if mark.exists() else inf
    stage.expect(failure < again, "no fsync of the spool was called: nothing was tried")
    late = _stored_after(stage, failure, again)
    stage.expect(not late, f"{AFTER_FAILURE}: {late}")
    expect_empty_and_whole(stage)


def _exit_code(daemon: FaultyDaemon) -> int | None:
    """Return the exit code of a daemon that should end by itself; one that does not is killed."""
    try:
        return daemon.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return None


def _stored_after(stage: Stage, failure: float, until: float) -> int:
    """Return how many webhooks were answered 2xx that were sent after the failure, and before the new start.

    Not counted are copies of what another request had brought before: that may have been stored.
    """
    answers = [answer for answer in stage.answers(until=until) if 200 <= answer["status"] < 300]
    before = {answer["answered"] for answer in answers if answer["at"] - answer["seconds"] <= failure}
    return sum(answer["answered"] not in before for answer in answers if answer["at"] > failure)


SCENARIOS = [
    Scenario("11-fsync-fails", fsync_fails),
    Scenario("11-fsync-fails-once", fsync_fails_once),
]
