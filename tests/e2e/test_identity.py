"""Same event or new one, as a consumer sees it: over the embedded log and over real Kafka."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.stores import Place, Stored
from tests.support.broker import KafkaCluster
from tests.support.daemon import PATIENT, Daemon
from tests.support.topics import unique_prefix

AGREEMENT = "/agreement_status_changed?project_id=p&agreement_id={}&status={}"


@pytest.fixture
def daemon(place: Place, tmp_path: Path) -> Iterator[Daemon]:
    with place.daemon(tmp_path, **PATIENT) as daemon:
        place.settle(daemon)
        yield daemon


@pytest.fixture
def agreement() -> str:
    """An agreement that no other test knows."""
    return unique_prefix().rstrip(".")


def deliver(daemon: Daemon, target: str) -> tuple[str, str]:
    """Deliver a webhook; return outcome and id of its answer."""
    response = daemon.get(target)
    assert response.status == 200
    answer = response.json
    return answer["outcome"], answer["id"]


def events_of(place: Place, daemon: Daemon, mark: str) -> list[Stored]:
    """Return what was stored whose subject or data has `mark` in it."""
    return [stored for stored in place.read(daemon) if mark in str(stored.event)]


@pytest.mark.proves("a state that came back is a new event")
def test_a_state_that_comes_back_is_three_events_with_three_ids(place: Place, daemon: Daemon, agreement: str) -> None:
    answers = [deliver(daemon, AGREEMENT.format(agreement, status)) for status in ("sent", "viewed", "sent")]
    assert {outcome for outcome, _ in answers} == {place.outcome}
    stored = events_of(place, daemon, agreement)
    assert sorted(key for _, key in answers) == sorted({one.event["id"] for one in stored})
    assert [one.event["repeat"] for one in sorted(stored, key=lambda one: one.event["time"])] == [False, False, True]


@pytest.mark.proves("an event is published once, however often it is delivered")
def test_the_same_state_twice_in_a_row_is_one_event(place: Place, daemon: Daemon, agreement: str) -> None:
    first, second = (deliver(daemon, AGREEMENT.format(agreement, "sent")) for _ in range(2))
    assert (first[0], second) == (place.outcome, ("duplicate", first[1]))
    assert len(events_of(place, daemon, agreement)) == 1


def test_a_bare_change_is_published_each_time(place: Place, daemon: Daemon, agreement: str) -> None:
    answers = [deliver(daemon, f"/lead_changed?lead_id={agreement}") for _ in range(2)]
    stored = events_of(place, daemon, agreement)
    assert {outcome for outcome, _ in answers} == {place.outcome}
    assert len({one.event["id"] for one in stored}) == 2
    assert sorted(one.event["repeat"] for one in stored) == [False, True]


@pytest.mark.proves("an event is published once, however often it is delivered")
def test_what_happens_once_is_a_duplicate_ever_after(place: Place, daemon: Daemon, agreement: str) -> None:
    target = f"/performance_simulation_job_completed?design_id=d&job_id={agreement}&status=succeeded"
    first, second, third = (deliver(daemon, target) for _ in range(3))
    assert first[0] == place.outcome
    assert [second, third] == [("duplicate", first[1])] * 2
    assert len(events_of(place, daemon, agreement)) == 1


def test_completed_and_rejected_share_the_state_of_a_design_request(
    place: Place, daemon: Daemon, agreement: str
) -> None:
    completed = f"/design_request_completed?design_request_id={agreement}&status=designer_completed"
    rejected = f"/design_request_rejected?design_request_id={agreement}&status=designer_rejected"
    answers = [deliver(daemon, target) for target in (completed, rejected, completed)]
    assert {outcome for outcome, _ in answers} == {place.outcome}
    assert len({key for _, key in answers}) == 3


@pytest.mark.proves("an event is published once, however often it is delivered")
def test_fifty_copies_at_once_are_one_event(place: Place, daemon: Daemon, agreement: str) -> None:
    target = AGREEMENT.format(agreement, "signed")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: deliver(daemon, target), range(50)))
    assert sorted(outcome for outcome, _ in answers) == sorted(["duplicate"] * 49 + [place.outcome])
    assert len({key for _, key in answers}) == 1
    assert len(events_of(place, daemon, agreement)) == 1


@pytest.mark.proves("a restart or a lost index forgets nothing that the log has")
def test_a_restart_forgets_nothing_however_the_daemon_ended(place: Place, tmp_path: Path, agreement: str) -> None:
    target = AGREEMENT.format(agreement, "signed")
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        first = deliver(daemon, target)
        daemon.kill()
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        assert deliver(daemon, target)[1] == first[1]
        assert daemon.terminate() == 0
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        assert deliver(daemon, target) == ("duplicate", first[1])
        assert {one.event["id"] for one in events_of(place, daemon, agreement)} == {first[1]}


@pytest.mark.proves("a restart or a lost index forgets nothing that the log has")
def test_a_new_index_knows_what_kafka_holds(place: Place, tmp_path: Path, agreement: str) -> None:
    """A state directory that is gone must not lend the id of an earlier event to one that comes back the same day."""
    answers = []
    for life in ("first", "second"):
        (tmp_path / life).mkdir()
        with place.daemon(tmp_path / life) as daemon:
            place.settle(daemon)
            answers.append(deliver(daemon, AGREEMENT.format(agreement, "sent")))
    expected = "duplicate" if place.bootstrap else place.outcome  # the embedded log is gone with its directory
    assert answers[1] == (expected, answers[0][1])


@pytest.mark.proves("a retry after a refusal keeps id and time of the first attempt")
@pytest.mark.slow
def test_a_retry_after_the_daemons_own_503_is_published_as_one_event(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path, agreement: str
) -> None:
    """The refused send is in doubt: it may reach Kafka later, and then the retry must carry the same id."""
    (node,), place = kafka1.nodes, Place(prefix, kafka1.bootstrap)
    target = AGREEMENT.format(agreement, "signed")
    with place.daemon(tmp_path, spool__enabled=False) as daemon:
        place.settle(daemon)
        daemon.wait_until("Kafka takes it", lambda _: daemon.get(AGREEMENT.format(agreement, "sent")).status == 200)
        node.pause()
        refused = daemon.get(target)
        assert (refused.status, refused.json["reason"]) == (503, "kafka_unavailable")
        node.resume()
        place.settle(daemon)
        outcome, key = deliver(daemon, target)
        assert outcome in {"published", "duplicate"}
        assert key == refused.json["id"]
        signed = [one for one in events_of(place, daemon, agreement) if one.event["data"]["status"] == "signed"]
    assert {one.event["id"] for one in signed} == {key}
