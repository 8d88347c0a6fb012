"""A daemon whose address leads to another Kafka cluster: nothing goes there until an operator says so.

The two clusters are real, and have different ids; the other one has the topics, so that it would take the events.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aurora_bridge.webhook.catalogue import EVENTS
from tests.e2e.stores import Place, published
from tests.support.broker import KafkaCluster
from tests.support.daemon import PATIENT, Daemon, command
from tests.support.http import get
from tests.support.node import CLUSTER_ID, OTHER_CLUSTER_ID
from tests.support.topics import create_topics, topic_names

SIGNED = "/agreement_status_changed?project_id=p&agreement_id=a&status=signed"
"""A state: the same again is a duplicate."""
ONCE = "/project_created?project_id=p"
CHANGED = "/lead_changed?lead_id={}"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def other(brokers: list[object]) -> Iterator[KafkaCluster]:
    """Another cluster."""
    with KafkaCluster(cluster_id=OTHER_CLUSTER_ID) as cluster:
        brokers.append(cluster)
        yield cluster
        brokers.remove(cluster)


def cluster(daemon: Daemon, bootstrap: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `aurora-bridge cluster` beside a daemon."""
    named = {"state_dir": daemon.state, "kafka__bootstrap_servers": bootstrap, **settings}
    return command("cluster", *arguments, cwd=daemon.folder, **named)


def is_barred(daemon: Daemon) -> bool:
    """Whether readiness, metric and status page say that this is another cluster."""
    _, document = daemon.ready()
    said = any("this is not the Kafka cluster" in reason for reason in document["reasons"])
    if said:
        assert f"its id is {OTHER_CLUSTER_ID}, expected {CLUSTER_ID}" in str(document["reasons"])
        assert "aurora-bridge cluster accept" in str(document["reasons"])
        assert daemon.metrics().value("aurora_bridge_kafka_problem", reason="wrong_cluster") == 1
        assert b"wrong_cluster" in get(daemon.admin_url, "/").body
    return said


def barred(daemon: Daemon) -> None:
    """Wait until the daemon says what is wrong."""
    daemon.wait_until("the other cluster is noticed", is_barred)
    assert daemon.metrics().value("aurora_bridge_kafka_connected") == 0
    assert daemon.ready()[1]["ready"] is True


def is_drained(daemon: Daemon) -> bool:
    """Whether nothing waits in the spool."""
    return daemon.metrics().value("aurora_bridge_spool_events") == 0


def delivered(daemon: Daemon, target: str) -> dict[str, str]:
    """Deliver a webhook; return id and outcome."""
    response = daemon.get(target)
    assert response.status == 200, response
    return dict(response.json)


def at_home(place: Place, folder: Path) -> dict[str, str]:
    """Let a daemon live with its cluster, and end; return the ids of what it published, by target."""
    with place.daemon(folder) as daemon:
        daemon.wait_until_connected()
        daemon.wait_until("the index is read", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))
        known = {target: delivered(daemon, target)["id"] for target in (SIGNED, ONCE)}
        daemon.wait_until_drained()
        assert (daemon.state / "cluster").read_text() == f"{CLUSTER_ID}\n"
        assert daemon.terminate() == 0
    return known


@pytest.fixture
def home(kafka1: KafkaCluster, prefix: str) -> Place:
    """The cluster that the daemon knows."""
    return Place(prefix, kafka1.bootstrap)


@pytest.fixture
def elsewhere(other: KafkaCluster, prefix: str) -> Place:
    """The other one, which has the topics."""
    create_topics(other.bootstrap, *(prefix + event for event in EVENTS), partitions=1)
    return Place(prefix, other.bootstrap)


@pytest.mark.proves("nothing goes to another cluster than the remembered one")
def test_events_wait_until_an_operator_accepts_the_other_cluster(home: Place, elsewhere: Place, tmp_path: Path) -> None:
    known = at_home(home, tmp_path)
    with elsewhere.daemon(tmp_path) as daemon:
        barred(daemon)
        shown = cluster(daemon, str(elsewhere.bootstrap), "show")
        assert (shown.returncode, shown.stdout.split()) == (
            1,
            ["remembered", CLUSTER_ID, "setting", "-", "kafka", OTHER_CLUSTER_ID],
        )
        waiting = [delivered(daemon, CHANGED.format(number)) for number in range(20)]
        assert {event["outcome"] for event in waiting} == {"spooled"}
        assert delivered(daemon, ONCE)["outcome"] == "duplicate"  # it is in its cluster
        assert elsewhere.read(daemon) == []

        accepted = cluster(daemon, str(elsewhere.bootstrap), "accept")
        assert (accepted.returncode, accepted.stderr) == (
            0,
            f"{OTHER_CLUSTER_ID} is accepted in place of {CLUSTER_ID}.\n",
        )
        daemon.wait_until_connected()
        assert [stored.key for stored in elsewhere.read(daemon)] == [event["id"] for event in waiting]
        assert daemon.metrics().value("aurora_bridge_kafka_problem", reason="wrong_cluster") == 0
        daemon.wait_until("the index is read", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))

        again = {target: delivered(daemon, target) for target in known}
        assert {target: event["id"] for target, event in again.items()} == known
        assert "duplicate" not in {event["outcome"] for event in again.values()}
        assert delivered(daemon, SIGNED)["outcome"] == "duplicate"
        daemon.wait_until_drained()
        (signed,) = (stored for stored in elsewhere.read(daemon) if stored.topic == "agreement_status_changed")
        assert signed.event["repeat"] is False
        assert daemon.terminate() == 0
    assert {stored.key for stored in home.read(daemon)} == set(known.values())
    with elsewhere.daemon(tmp_path, **PATIENT) as daemon:
        daemon.wait_until_connected()
        assert delivered(daemon, CHANGED.format("again"))["outcome"] == "published"
        assert delivered(daemon, SIGNED)["outcome"] == "duplicate"


