"""What a disk does to the index alone: it is full, it hangs, it loses or damages the file. Spans are those at scale 1.

The index is a cache of the log: whatever becomes of it, every webhook is answered in time and none is refused, no state
that comes back is swallowed, and afterwards the daemon decides as before, but for what was refused or unheard.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.faulty import FaultyDaemon
from tests.faults.histories import EXPECTED_SECONDS
from tests.faults.index_file import damage, make_older, overwrite, remove
from tests.faults.known_events import Known
from tests.faults.mutants import TROUBLE
from tests.faults.preloaded import compile_library
from tests.faults.process_stats import timed_start
from tests.faults.scenario import Scenario
from tests.faults.scenarios.disk import end_kafka, mount_tmpfs, occupy
from tests.faults.stage import SETTLE_SECONDS, Stage, Turns
from tests.support.daemon import Daemon

FILE: Final = "index.db"
LISTENING_SECONDS: Final = 2.0
"""After a start, without the wait for a processor: whatever the index is like."""
SLOW: Final = Turns(subjects=100, seconds=8.0, lost=0.0)
HUNG_SECONDS: Final = 11.0
"""Whatever the scale: a state is stored that the index is never told of, and the one before it came so long before the
crash that no retry of it is expected."""
CALM: Final = Turns(subjects=100, seconds=4.0, lost=0.0)
"""For two daemons: each knows what the other published before the next state comes; what is unheard, only one knows.
For an index at its cap: some of what comes back was forgotten."""
CAP_BYTES: Final = 200_000
"""Of the index: enough for a thousand events."""
LAG_SECONDS: Final = 3.5
CALM_SECONDS: Final = 25.0
"""At least, so that a state comes back three times."""


class Trouble:
    """What happens to the index of a daemon, as long as a file is there: for the disk that hangs, and for mutants."""

    def __init__(self, stage: Stage, daemon: FaultyDaemon) -> None:
        """Has to be made before the daemon starts."""
        self._file = stage.folder / "trouble"
        daemon.surroundings[TROUBLE] = str(self._file)

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Have it while the block runs."""
        self._file.touch()
        yield
        self._file.unlink()


def volume_full(stage: Stage) -> None:
    """While Kafka is there, another program fills the volume of the index to its last byte for a minute.

    The index forgets its oldest early then, which are of today: until midnight it is not complete.
    """
    mount_tmpfs(stage)
    trouble = Trouble(stage, stage.daemon)
    with stage.load(turns=Turns()):
        stage.wait_until_usual()  # what has a backlog would need the volume
        began = monotonic()
        others = occupy(stage, leaving=0)
        with trouble.lasting():
            stage.wait(60)
        others.unlink()
        stage.daemon.wait_until("the index is open", _usable, within=SETTLE_SECONDS)
        stage.wait(20)
        stage.observer.index_lost(began)
    stage.measured["times that the oldest were forgotten"] = _forgotten(stage.daemon)
    stage.expect_no_refusal()


def at_its_cap(stage: Stage) -> None:
    """The index is at its cap, and forgets its oldest early, for five minutes."""
    trouble = Trouble(stage, stage.daemon)
    with stage.load(turns=CALM):
        began = monotonic()
        stage.daemon.wait_until("the index is full", _forgotten, within=SETTLE_SECONDS)
        with trouble.lasting():
            Event().wait(max(CALM_SECONDS, stage.span(300)))
        stage.measured["times that the oldest were forgotten"] = _forgotten(stage.daemon)
        stage.observer.index_lost(began)
    stage.expect_no_refusal()


def _usable(daemon: Daemon) -> bool:
    return not daemon.metrics().value("aurora_bridge_index_failed")


def _forgotten(daemon: Daemon) -> float:
    return daemon.metrics().value("aurora_bridge_index_forgotten_total")


def disk_hung(stage: Stage) -> None:
    """The disk of the index hangs for a minute: neither an error nor an end of what is read and written there."""
    trouble = _hanging(stage, stage.daemon)
    with stage.load(turns=Turns()):
        known = Known(stage)
        stage.wait(20)
        with trouble.lasting():
            stage.wait(60)
        _expect_decisions(stage, known, "after the disk hung")
        stage.wait(20)
    stage.expect_no_refusal()


def one_disk_hung(stage: Stage) -> None:
    """Of two daemons, one has an index whose disk hangs for a minute; states come back, to the one or the other."""
    stage.observer.lag = LAG_SECONDS
    hung = stage.daemons[1]
    trouble = _hanging(stage, hung)
    with stage.load(turns=CALM, copied=("once",)):
        known = Known(stage, hung)
        Event().wait(CALM.seconds)
        with trouble.lasting():
            Event().wait(max(CALM_SECONDS, stage.span(60)))
        _expect_decisions(stage, known, "after the disk hung", hung)
        Event().wait(max(CALM_SECONDS, stage.span(20)))
    stage.expect_no_refusal()


