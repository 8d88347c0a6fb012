"""What a disk does to the state directory: it is full, it damages files, it is shared. Spans are those at scale 1."""

import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

from tests.faults.scenario import Scenario, UnavailableError
from tests.faults.stage import SETTLE_SECONDS, Stage
from tests.support.daemon import command
from tests.support.http import get

CAP_BYTES = 1_000_000
VOLUME_BYTES = 64 * 2**20
LEFT_BYTES = 9 * 2**20
"""Of these, the daemon keeps 4 MiB for emptying its files."""
BLOCK_BYTES = 4096
FILES = ("index.db", "spool.db")


def spool_at_its_cap(stage: Stage) -> None:
    """Kafka is away until the spool is at its cap, and for a minute more."""
    with stage.load():
        stage.wait(10)
        fill_spool(stage)
        stage.wait(60)
        stage.cluster.restore()
        stage.wait(20)
    expect_empty_and_whole(stage)


def volume_full(stage: Stage) -> None:
    """The volume of the state directory fills up while Kafka is away, which lasts for a minute more."""
    mount_tmpfs(stage)
    with stage.load():
        stage.wait(10)
        occupy(stage, leaving=LEFT_BYTES)
        fill_spool(stage)
        stage.wait(60)
        stage.cluster.restore()
        stage.wait(20)
    expect_empty_and_whole(stage)


def volume_filled_by_others(stage: Stage) -> None:
    """While Kafka is away, another program fills the volume to its last byte for a minute."""
    mount_tmpfs(stage)
    with stage.load():
        stage.wait(10)
        end_kafka(stage)
        stage.wait(10)
        others = occupy(stage, leaving=0)
        stage.wait(60)
        stage.expect(stage.probe().status == 503, "a volume without a byte left took an event")
        others.unlink()
        stage.wait(10)
        stage.cluster.restore()
        stage.wait(20)
    expect_empty_and_whole(stage)


def files_overwritten(stage: Stage) -> None:
    """The daemon is ended and its index is no database any more; then the same with the spool, which was empty."""
    with stage.load():
        for name in FILES:
            stage.wait(20)
            _end_with_empty_spool(stage)
            _overwrite(stage.daemon.state / name)
            stage.daemon.start()
            if name == "spool.db":
                _expect_moved_away(stage, name)
            else:
                _expect_rebuilt(stage, name)
            stage.wait(20)
    expect_empty_and_whole(stage)


def spool_damaged(stage: Stage) -> None:
    """The daemon is killed while events wait in the spool, and pages of its file are damaged that hold no event."""
    with stage.load():
        stage.wait(10)
        end_kafka(stage)
        stage.wait(20)
        stage.daemon.kill()
        _damage(stage.daemon.state / "spool.db")
        stage.daemon.start()
        _expect_moved_away(stage, "spool.db")
        stage.cluster.restore()
        stage.wait(20)
    expect_empty_and_whole(stage)


def second_process(stage: Stage) -> None:
    """Under load, another daemon is started with the same state directory, and a drain of it, five times."""
    state = stage.daemon.state
    refusal = re.compile(rf"{re.escape(str(state))} is used by .*aurora-bridge \(process \d+\)")
    with stage.load():
        for _ in range(5):
            stage.wait(5)
            kafka = {"kafka__bootstrap_servers": stage.cluster.bootstrap, "kafka__topic_prefix": stage.prefix}
            for words in (["serve"], ["drain", str(state)]):
                done = command(*words, cwd=stage.folder, ingress__port=0, admin__port=0, state_dir=state, **kafka)
                said = done.returncode != 0 and refusal.search(done.stderr) and "Traceback" not in done.stderr
                stage.expect(said, f"{words[0]} beside a daemon: exit code {done.returncode}, {done.stderr}")


def end_kafka(stage: Stage) -> None:
    """Kill all brokers."""
    for node in stage.cluster.nodes:
        node.kill()


def _end_with_empty_spool(stage: Stage) -> None:
    """End the daemon at a moment when nothing waits in its spool.

    In order: of answers that a crash takes with it, only the index knows, and that is to be lost.
    """
    while True:
        stage.daemon.wait_until_connected()
        stage.daemon.terminate()
        if not _rows(stage.daemon.state / "spool.db"):
            return
        stage.daemon.start()


