"""What the Jobs run does its work with the settings that the chart renders, on a real Kafka."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.in_process import here
from tests.cli.spools import fill
from tests.ops.chart.rendering import Objects, render, settings_folder
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import topic_names


@pytest.fixture
def objects(helm4: str, kafka: KafkaCluster | NamedKafka, prefix: str) -> Objects:
    """The chart with both Jobs, for a real Kafka."""
    reached = {"bootstrap_servers": kafka.bootstrap, "topic_prefix": prefix}
    jobs: dict[str, Any] = {"topicsJob": {"enabled": True}, "drain": {"claim": "state-release-aurora-bridge-2"}}
    return render(helm4, {"settings": {"kafka": reached}, **jobs})


def arguments(objects: Objects, component: str) -> list[str]:
    """Return what the Job of a component runs."""
    (arguments,) = (
        each["spec"]["template"]["spec"]["containers"][0]["args"]
        for each in objects
        if each["kind"] == "Job"
        and each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return list(arguments)


def test_the_one_creates_the_topics(
    objects: Objects, kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, pem: Path
) -> None:
    file = settings_folder(objects, tmp_path, pem)
    ran = here(*arguments(objects, "topics"), config=file)
    assert ran.returncode == 0
    assert f"{prefix}dead_letter" in topic_names(kafka.bootstrap)


def test_the_other_drains_the_volume_into_them(objects: Objects, tmp_path: Path, pem: Path) -> None:
    file, volume = settings_folder(objects, tmp_path, pem), tmp_path / "volume"
    fill(volume, make_record("left-behind"))
    command, mounted, *options = arguments(objects, "drain")
    assert mounted == "/var/lib/aurora-bridge"
    here(*arguments(objects, "topics"), config=file)
    ran = here(command, str(volume), *options, config=file)
    assert (ran.returncode, ran.stderr.splitlines()) == (0, ["1 wait", "nothing waits any more"])
