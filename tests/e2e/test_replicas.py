"""Two daemons on one Kafka: what one has published, the other knows, and what an index lost, Kafka gives back."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.topics import read_all

AGREEMENT = "/agreement_status_changed?project_id=p&agreement_id={}&status={}"
JOB = "/performance_simulation_job_completed?design_id=d&job_id={}&status=succeeded"
STATES = "agreement_status_changed"


class Replicas:
    """Daemons with state directories of their own and the same topics."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.daemons = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            self.daemons.append(Daemon(folder / name, kafka__bootstrap_servers=bootstrap, kafka__topic_prefix=prefix))

    def ids(self, event: str) -> list[str]:
        """Return the ids in a topic."""
        return sorted((record.key or b"").decode() for record in read_all(self.bootstrap, [self.prefix + event]))


@pytest.fixture
def replicas(kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path) -> Iterator[Replicas]:
    made = Replicas(tmp_path, kafka.bootstrap, prefix)
    with ExitStack() as stack:
        for daemon in made.daemons:
            stack.enter_context(daemon)
            daemon.wait_until_connected()
        yield made


def deliver(daemon: Daemon, target: str) -> tuple[str, str]:
    """Deliver a webhook; return outcome and id."""
    response = daemon.get(target)
    assert response.status == 200, response
    return response.json["outcome"], response.json["id"]


def wait_until_followed(daemon: Daemon, records: int) -> None:
    """Return once a daemon has read so many records of others."""
    daemon.wait_until(
        f"{records} records are followed",
        lambda daemon: daemon.metrics().value("aurora_bridge_followed_records_total") >= records,
    )


def test_an_event_that_one_accepted_is_a_duplicate_at_the_other(replicas: Replicas) -> None:
    one, other = replicas.daemons
    accepted = [deliver(one, JOB.format("j")), deliver(one, AGREEMENT.format("a", "sent"))]
    wait_until_followed(other, 2)
    again = [deliver(other, JOB.format("j")), deliver(other, AGREEMENT.format("a", "sent"))]
    assert [("published", key) for _, key in accepted] == accepted
    assert [("duplicate", key) for _, key in accepted] == again
    assert other.metrics().value("aurora_bridge_other_instances") == 1
    assert other.metrics().value("aurora_bridge_follower_lag_records") == 0


def test_a_state_that_the_other_saw_in_between_makes_the_old_one_a_new_event(replicas: Replicas) -> None:
    one, other = replicas.daemons
    first = deliver(one, AGREEMENT.format("a", "sent"))
    wait_until_followed(other, 1)
    between = deliver(other, AGREEMENT.format("a", "viewed"))
    wait_until_followed(one, 1)
    back = deliver(one, AGREEMENT.format("a", "sent"))
    assert {outcome for outcome, _ in (first, between, back)} == {"published"}
    assert sorted({first[1], between[1], back[1]}) == replicas.ids(STATES)
    assert len(replicas.ids(STATES)) == 3


def test_a_replica_on_a_new_volume_knows_what_was_published_before(replicas: Replicas) -> None:
    one, other = replicas.daemons
    job, state = deliver(one, JOB.format("j")), deliver(one, AGREEMENT.format("a", "sent"))
    other.terminate()
    for file in other.state.iterdir():
        file.unlink()
    other.start()
    assert deliver(other, JOB.format("j")) == ("duplicate", job[1])
    assert deliver(other, AGREEMENT.format("a", "sent")) == ("duplicate", state[1])
    fresh = deliver(other, AGREEMENT.format("b", "sent"))
    assert len(fresh[1]) == len("f" * 32 + ".20261124"), "a replica that has caught up can know"


def test_an_index_that_was_lost_is_rebuilt_from_kafka(replicas: Replicas) -> None:
    one, _ = replicas.daemons
    states = [deliver(one, AGREEMENT.format("a", status)) for status in ("sent", "viewed")]
    one.kill()
    for file in one.state.glob("index.db*"):
        file.unlink()
    one.start()
    assert deliver(one, AGREEMENT.format("a", "viewed")) == ("duplicate", states[1][1])
    outcome, again = deliver(one, AGREEMENT.format("a", "sent"))
    assert (outcome, again not in {key for _, key in states}) == ("published", True)
