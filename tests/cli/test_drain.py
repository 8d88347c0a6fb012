"""`aurora-bridge drain`: what a replica left behind goes to Kafka, in order, and nothing of it is lost on the way."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from threading import Timer
from unittest.mock import Mock

import pytest

from aurora_bridge.dedup.index import FILE as INDEX
from aurora_bridge.outbox import quarantine
from aurora_bridge.outbox.spool_file import FILE
from tests.cli.in_process import here
from tests.cli.spools import fill
from tests.e2e.load import Load, lost, out_of_order
from tests.e2e.stores import Place, spooled
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PROGRAM, SECONDS, Daemon, environment
from tests.support.ports import HOST, free_ports
from tests.support.topics import create_topics


@pytest.fixture
def nobody() -> str:
    """The address of a Kafka that is away."""
    (port,) = free_ports(1)
    return f"{HOST}:{port}"


def test_the_spool_of_a_killed_daemon_goes_to_kafka_in_order_and_nothing_twice(
    kafka: KafkaCluster | NamedKafka, prefix: str, nobody: str, tmp_path: Path
) -> None:
    load, place = Load(), Place(prefix, kafka.bootstrap)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    with Daemon(tmp_path, kafka__bootstrap_servers=nobody) as daemon:
        with load.on(daemon.url):
            load.wait_for(600, "spooled")
        daemon.kill()
    waiting = [stored.key for stored in spooled(daemon.state)]
    drained = here("drain", str(daemon.state), **settings)
    kept = place.read(daemon)
    assert (drained.returncode, drained.stdout) == (0, "")
    assert drained.stderr.splitlines()[0] == f"{len(waiting)} wait"
    assert drained.stderr.splitlines()[-1] == "nothing waits any more"
    assert sorted(stored.key for stored in kept) == sorted(waiting)
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert spooled(daemon.state) == []
    again = here("drain", str(daemon.state), **settings)
    assert (again.returncode, again.stderr) == (0, "0 wait\nnothing waits any more\n")


def test_what_kafka_rejects_is_told_and_stays_and_so_does_what_was_quarantined(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, f"{prefix}lead_changed", config={"max.message.bytes": "2000"})
    fill(tmp_path, make_record("quarantined"), quarantined="message_too_large")
    fill(tmp_path, make_record("large", size=5000), make_record("small"))
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    drained = here("drain", str(tmp_path), **settings)
    assert drained.returncode == 0
    assert f"2 are quarantined and stay. AURORA_BRIDGE_STATE_DIR={tmp_path} aurora-bridge quarantine" in drained.stderr
    assert [stored.key for stored in spooled(tmp_path)] == ["quarantined", "large"]
    assert [stored.key for stored in Place(prefix, kafka.bootstrap).read(Daemon(tmp_path))] == ["small"]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR], ids=["full", "an I/O error"])
def test_a_rejected_event_that_cannot_be_quarantined_is_left_and_told(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A quarantined row is longer, and needs room."""
    error = sqlite3.OperationalError("not now")
    error.sqlite_errorcode = code
    create_topics(kafka.bootstrap, f"{prefix}lead_changed", config={"max.message.bytes": "2000"})
    fill(tmp_path, make_record("small"), make_record("large", size=5000))
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    with monkeypatch.context() as failing:
        failing.setattr(quarantine, "add", Mock(side_effect=error))
        drained = here("drain", str(tmp_path), **settings)
    assert drained.returncode == 1
    assert " are left: the spool has no room to quarantine them, or its disk failed." in drained.stderr
    assert "nothing waits any more" not in drained.stderr
    again = here("drain", str(tmp_path), **settings)
    assert (again.returncode, "\nnothing waits any more\n1 are quarantined and stay." in again.stderr) == (0, True)


def test_a_quarantined_event_that_is_damaged_is_counted_like_any_other(tmp_path: Path, nobody: str) -> None:
    fill(tmp_path, make_record("damaged"), quarantined="message_too_large")
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("UPDATE events SET value='{'")
        db.commit()
    drained = here("drain", str(tmp_path), kafka__bootstrap_servers=nobody)
    assert drained.returncode == 0
    assert "1 are quarantined and stay." in drained.stderr


def move_away(state: Path) -> None:
    """Move the damaged spool, with what belongs to it, out of the state directory."""
    for file in state.glob(f"{FILE}.broken-*"):
        file.unlink()


def test_a_damaged_event_ends_one_run_and_the_next_drains_the_others(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, f"{prefix}lead_changed")
    fill(tmp_path, *map(make_record, "abc"))
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("UPDATE events SET value='{' WHERE seq=2")
        db.commit()
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    ended = here("drain", str(tmp_path), **settings)
    assert ended.returncode == 1
    assert (
        "3 are left: the disk failed, or damaged the spool. The next run salvages what can be read. What"
        in ended.stderr
    )
    again = here("drain", str(tmp_path), **settings)
    assert again.returncode == 1
    assert "2 readable rows were salvaged" in again.stderr
    assert "Events may be lost" in again.stderr
    move_away(tmp_path)
    assert here("drain", str(tmp_path), **settings).returncode == 0
    assert [stored.key for stored in Place(prefix, kafka.bootstrap).read(Daemon(tmp_path))] == ["a", "c"]


