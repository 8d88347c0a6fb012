"""The right cluster is the first that is met, the one that is set, or the one that was accepted; no other passes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from aurora_bridge.dedup.index import FILE as INDEX
from aurora_bridge.kafka.client import addresses, make_client
from aurora_bridge.kafka.cluster_guard import ClusterGuard, WrongClusterError, read_id
from aurora_bridge.kafka.create_topics import create_missing
from aurora_bridge.kafka.problem_reasons import explain
from aurora_bridge.settings import KafkaSettings
from aurora_bridge.state import line_file
from aurora_bridge.state.directory import StateError
from tests.kafka.following import Follow
from tests.kafka.sending import EVENT, client_of, connections_of, eventually, running
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import topic_names

HOME, AWAY = "home", "a-w_a.y"


async def nothing() -> None:
    """Recreate an index that is not there."""


async def remembered(directory: Path, cluster: str) -> None:
    """Wait until a directory remembers a cluster."""
    await eventually(lambda: read_id(directory) == cluster)


def remembering(directory: Path, cluster: str = HOME, setting: str = "") -> ClusterGuard:
    """Return the guard of a directory that remembers a cluster."""
    (directory / "cluster").write_text(f"{cluster}\n")
    return ClusterGuard(directory, setting)


async def test_the_first_cluster_is_remembered_and_another_is_refused(tmp_path: Path) -> None:
    guard = ClusterGuard(tmp_path, "")
    guard.check(HOME)
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)
    await remembered(tmp_path, HOME)
    guard = ClusterGuard(tmp_path, "")
    with pytest.raises(WrongClusterError) as refused:
        guard.check(AWAY)
    assert str(refused.value) == f"its id is {AWAY}, expected {HOME}"
    guard.check(HOME)


async def test_of_brokers_that_give_no_id_nothing_is_known(tmp_path: Path) -> None:
    for guard in (ClusterGuard(tmp_path, ""), remembering(tmp_path), ClusterGuard(tmp_path, AWAY)):
        guard.check("")


async def test_a_broker_that_gives_no_id_is_not_remembered(tmp_path: Path) -> None:
    guard = ClusterGuard(tmp_path, "")
    guard.check("")
    guard.check(HOME)
    await remembered(tmp_path, HOME)


async def test_the_setting_decides_before_any_cluster_was_met(tmp_path: Path) -> None:
    guard = ClusterGuard(tmp_path, HOME)
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)
    assert read_id(tmp_path) == ""
    guard.check(HOME)
    await remembered(tmp_path, HOME)


@pytest.mark.parametrize(("setting", "recreated"), [(AWAY, True), (HOME, False), ("", False)])
def test_a_setting_that_names_another_cluster_removes_the_index_first(
    tmp_path: Path, setting: str, *, recreated: bool
) -> None:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{INDEX}{suffix}").touch()
    guard = remembering(tmp_path, HOME, setting)
    assert [path.name for path in sorted(tmp_path.glob(f"{INDEX}*"))] == (
        [] if recreated else [INDEX, f"{INDEX}-shm", f"{INDEX}-wal"]
    )
    guard.check(setting or HOME)
    assert read_id(tmp_path) == (setting or HOME)


async def test_a_cluster_is_accepted_once_the_index_is_recreated(tmp_path: Path) -> None:
    guard = remembering(tmp_path)
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)
    seen = []

    async def recreate() -> None:
        seen.append(read_id(tmp_path))
        for cluster in (HOME, AWAY):  # else the former one would be read into the new index
            with pytest.raises(WrongClusterError):
                guard.check(cluster)

    accepted = guard.accepted
    assert await guard.accept(recreate) == (HOME, AWAY)
    assert seen == [HOME]
    assert (accepted.is_set(), guard.accepted.is_set()) == (True, False)
    assert read_id(tmp_path) == AWAY
    guard.check(AWAY)
    with pytest.raises(WrongClusterError):
        guard.check(HOME)


@pytest.mark.parametrize("fails", ["index", "file"])
async def test_nothing_is_accepted_by_half(tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = remembering(tmp_path)
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)

    async def recreate() -> None:
        if fails == "index":
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if fails == "file":
            patch.setattr(line_file, "write_durably", fail)
        with pytest.raises((OSError, ValueError), match="Input/output error"):
            await guard.accept(recreate)
    assert read_id(tmp_path) == HOME
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)
    assert (await guard.accept(nothing)).now == AWAY


@pytest.mark.parametrize(
    ("met", "setting", "why"),
    [
        ((), "", "the daemon has met no cluster other than home"),
        ((HOME,), "", "the daemon has met no cluster other than home"),
        ((AWAY, HOME), "", "the daemon has met no cluster other than home"),
        ((AWAY,), HOME, "AURORA_BRIDGE_KAFKA__CLUSTER_ID names the cluster"),
    ],
)
async def test_what_cannot_be_accepted_is_told(tmp_path: Path, met: tuple[str, ...], setting: str, why: str) -> None:
    guard = remembering(tmp_path, HOME, setting)
    for cluster in met:
        try:
            guard.check(cluster)
        except WrongClusterError:
            assert cluster == AWAY
    with pytest.raises(ValueError, match=why):
        await guard.accept(nothing)
    assert read_id(tmp_path) == HOME


async def test_what_was_accepted_can_be_taken_back(tmp_path: Path) -> None:
    guard = remembering(tmp_path)
    guard.check(HOME)
    for before, now in ((HOME, AWAY), (AWAY, HOME)):
        with pytest.raises(WrongClusterError):
            guard.check(now)
        assert await guard.accept(nothing) == (before, now)
        guard.check(now)


async def test_an_id_that_cannot_be_written_is_told_and_written_at_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guard = ClusterGuard(tmp_path, "")
    with monkeypatch.context() as patch:
        patch.setattr(line_file, "write_durably", fail)
        guard.check(HOME)
        await eventually(lambda: "cannot be written" in caplog.text)
    with pytest.raises(WrongClusterError):
        guard.check(AWAY)
    guard.check(HOME)
    await remembered(tmp_path, HOME)


def test_a_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    with pytest.raises(StateError, match="cluster cannot be read: Is a directory"):
        ClusterGuard(tmp_path, "")


def fail(path: Path, line: str) -> None:
    raise OSError(5, "Input/output error", str(path), line)


# Over connections


class Barrier:
    """Refuses every cluster once it is down."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.asked = 0

    def check(self, cluster_id: str) -> None:
        self.asked += 1
        if self.down:
            raise WrongClusterError(cluster_id)


