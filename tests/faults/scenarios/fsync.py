"""An fsync of the spool that fails: what was written for it may be there later, or not. Spans are those at scale 1.

A second fsync that succeeds proves nothing: the system takes the pages for written since it told the error (Rebello et
al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). `failing_fsync.c` plays that.
"""

import json
import shutil
import subprocess
from pathlib import Path
from time import monotonic

from tests.faults.scenario import Scenario, UnavailableError
from tests.faults.scenarios.disk import end_kafka, expect_empty_and_whole
from tests.faults.stage import FaultyDaemon, Stage

END_SECONDS = 15.0
GRACE_SECONDS = 0.5
"""Within which what was committed before the failure is still being answered."""
SOURCE = Path(__file__).parents[1] / "failing_fsync.c"


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
    daemon.surroundings |= {"LD_PRELOAD": str(_library(stage)), "FAULT_PATH": "/spool.db", "FAULT_FLAG": str(flag)}
    daemon.surroundings |= how
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
        stage.wait(20)
    late = _stored_after_failure(stage.folder / "journal", again)
    stage.expect(not late, f"{late} webhooks were answered 2xx after the failure")
    expect_empty_and_whole(stage)


def _exit_code(daemon: FaultyDaemon) -> int | None:
    """Return the exit code of a daemon that should end by itself; one that does not is killed."""
    try:
        return daemon.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return None


def _stored_after_failure(journal: Path, until: float) -> int:
    """Return how many were told "spooled" between the first refusal for the failure and the new start."""
    answers = [line for line in map(json.loads, journal.read_text().splitlines()) if "answered" in line]
    refused = [line["at"] for line in answers if '"spool_failed"' in line["body"]]
    since = min(refused, default=until) + GRACE_SECONDS
    return sum(since < line["at"] < until and '"spooled"' in line["body"] for line in answers)


def _library(stage: Stage) -> Path:
    """Compile the library that makes fsync fail. Raises `UnavailableError`."""
    compiler = shutil.which("cc")
    if compiler is None:
        message = "a failing fsync takes a C compiler (Debian: apt-get install gcc libc6-dev)"
        raise UnavailableError(message)
    library = stage.folder / "failing_fsync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


SCENARIOS = [
    Scenario("11-fsync-fails", fsync_fails),
    Scenario("11-fsync-fails-once", fsync_fails_once),
]