def test_where_events_were_lost_with_a_damaged_spool_it_fails_until_somebody_has_moved_that_away(
    tmp_path: Path, nobody: str
) -> None:
    fill(tmp_path, *(make_record(f"{number}", size=1000) for number in range(20)))
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * ((tmp_path / FILE).stat().st_size - 4096))
    first, second = (here("drain", str(tmp_path), kafka__bootstrap_servers=nobody) for _ in range(2))
    assert "0 readable rows were salvaged" in first.stderr
    for failed in (first, second):
        assert failed.returncode == 1
        assert f"Events may be lost: {FILE} was damaged, and is kept in {tmp_path} as {FILE}.broken-" in failed.stderr
    move_away(tmp_path)
    drained = here("drain", str(tmp_path), kafka__bootstrap_servers=nobody)
    assert (drained.returncode, drained.stderr) == (0, "0 wait\nnothing waits any more\n")


def test_a_spool_whose_salvage_was_interrupted_is_drained(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    fill(tmp_path, make_record("a"))
    (tmp_path / FILE).rename(tmp_path / f"{FILE}.salvaged")
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    drained = here("drain", str(tmp_path), **settings)
    assert (drained.returncode, drained.stderr.splitlines()) == (0, ["1 wait", "nothing waits any more"])


def test_a_directory_in_which_a_daemon_lives_is_left_to_it(tmp_path: Path, nobody: str) -> None:
    with Daemon(tmp_path, kafka__bootstrap_servers=nobody) as daemon:
        assert daemon.get("/lead_changed?lead_id=1").status == 200
        refused = here("drain", str(daemon.state), kafka__bootstrap_servers=nobody)
        assert daemon.get("/lead_changed?lead_id=2").status == 200
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"is in use by a running aurora-bridge (process {daemon.process.pid})" in refused.stderr


def test_when_kafka_is_away_it_gives_up_and_everything_stays(tmp_path: Path, nobody: str) -> None:
    fill(tmp_path, make_record("1"), make_record("2"))
    left = here("drain", str(tmp_path), "--patience", "0.3", kafka__bootstrap_servers=nobody)
    assert left.returncode == 1
    waiting, problem = left.stderr.splitlines()
    assert waiting == "2 wait"
    assert problem.startswith(f"2 are left: Kafka accepted nothing for 0.3 s. {nobody}: no connection; ")
    assert f"What is left stays in {tmp_path}; run this again" in problem
    assert [stored.key for stored in spooled(tmp_path)] == ["1", "2"]


def test_a_topic_that_is_missing_is_named_and_the_others_are_drained(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, f"{prefix}lead_changed")
    fill(tmp_path, make_record("1"), make_record("2", "project_created"))
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    left = here("drain", str(tmp_path), "--patience", "2", kafka__create_topics=False, **settings)
    assert left.returncode == 1
    assert (
        f"1 are left: Kafka accepted nothing for 2 s. Missing or without a leader: {prefix}project_created. "
        in left.stderr
    )
    assert [stored.key for stored in spooled(tmp_path)] == ["2"]


def test_the_directory_of_another_cluster_than_the_setting_names_is_left_alone(tmp_path: Path, nobody: str) -> None:
    fill(tmp_path, make_record("1"))
    (tmp_path / "cluster").write_text("the-former-one\n")
    (tmp_path / INDEX).touch()
    refused = here("drain", str(tmp_path), kafka__bootstrap_servers=nobody, kafka__cluster_id="the-new-one")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"{tmp_path} belongs to the Kafka cluster the-former-one, and AURORA_BRIDGE_KAFKA__CLUSTER_ID names "
        "the-new-one. To publish its events there all the same: "
        f"AURORA_BRIDGE_STATE_DIR={tmp_path} aurora-bridge cluster accept.\n"
    )
    assert (tmp_path / "cluster").read_text() == "the-former-one\n"
    assert (tmp_path / INDEX).exists()
    assert [stored.key for stored in spooled(tmp_path)] == ["1"]


def test_it_can_be_stopped_and_says_what_is_left(tmp_path: Path, nobody: str) -> None:
    fill(tmp_path, make_record("1"))
    process = subprocess.Popen(
        [PROGRAM, "drain", tmp_path],
        env=environment(kafka__bootstrap_servers=nobody),
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = Timer(SECONDS, process.kill)
    watchdog.start()
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "1 wait\n"
        os.kill(process.pid, signal.SIGTERM)
        said = process.stderr.read()
    watchdog.cancel()
    assert process.returncode == 1
    assert "1 are left: it was stopped." in said
    assert "Traceback" not in said


def test_a_folder_that_is_no_state_directory_is_told_and_left_alone(tmp_path: Path, nobody: str) -> None:
    refused = here("drain", str(tmp_path), kafka__bootstrap_servers=nobody)
    assert refused.returncode == 1
    assert f"{tmp_path} holds no spool.db" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_kafka_in_the_settings_it_ends_with_exit_code_78(tmp_path: Path) -> None:
    fill(tmp_path, make_record("1"))
    refused = here("drain", str(tmp_path))
    assert refused.returncode == 78
    assert "AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS (kafka.bootstrap_servers in the file): not set" in refused.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf"])
def test_patience_is_a_number_of_seconds(tmp_path: Path, seconds: str) -> None:
    refused = here("drain", str(tmp_path), f"--patience={seconds}")
    assert refused.returncode == 2
    assert f"'{seconds}' is not a number of seconds above 0, as in 60, 0.5 or 10m." in refused.stderr