@pytest.mark.proves("nothing goes to another cluster than the remembered one")
async def test_each_connection_is_asked_before_it_is_used(kafka: KafkaCluster | NamedKafka) -> None:
    barrier, told = Barrier(), []

    def on_connection(_address: str, error: Exception | None) -> None:
        told.append(None if error is None else explain(error, "").reason)

    client = client_of(kafka.bootstrap)(on_connection, check_cluster=barrier.check)
    await client.bootstrap()
    (node,) = addresses(client.cluster)
    assert await client.ready(node)
    barrier.down = True
    assert await client.ready(node)
    assert (barrier.asked, told) == (2, [None, None])
    for connection in connections_of(client):
        connection.close()
    assert not await client.ready(node)
    assert barrier.asked == 3
    assert told == [None, None, "wrong_cluster"]
    await client.close()


@pytest.mark.proves("nothing goes to another cluster than the remembered one")
async def test_a_client_keeps_to_the_cluster_that_it_met_first(kafka: KafkaCluster | NamedKafka) -> None:
    """Though another one passes by now: sequences and offsets of the first mean nothing there."""
    told: list[Exception | None] = []
    client = client_of(kafka.bootstrap)(lambda _, error: told.append(error), check_cluster=lambda _: None)
    await client.bootstrap()
    (node,) = addresses(client.cluster)
    client.cluster_id = "another"
    assert not await client.ready(node)
    assert told[0] is None
    assert str(told[1]).endswith(", this client to another")
    await client.close()


async def test_nothing_is_sent_to_a_cluster_that_is_refused(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str
) -> None:
    del topic
    barrier = Barrier(down=True)

    def connect(on_connection: Callable[..., None]) -> Any:  # noqa: ANN401 - a client
        return client_of(kafka.bootstrap)(on_connection, check_cluster=barrier.check)

    async with running(connect, prefix, EVENT) as run:
        await eventually(lambda: barrier.asked > 1)
        assert [problem.reason for problem in run.sender.problems] == ["wrong_cluster"]
        assert not run.sender.writable(EVENT)
        assert run.metrics.producer_ids[()] == 0
        barrier.down = False
        await run.until(lambda: run.sender.writable(EVENT))
        assert list(run.sender.problems) == []


async def test_nothing_is_read_from_a_cluster_that_is_refused(
    follow: Follow, kafka: KafkaCluster | NamedKafka, tmp_path: Path
) -> None:
    barrier = Barrier(down=True)

    def connect() -> Any:  # noqa: ANN401 - a client
        return make_client(KafkaSettings(bootstrap_servers=kafka.bootstrap), check_cluster=barrier.check)

    async with follow(tmp_path, connect) as made:
        await eventually(lambda: barrier.asked > 1)
        assert made.polls == 0
        barrier.down = False
        await made.complete()


async def test_no_topic_is_created_in_a_cluster_that_is_refused(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=prefix)
    with pytest.raises(KafkaConnectionError) as failed:
        await create_missing(settings, [prefix + EVENT], check_cluster=Barrier(down=True).check)
    assert explain(failed.value, "").reason == "wrong_cluster"
    assert await asyncio.to_thread(topic_names, kafka.bootstrap, prefix) == []
