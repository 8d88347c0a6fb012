"""Two daemons on one Kafka: what one has published, the other knows, and what an index lost, Kafka gives back."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from aurora_bridge.dedup.lifecycle import State
from tests.e2e.load import Load
from tests.e2e.stores import published
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, Daemon
from tests.support.index_rows import rows_of
from tests.support.topics import read_all

AGREEMENT = "/agreement_status_changed?project_id=p&agreement_id={}&status={}"
JOB = "/performance_simulation_job_completed?design_id=d&job_id={}&status=succeeded"
STATES = "agreement_status_changed"


class Replicas:
    """Daemons with state directories of their own and the same topics."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str, **settings: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.daemons = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            kafka = {"kafka__bootstrap_servers": bootstrap, "kafka__topic_prefix": prefix}
            self.daemons.append(Daemon(folder / name, **PATIENT, **kafka, kafka__partitions=None, **settings))

    def ids(self, event: str) -> list[str]:
        """Return the ids in a topic."""
        return sorted((record.key or b"").decode() for record in read_all(self.bootstrap, [self.prefix + event]))


@contextmanager
def running(made: Replicas) -> Iterator[Replicas]:
    with ExitStack() as stack:
        for daemon in made.daemons:
            stack.enter_context(daemon)
            daemon.wait_until_connected()
        yield made


@pytest.fixture
def replicas(kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path) -> Iterator[Replicas]:
    with running(Replicas(tmp_path, kafka.bootstrap, prefix)) as made:
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


@pytest.mark.proves("what one replica accepted, the others know")
def test_an_event_that_one_accepted_is_a_duplicate_at_the_other(replicas: Replicas) -> None:
    one, other = replicas.daemons
    accepted = [deliver(one, JOB.format("j")), deliver(one, AGREEMENT.format("a", "sent"))]
    wait_until_followed(other, 2)
    again = [deliver(other, JOB.format("j")), deliver(other, AGREEMENT.format("a", "sent"))]
    assert [("published", key) for _, key in accepted] == accepted
    assert [("duplicate", key) for _, key in accepted] == again
    assert other.metrics().value("aurora_bridge_other_instances") == 1
    assert other.metrics().value("aurora_bridge_follower_lag_records") == 0


def test_neither_needs_the_id_in_the_key_or_the_event_in_the_value(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    settings = {"kafka__key": "subject", "kafka__content_mode": "binary"}
    with running(Replicas(tmp_path, kafka.bootstrap, prefix, **settings)) as replicas:
        one, other = replicas.daemons
        accepted = [deliver(one, JOB.format("j")), deliver(one, AGREEMENT.format("a", "sent"))]
        wait_until_followed(other, 2)
        one.kill()
        for file in one.state.glob("index.db*"):
            file.unlink()
        one.start()
        for daemon in (other, one):
            again = [deliver(daemon, JOB.format("j")), deliver(daemon, AGREEMENT.format("a", "sent"))]
            assert [("duplicate", key) for _, key in accepted] == again


@pytest.mark.proves("what one replica accepted, the others know")
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


@pytest.mark.proves("a restart or a lost index forgets nothing that the log has")
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


@pytest.mark.proves("a restart or a lost index forgets nothing that the log has")
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


def test_under_load_at_both_every_delivered_event_is_there_once_and_nothing_else(replicas: Replicas) -> None:
    one, other = replicas.daemons
    loads = Load(), Load()
    with loads[0].on(one.url), loads[1].on(other.url):
        for load in loads:
            load.wait_for(200, "published")
    told = [told for load in loads for told in load.told]
    kept = published(replicas.bootstrap, replicas.prefix)
    assert {(answer.status, answer.outcome) for answer in told} == {(200, "published")}
    assert sorted(answer.id or "" for answer in told) == sorted(record.key for record in kept)
    for daemon, load in ((one, loads[1]), (other, loads[0])):
        wait_until_followed(daemon, len(load.told))


@pytest.mark.proves("an expected retry is a duplicate, also behind a newer state")
def test_what_a_crash_may_have_left_unanswered_is_expected_again(replicas: Replicas) -> None:
    """Of what was stored in the last ten seconds before a kill -9, the index had not yet all: Kafka has."""
    one, _ = replicas.daemons
    load = Load()
    with load.on(one.url):
        load.wait_for(300, "published")
        one.kill()
    kept = {record.key[:32] for record in published(replicas.bootstrap, replicas.prefix)}
    one.start()
    one.wait_until_connected()
    one.wait_until("all of it is known", lambda _: kept <= {*known(one, State.SEEN), *known(one, State.RETRY_EXPECTED)})
    assert known(one, State.RETRY_EXPECTED)


def known(daemon: Daemon, state: State) -> set[str]:
    """Return the fingerprints that the index of a daemon has in a state."""
    with closing(sqlite3.connect(f"file:{daemon.state / 'index.db'}?mode=ro", uri=True)) as database:
        return {fingerprint for fingerprint, found, *_ in rows_of(database) if found == state}