def disk_hung_and_killed(stage: Stage) -> None:
    """While Kafka is away, the disk of the index hangs, and the daemon is killed; at the next start all is well."""
    trouble = _hanging(stage, stage.daemon)
    with stage.load(turns=SLOW):
        Event().wait(SLOW.seconds)
        end_kafka(stage)
        Event().wait(SLOW.seconds)
        with trouble.lasting():
            Event().wait(HUNG_SECONDS)
            stage.daemon.kill()
        stage.observer.index_lost()
        _start(stage, "after the disk of its index hung")
        Event().wait(SLOW.seconds)
        stage.cluster.restore()
        stage.fixed()
        Event().wait(SLOW.seconds)
    stage.expect_no_refusal()


def deleted(stage: Stage) -> None:
    """Somebody deletes the files of the index under load; later the daemon is ended, and started again."""
    trouble = Trouble(stage, stage.daemon)
    with stage.load(turns=Turns()):
        known = Known(stage)
        stage.wait(20)
        began = monotonic()
        remove(stage.daemon.state / FILE)
        with trouble.lasting():
            stage.wait(30)
            _expect_decisions(stage, known, "after the index was deleted")
        code = stage.daemon.terminate()
        stage.expect(code == 0, f"SIGTERM ended the daemon with exit code {code}")
        stage.observer.index_lost(began)
        _start(stage, "without the index")
        _expect_decisions(stage, known, "after a start without the index")
        stage.wait(20)
    stage.expect_no_refusal()


def damaged(stage: Stage) -> None:
    """The index is found damaged at a start, or no database, or an older one; then it is damaged under load."""
    found = {
        "with damaged pages": damage,
        "with random bytes for an index": overwrite,
        "with an index of an older schema": make_older,
    }
    with stage.load(turns=Turns()):
        known = Known(stage)
        for words, change in found.items():
            Event().wait(EXPECTED_SECONDS + 1)  # else retries of what is known would be expected
            _crash_and_start(stage, known, words, change)
        stage.wait(20)
        began = monotonic()
        damage(stage.daemon.state / FILE)
        stage.wait(20)
        stage.observer.index_lost(began)
        _expect_decisions(stage, known, "after pages were damaged under load")
        stage.wait(20)
    stage.expect_no_refusal()


def _hanging(stage: Stage, daemon: FaultyDaemon) -> Trouble:
    trouble = Trouble(stage, daemon)
    library = compile_library("hanging_disk.c", stage.folder)
    flag = daemon.surroundings[TROUBLE]
    daemon.surroundings |= {"LD_PRELOAD": str(library), "FAULT_FLAG": flag, "FAULT_NAME": FILE}
    return trouble


def _expect_decisions(stage: Stage, known: Known, when: str, daemon: FaultyDaemon | None = None) -> None:
    """Expect the index to be complete soon, and the daemon to decide as before."""
    began = monotonic()
    stage.wait_until_complete(daemon)
    stage.measured[f"complete {when}, s"] = round(monotonic() - began, 1)
    known.expect_same_decisions(when)


def _crash_and_start(stage: Stage, known: Known, words: str, change: Callable[[Path], None]) -> None:
    """Kill the daemon, do something to its index, and expect it to start at once, and to decide as before."""
    code = stage.daemon.process.poll()
    stage.expect(code is None, f"before it was started {words}, the daemon ended with exit code {code}")
    stage.daemon.kill()
    change(stage.daemon.state / FILE)
    stage.observer.index_lost()
    _start(stage, words)
    _expect_decisions(stage, known, f"after a start {words}")


def _start(stage: Stage, words: str) -> None:
    """Expect the daemon to start at once; where it does not at all, have it start without the index."""
    try:
        _, seconds = timed_start(stage.daemon)
    except AssertionError:
        stage.expect(False, f"the daemon does not start {words}")  # noqa: FBT003 - it is wrong
        remove(stage.daemon.state / FILE)
        stage.daemon.start()
        return
    stage.expect(seconds < LISTENING_SECONDS, f"the daemon listens {seconds:.1f} s after a start {words}")


SCENARIOS = [
    Scenario("11-index-volume-full", volume_full),
    Scenario("11-index-at-its-cap", at_its_cap, nodes=1, settings={"index__max_bytes": CAP_BYTES}),
    Scenario("11-index-disk-hung", disk_hung),
    Scenario("11-index-disk-hung-and-killed", disk_hung_and_killed, nodes=1),
    Scenario("11-index-disk-hung-one-of-two", one_disk_hung, daemons=2),
    Scenario("11-index-deleted", deleted),
    Scenario("11-index-damaged", damaged),
]
