"""Commands that meet another Kafka cluster than the daemon's: what would change something refuses, what reads warns."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from aurora_bridge.webhook.catalogue import EVENTS
from tests.cli.in_process import here
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.node import OTHER_CLUSTER_ID
from tests.support.topics import create_topics, topic_names

Run = Callable[..., CompletedProcess[str]]
READING = [("topics",), ("tail",), ("find", "9b34c925c662569cd98229fce412fa1e")]


@pytest.fixture
def run(kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path) -> Run:
    """Return what runs a command beside a state directory, which remembers nothing yet."""
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, "state_dir": tmp_path}
    return lambda *arguments, **more: here(*arguments, **settings, **more)


def test_topics_are_created_in_no_other_cluster(
    run: Run, kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "cluster").write_text(f"{OTHER_CLUSTER_ID}\n")
    refused = run("topics", "--apply")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
    assert "this is not the Kafka cluster" in refused.stderr
    assert f"expected {OTHER_CLUSTER_ID}" in refused.stderr
    assert "run `aurora-bridge cluster accept`" in refused.stderr
    assert topic_names(kafka.bootstrap, prefix) == []


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("named", ["by the directory", "by the setting"])
def test_what_reads_another_cluster_warns_once_and_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    run: Run, kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, command: tuple[str, ...], named: str
) -> None:
    create_topics(kafka.bootstrap, *(prefix + event for event in EVENTS), partitions=1)
    usual = run(*command)
    if named == "by the directory":
        (tmp_path / "cluster").write_text(f"{OTHER_CLUSTER_ID}\n")
        warned = run(*command)
    else:
        warned = run(*command, kafka__cluster_id=OTHER_CLUSTER_ID)
    assert (warned.returncode, warned.stdout) == (usual.returncode, usual.stdout)
    (warning,) = set(warned.stderr.splitlines()) - set(usual.stderr.splitlines())
    assert warning.startswith(f"warning: {kafka.bootstrap}: this is not the Kafka cluster")
    assert f"expected {OTHER_CLUSTER_ID}" in warning
    assert "run `aurora-bridge cluster accept`" in warning
    assert "another Kafka cluster" not in usual.stderr


def test_a_directory_that_cannot_be_read_says_nothing_of_the_cluster(run: Run, tmp_path: Path) -> None:
    """Whoever only looks at Kafka need not be the daemon's user."""
    (tmp_path / "cluster").mkdir()
    applied = run("topics", "--apply", kafka__partitions=1)
    assert (applied.returncode, "another Kafka cluster" in applied.stderr) == (0, False)
