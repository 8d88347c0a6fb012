"""What a disk does to the index alone: it is full, it hangs, it loses or damages the file. Spans are those at scale 1.

The index is a cache of the log: whatever becomes of it, every webhook is answered in time and none is refused, no state
that comes back is swallowed, and afterwards the daemon decides as before, but for what was refused or unheard.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.faulty import FaultyDaemon
from tests.faults.known import Known
from tests.faults.lies import TROUBLE
from tests.faults.looks import timed_start
from tests.faults.preloaded import compile_library
from tests.faults.scenario import Scenario
from tests.faults.scenarios.disk import end_kafka, mount_tmpfs, occupy
from tests.faults.stage import Stage, Turns

FILE: Final = "index.db"
LISTENING_SECONDS: Final = 2.0
"""After a start, without the wait for a processor: whatever the index is like."""
SLOW: Final = Turns(subjects=100, seconds=8.0, lost=0.0)
HUNG_SECONDS: Final = 11.0
"""Whatever the scale: a state is stored that the index is never told of, and the one before it came so long before the
crash that no retry of it is expected."""
TWO: Final = Turns(subjects=100, seconds=4.0, lost=0.0)
"""For two daemons: each knows what the other published before the next state comes; what is unheard, only one knows."""
LAG_SECONDS: Final = 3.5
TWO_SECONDS: Final = 25.0
"""At least, so that a state comes back three times."""
SCHEMA_3: Final = """
CREATE TABLE journal (number INTEGER PRIMARY KEY, rewritten INTEGER NOT NULL, claims TEXT NOT NULL);
CREATE TABLE seen (
    fingerprint TEXT PRIMARY KEY, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, standing INTEGER NOT NULL,
    repeat INTEGER NOT NULL, time_us INTEGER NOT NULL, id_ms INTEGER NOT NULL, attempt_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE latest (family_key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, first_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE followed (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE instances (name TEXT PRIMARY KEY, time_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (ran_us INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE state (
    last_seq INTEGER NOT NULL, ran_us INTEGER NOT NULL, forgotten_us INTEGER NOT NULL, boot TEXT NOT NULL,
    clean INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 1000000, 0, '', 1);
INSERT INTO seen VALUES ('0123456789abcdef0123456789abcdef', 1, 1, 1, 0, 1790000000000000, 0, 1790000000000000, 1);
PRAGMA user_version = 3
"""
"""The schema of version 0.1.0, before the index became a cache of the log."""


_LEAVES: Final = """
SELECT name, pageno FROM dbstat JOIN sqlite_schema USING (name)
WHERE pagetype = 'leaf' AND sql LIKE '%fingerprint%' ORDER BY pageno
"""


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
    """While Kafka is there, another program fills the volume of the index to its last byte for a minute."""
    mount_tmpfs(stage)
    trouble = Trouble(stage, stage.daemon)
    with stage.load(turns=Turns()):
        known = Known(stage)
        stage.wait(10)
        others = occupy(stage, leaving=0)
        with trouble.lasting():
            stage.wait(60)
        others.unlink()
        _expect_decisions(stage, known, "after the volume was full")
        stage.wait(20)
    stage.expect_no_refusal()


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
    with stage.load(turns=TWO, copied=("once",)):
        known = Known(stage, hung)
        Event().wait(TWO.seconds)
        with trouble.lasting():
            Event().wait(max(TWO_SECONDS, stage.span(60)))
        _expect_decisions(stage, known, "after the disk hung", hung)
        Event().wait(max(TWO_SECONDS, stage.span(20)))
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
        stage.mended()
        Event().wait(SLOW.seconds)
    stage.expect_no_refusal()


def deleted(stage: Stage) -> None:
    """Somebody deletes the files of the index under load; later the daemon is ended, and started again."""
    trouble = Trouble(stage, stage.daemon)
    with stage.load(turns=Turns()):
        known = Known(stage)
        stage.wait(20)
        began = monotonic()
        _remove(stage.daemon.state / FILE)
        with trouble.lasting():
            stage.wait(30)
            known.expect_same_decisions("after the index was deleted")
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
        "with damaged pages": _damage,
        "with random bytes for an index": _overwrite,
        "with an index of an older schema": _make_older,
    }
    with stage.load(turns=Turns()):
        known = Known(stage)
        for words, change in found.items():
            stage.wait(20)
            _crash_and_start(stage, known, words, change)
        stage.wait(20)
        began = monotonic()
        _damage(stage.daemon.state / FILE)
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
        _remove(stage.daemon.state / FILE)
        stage.daemon.start()
        return
    stage.expect(seconds < LISTENING_SECONDS, f"the daemon listens {seconds:.1f} s after a start {words}")


def _damage(path: Path) -> None:
    """Overwrite every other page of the largest table of fingerprints."""
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the write-ahead log would mend them
        (size,) = db.execute("PRAGMA page_size").fetchone()
        leaves = db.execute(_LEAVES).fetchall()
    tables = [name for name, _ in leaves]
    largest = max(tables, key=tables.count)
    with path.open("r+b") as file:
        for page in [page for name, page in leaves if name == largest][::2]:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


def _overwrite(path: Path) -> None:
    _remove(path)
    path.write_bytes(random.Random(1).randbytes(100_000))


def _make_older(path: Path) -> None:
    _remove(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_3)


def _remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


SCENARIOS = [
    Scenario("11-index-volume-full", volume_full),
    Scenario("11-index-disk-hung", disk_hung),
    Scenario("11-index-disk-hung-and-killed", disk_hung_and_killed, nodes=1),
    Scenario("11-index-disk-hung-one-of-two", one_disk_hung, daemons=2),
    Scenario("11-index-deleted", deleted),
    Scenario("11-index-damaged", damaged),
]