def test_no_topic_is_created_in_the_other_cluster(
    home: Place, other: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    at_home(home, tmp_path)
    with Place(prefix, other.bootstrap).daemon(tmp_path, log__level="debug") as daemon:
        barred(daemon)
        daemon.wait_until("it was tried", lambda daemon: "the topics cannot be checked yet" in daemon.log.read_text())
        assert delivered(daemon, CHANGED.format(1))["outcome"] == "spooled"
        assert topic_names(other.bootstrap, prefix) == []


def test_the_setting_names_the_cluster_that_is_right(home: Place, elsewhere: Place, tmp_path: Path) -> None:
    known = at_home(home, tmp_path)[ONCE]
    with elsewhere.daemon(tmp_path, kafka__cluster_id=OTHER_CLUSTER_ID, **PATIENT) as daemon:
        daemon.wait_until_connected()
        again = delivered(daemon, ONCE)
        assert (again["id"], again["outcome"] != "duplicate") == (known, True)
        daemon.wait_until_drained()
        assert [stored.key for stored in elsewhere.read(daemon)] == [known]
        assert daemon.terminate() == 0
    with home.daemon(tmp_path, kafka__cluster_id=OTHER_CLUSTER_ID) as daemon:
        daemon.wait_until("it is noticed", lambda daemon: "this is not the Kafka cluster" in str(daemon.ready()))
        refused = cluster(daemon, str(home.bootstrap), "accept", kafka__cluster_id=OTHER_CLUSTER_ID)
        assert refused.returncode == 1
        assert "AURORA_BRIDGE_KAFKA__CLUSTER_ID names the cluster" in refused.stderr
        assert delivered(daemon, CHANGED.format(1))["outcome"] == "spooled"


def test_a_spool_is_drained_into_no_other_cluster(home: Place, elsewhere: Place, tmp_path: Path) -> None:
    at_home(home, tmp_path)
    with elsewhere.daemon(tmp_path) as daemon:
        barred(daemon)
        waiting = delivered(daemon, CHANGED.format(1))["id"]
        daemon.kill()
    settings = {"kafka__bootstrap_servers": elsewhere.bootstrap, "kafka__topic_prefix": elsewhere.prefix}
    refused = command("drain", str(daemon.state), cwd=tmp_path, **settings)
    assert refused.returncode == 1
    assert "1 are left: they are meant for another Kafka cluster. " in refused.stderr
    assert f"its id is {OTHER_CLUSTER_ID}, expected {CLUSTER_ID}" in refused.stderr
    assert f"AURORA_BRIDGE_STATE_DIR={daemon.state} aurora-bridge cluster accept" in refused.stderr
    assert elsewhere.read(daemon) == []
    accepted = cluster(daemon, str(elsewhere.bootstrap), "accept")
    assert (accepted.returncode, accepted.stderr) == (0, f"{OTHER_CLUSTER_ID} is accepted in place of {CLUSTER_ID}.\n")
    drained = command("drain", str(daemon.state), cwd=tmp_path, **settings)
    assert drained.returncode == 0, drained.stderr
    assert [stored.key for stored in elsewhere.read(daemon)] == [waiting]


@pytest.mark.proves("nothing goes to another cluster than the remembered one")
def test_under_a_living_daemon_another_cluster_gets_nothing_until_it_is_accepted_and_then_all(
    prefix: str, tmp_path: Path
) -> None:
    """The same address, another cluster: as when a Kafka is set up again without its volumes. No restart is needed.

    An event was on its way to the former one when that ended, so that nobody knows whether it lies there.
    """
    with KafkaCluster() as first:
        place = Place(prefix, first.bootstrap)
        daemon = place.daemon(tmp_path, **PATIENT)
        daemon.start()
        try:
            daemon.wait_until_connected()
            before = [delivered(daemon, CHANGED.format(f"before-{number}"))["id"] for number in range(3)]
            daemon.wait_until("all is published", is_drained)
            assert sorted(stored.key for stored in published(first.plain, prefix)) == sorted(before)
            first.nodes[0].pause()
            in_doubt = delivered(daemon, CHANGED.format("in-doubt"))
            assert in_doubt["outcome"] == "spooled"
            assert daemon.metrics().value("aurora_bridge_kafka_batches_in_doubt") == 1
        except BaseException:
            daemon.kill()
            raise
        port = int(first.bootstrap.rpartition(":")[2])
    try:
        with KafkaCluster(client_port=port, cluster_id=OTHER_CLUSTER_ID) as second:
            barred(daemon)
            waiting = [in_doubt, *(delivered(daemon, CHANGED.format(number)) for number in range(5))]
            assert {event["outcome"] for event in waiting} == {"spooled"}
            assert topic_names(second.plain, prefix) == []

            accepted = cluster(daemon, second.bootstrap, "accept")
            assert (accepted.returncode, accepted.stderr) == (
                0,
                f"{OTHER_CLUSTER_ID} is accepted in place of {CLUSTER_ID}.\n",
            )
            daemon.wait_until_connected()  # so its topics are created there
            waiting += [delivered(daemon, CHANGED.format(f"after-{number}")) for number in range(3)]
            daemon.wait_until("all is published", is_drained)
            assert daemon.metrics().value("aurora_bridge_kafka_batches_in_doubt") == 0
            keys = [stored.key for stored in published(second.plain, prefix)]
            assert sorted(keys) == sorted(event["id"] for event in waiting)
            assert daemon.terminate() == 0
    finally:
        daemon.kill()
