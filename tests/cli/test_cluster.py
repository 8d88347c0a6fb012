"""`aurora-bridge cluster`: which cluster is remembered is shown, and another one is accepted where no daemon lives."""

import subprocess
from pathlib import Path

import pytest

from aurora_bridge.dedup.index import FILE as INDEX
from aurora_bridge.state.directory import locked
from tests.cli.in_process import here
from tests.support.broker import KafkaCluster
from tests.support.node import CLUSTER_ID
from tests.support.ports import HOST, free_ports

FORMER = "the-former-one"


def cluster(state: Path, bootstrap: str | None, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return here("cluster", *arguments, state_dir=state, kafka__bootstrap_servers=bootstrap, **settings)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The directory of a daemon that is gone, and that knew another cluster than the one that is there."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "cluster").write_text(f"{FORMER}\n")
    (state / INDEX).touch()
    return state


@pytest.mark.parametrize(
    ("remembered", "setting", "code"),
    [(FORMER, "", 1), (CLUSTER_ID, "", 0), ("", "", 0), (FORMER, CLUSTER_ID, 0), (CLUSTER_ID, FORMER, 1)],
)
def test_the_cluster_that_is_remembered_set_and_there_is_shown(
    kafka1: KafkaCluster, state: Path, remembered: str, setting: str, code: int
) -> None:
    (state / "cluster").write_text(remembered)
    shown = cluster(state, kafka1.bootstrap, "show", kafka__cluster_id=setting)
    assert shown.stdout.splitlines() == [
        f"remembered  {remembered or '-'}",
        f"setting     {setting or '-'}",
        f"kafka       {CLUSTER_ID}",
    ]
    assert (shown.returncode, shown.stderr) == (code, "")


def test_where_no_daemon_lives_the_cluster_that_is_there_is_accepted(kafka1: KafkaCluster, state: Path) -> None:
    accepted = cluster(state, kafka1.bootstrap, "accept")
    assert (accepted.returncode, accepted.stdout) == (0, "")
    assert accepted.stderr == f"{CLUSTER_ID} is accepted in place of {FORMER}.\n"
    assert (state / "cluster").read_text() == f"{CLUSTER_ID}\n"
    assert not (state / INDEX).exists()
    again = cluster(state, kafka1.bootstrap, "accept")
    assert again.returncode == 1
    assert f"is the cluster {CLUSTER_ID}: there is nothing to accept" in again.stderr


@pytest.mark.parametrize("command", ["show", "accept"])
def test_a_kafka_that_is_away_is_told_and_nothing_is_changed(state: Path, command: str) -> None:
    (port,) = free_ports(1)
    ended = cluster(state, f"{HOST}:{port}", command)
    assert ended.returncode == 1
    assert f"Kafka at {HOST}:{port} cannot be read: no connection; " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (state / "cluster").read_text() == f"{FORMER}\n"
    assert (state / INDEX).exists()


@pytest.mark.parametrize("command", ["show", "accept"])
def test_without_kafka_in_the_settings_it_ends_with_exit_code_78(state: Path, command: str) -> None:
    ended = cluster(state, None, command)
    assert ended.returncode == 78
    assert f"cluster {command} needs Kafka" in ended.stderr


def test_a_cluster_that_is_set_is_not_accepted_otherwise(kafka1: KafkaCluster, state: Path) -> None:
    refused = cluster(state, kafka1.bootstrap, "accept", kafka__cluster_id=FORMER)
    assert refused.returncode == 1
    assert "AURORA_BRIDGE_KAFKA__CLUSTER_ID names the cluster" in refused.stderr
    assert (state / "cluster").read_text() == f"{FORMER}\n"


def test_the_cluster_that_is_set_is_accepted_where_it_is_there(kafka1: KafkaCluster, state: Path) -> None:
    accepted = cluster(state, kafka1.bootstrap, "accept", kafka__cluster_id=CLUSTER_ID)
    assert (accepted.returncode, accepted.stderr) == (0, f"{CLUSTER_ID} is accepted in place of {FORMER}.\n")
    assert (state / "cluster").read_text() == f"{CLUSTER_ID}\n"


def test_a_directory_that_remembers_none_takes_any(kafka1: KafkaCluster, state: Path, tmp_path: Path) -> None:
    (state / "cluster").unlink()
    refused = cluster(state, kafka1.bootstrap, "accept")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{state} remembers no cluster" in refused.stderr
    refused = cluster(tmp_path / "nowhere", kafka1.bootstrap, "accept")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nowhere does not exist" in refused.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_that_is_held_by_who_does_not_listen_is_told_and_left_alone(
    kafka1: KafkaCluster, state: Path
) -> None:
    with locked(state):
        ended = cluster(state, kafka1.bootstrap, "accept")
    assert ended.returncode == 1
    assert f"The daemon that holds {state} does not answer at {state}/control.sock" in ended.stderr
    assert (state / INDEX).exists()


def test_an_id_that_can_be_none_is_refused_at_the_start(state: Path) -> None:
    ended = cluster(state, "kafka:9092", "show", kafka__cluster_id="no id")
    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines()
    assert "AURORA_BRIDGE_KAFKA__CLUSTER_ID" in line
    assert "expected up to 200 letters, digits, . _ -" in line