def _overwrite(path: Path) -> None:
    """Make a file no database any more; its write-ahead log, which would fix it, is gone."""
    path.write_bytes(b"this is no database, whatever its name says. " * 500)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _damage(path: Path) -> None:
    """Overwrite the pages of the list of what waits; the rows themselves stay."""
    with closing(sqlite3.connect(path)) as db:  # its end leaves no write-ahead log, which would fix the pages
        (size,) = db.execute("PRAGMA page_size").fetchone()
        pages = [page for (page,) in db.execute("SELECT pageno FROM dbstat WHERE name='waiting'")]
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


def _expect_moved_away(stage: Stage, name: str) -> None:
    """Expect a broken file to be kept under a name with the time, and log, metric and status page to say so."""
    daemon = stage.daemon
    kept = [path.name for path in daemon.state.glob(f"{name}.broken-*") if not path.name.endswith(("-wal", "-shm"))]
    stage.expect(len(kept) == 1, f"moved away of {name}: {kept}")
    stage.expect(all(re.fullmatch(rf"{name}\.broken-\d{{8}}T\d+", found) for found in kept), f"names {kept}")
    said = [line for line in daemon.log_lines() if line["level"] == "ERROR" and "moved to" in line["message"]]
    stage.expect(any(name in line["message"] for line in said), f"the log does not say that {name} was moved away")
    counted = daemon.metrics().value("aurora_bridge_broken_files", file=name)
    stage.expect(counted == 1, f"the metric says that {counted:g} files called {name} were moved away")
    page = get(daemon.admin_url, "/").body.decode()
    stage.expect(all(found in page for found in kept), f"the status page does not name {kept}")


def _expect_rebuilt(stage: Stage, name: str) -> None:
    """Expect a broken file to be replaced by one that knows all, and the log to say so; nothing is kept of it."""
    daemon = stage.daemon
    daemon.wait_until("it is rebuilt", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))
    kept = [path.name for path in daemon.state.glob(f"{name}.broken-*")]
    stage.expect(not kept, f"moved away: {kept}")
    said = [line["message"] for line in daemon.log_lines() if "rebuilding it from the log" in line["message"]]
    stage.expect(any(name in message for message in said), f"the log does not say that {name} is rebuilt")


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (rows,) = db.execute("SELECT count(*) FROM events").fetchone()
    return int(rows)


def occupy(stage: Stage, *, leaving: int) -> Path:
    """Be another program that has a file on the volume, and takes all of that but so many bytes; return the file."""
    path = stage.daemon.state / "of-another-program"
    with path.open("wb", buffering=0) as file, suppress(OSError):  # raised where the last byte is taken
        while shutil.disk_usage(path).free > leaving or not leaving:
            file.write(bytes(BLOCK_BYTES))
    return path


def fill_spool(stage: Stage) -> None:
    """Kill the brokers, and return when the daemon refuses what it cannot store."""
    end_kafka(stage)
    stage.daemon.wait_until("the spool is full", lambda daemon: daemon.ready()[0] == 503, within=SETTLE_SECONDS)
    answer = stage.daemon.wait_until("a delivery is refused", lambda _: _refusal(stage))
    stage.expect(answer == (503, "spool_full", "30"), f"a full spool answered {answer}")


def _refusal(stage: Stage) -> tuple[int, str, str] | None:
    answer = stage.probe()
    if answer.status == 200:
        return None
    return answer.status, answer.reason, answer.retry_after


def expect_empty_and_whole(stage: Stage) -> None:
    """Expect no row that waits in the spool, whatever the metric says, and both files to be in order."""
    for name in FILES:
        with closing(sqlite3.connect(f"file:{stage.daemon.state / name}?mode=ro", uri=True)) as db:
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            stage.expect(verdict == "ok", f"integrity_check of {name}: {verdict}")
            if name == "spool.db":
                (rows,) = db.execute("SELECT count(*) FROM events").fetchone()
                stage.expect(rows == 0, f"{rows} rows are left in the spool")


def mount_tmpfs(stage: Stage) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        message = "a volume of its own (tmpfs) takes root and mount(8); run the tests as root where that may mount"
        raise UnavailableError(message)
    state = stage.daemon.state
    state.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "aurora-bridge-faults", str(state)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        message = f"no tmpfs can be mounted here: {done.stderr.strip()}"
        raise UnavailableError(message)
    stage.undo.callback(subprocess.run, ["umount", str(state)], check=True)


SCENARIOS = [
    Scenario("11-spool-at-its-cap", spool_at_its_cap, settings={"spool__max_bytes": CAP_BYTES}),
    Scenario("11-volume-full", volume_full),
    Scenario("11-volume-filled-by-others", volume_filled_by_others),
    Scenario("11-files-overwritten", files_overwritten),
    Scenario("11-spool-damaged", spool_damaged),
    Scenario("11-second-process", second_process),
]
