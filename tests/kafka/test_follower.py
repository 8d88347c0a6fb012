"""The follower with a real broker and a real index: what it reads, and what it need not read."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from aiokafka.errors import KafkaConnectionError

from aurora_bridge.dedup import index
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.kafka import fetch as fetching
from aurora_bridge.kafka import follower as module
from aurora_bridge.kafka import partitions
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.fetch import Nodes
from tests.dedup.conftest import quick
from tests.dedup.events import DAY, ME, MINUTE, ONCE, SECOND, A, B, once
from tests.dedup.life import rows, states, until
from tests.kafka.following import NOW, Follow, Following, record_of
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import Record, create_topics, delete_records, delete_topics, produce

__all__ = ["quick"]


async def test_where_only_we_write_nothing_is_fetched(following: Following) -> None:
    for offset in range(3):
        await following.publish(once(f"{offset}"), NOW, offset)
    await following.reached(3)
    await following.polled()
    assert (following.fetches, following.followed, following.lag) == (0, 0, 0)


async def test_a_send_whose_acknowledgement_is_on_its_way_is_not_fetched(following: Following) -> None:
    with patch.object(module, "POLL_SECONDS", 1.0):
        await following.polled(1)
        await following.write(following.record(ONCE, instance=ME))
        await until(lambda: following.lag == 1)
        following.acknowledge(0)
        await following.reached(1)
    assert following.fetches == 0


async def test_what_another_wrote_between_ours_is_read_and_known(following: Following) -> None:
    await following.publish(A, NOW, 0)
    following.acknowledge(2)
    await following.write(following.record(ONCE), following.record(B, instance=ME))
    await following.reached(3)
    assert following.fetches == 1
    assert await following.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE


async def test_a_state_that_another_published_is_the_latest_here(following: Following) -> None:
    await following.publish(A, NOW, 0)
    await following.write(following.record(B, NOW + SECOND))
    await following.reached(2)
    assert await following.life.act(A, NOW + MINUTE) is Action.REPEAT


async def test_records_of_strangers_are_read_over(following: Following) -> None:
    stranger = Record(following.topic, 0, -1, None, None, {}, NOW)
    wrong = following.record(A)
    await following.write(
        stranger,
        Record(wrong.topic, 0, -1, wrong.key, b"nonsense", wrong.headers, NOW),
        following.record(ONCE),
    )
    await following.reached(3)
    assert following.followed == 1
    assert await following.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE
    assert await following.life.act(A, NOW + SECOND) is Action.NEW


# From where to where.


async def test_after_a_stop_it_goes_on_where_it_was(follow: Follow, tmp_path: Path) -> None:
    async with follow(tmp_path) as first:
        await first.complete()
        await first.write(first.record(A), first.record(ONCE))
        await first.reached(2)
    async with follow(tmp_path) as second:
        await second.write(second.record(B))
        await second.complete()
        await second.reached(3)
        assert second.followed == 1
        assert await second.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE


async def test_after_a_crash_it_goes_on_from_what_was_written(follow: Follow, tmp_path: Path) -> None:
    async with follow(tmp_path) as first:
        await first.complete()
        await first.write(first.record(A))
        await until(lambda: (first.topic, 1) in rows(tmp_path, "SELECT topic, offset FROM positions"))
        left = await first.life.kill()
    async with follow(left) as second:
        await second.write(second.record(ONCE))
        await second.complete()
        await second.reached(2)
        assert second.followed == 1


async def test_what_is_older_than_the_index_window_is_not_read(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str
) -> None:
    for record in (record_of(topic, ONCE, NOW - 31 * DAY), record_of(topic, A)):
        await asyncio.to_thread(produce, kafka.bootstrap, record)
    async with follow(tmp_path) as later:
        await later.complete()
        assert later.followed == 1


class Other(Client):
    """A client of another cluster, as far as it says."""

    @property
    def cluster_id(self) -> str:
        return "another"

    @cluster_id.setter
    def cluster_id(self, _id: str) -> None:
        """Take no notice."""


def connect_to_another(bootstrap: str) -> Callable[[], Client]:
    """Return what makes such a client."""
    return partial(Other, bootstrap_servers=bootstrap, request_timeout_ms=2500)


async def test_another_clusters_topics_are_read_from_their_beginning(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka
) -> None:
    """Its partitions have offsets of their own."""
    async with follow(tmp_path) as first:
        await first.complete()
        await first.write(first.record(ONCE), first.record(A))
        await first.reached(2)
    async with follow(tmp_path, connect_to_another(kafka.bootstrap)) as second:
        await second.complete()
        assert second.followed == 2


@pytest.mark.parametrize(
    ("another", "expected"),
    [(False, State.RETRY_EXPECTED), (True, State.SEEN)],
    ids=["the same cluster", "another cluster"],
)
async def test_retries_of_what_we_published_just_before_a_crash_are_expected_where_the_file_knew_of_the_cluster(  # noqa: PLR0913
    follow: Follow, kafka: KafkaCluster | NamedKafka, topic: str, tmp_path: Path, expected: State, *, another: bool
) -> None:
    async with follow(tmp_path) as first:
        await first.complete()
        await until(lambda: (topic, 0) in rows(tmp_path, "SELECT topic, offset FROM positions"))
        left = await first.life.kill()
    mine = [record_of(topic, event, NOW + at, ME) for event, at in ((once("old"), -11 * SECOND), (A, -9 * SECOND))]
    await asyncio.to_thread(produce, kafka.bootstrap, *mine, record_of(topic, ONCE), record_of(topic, B, NOW, ME))
    connect = connect_to_another(kafka.bootstrap) if another else None
    async with follow(left, connect) as second:
        await second.complete()
    assert states(left) == {
        once("old").fingerprint: State.SEEN,
        A.fingerprint: expected,
        B.fingerprint: expected,
        ONCE.fingerprint: State.SEEN,
    }


async def test_a_topic_that_was_recreated_is_read_from_its_beginning(
    following: Following, kafka: KafkaCluster | NamedKafka, topic: str
) -> None:
    await following.write(*(following.record(once(f"{number}")) for number in range(5)))
    await following.reached(5)
    await asyncio.to_thread(delete_topics, kafka.bootstrap, topic)
    await asyncio.to_thread(create_topics, kafka.bootstrap, topic, partitions=1)
    await following.write(following.record(ONCE))
    await until(lambda: following.followed == 6)
    assert await following.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE
    await until(lambda: rows(following.directory, "SELECT offset FROM positions WHERE topic=?", topic) == [(1,)])


async def test_what_a_leader_lacked_for_a_moment_is_read_again_for_it_may_be_something_else(
    following: Following,
) -> None:
    """After an unclean election, others write where records were that we know. Nothing before it is read again."""
    await following.write(*(following.record(once(f"{number}")) for number in range(3)))
    await following.reached(3)
    ask, ends = following.offsets, [2, 1]

    async def offsets(client: Client, nodes: Nodes, when: int) -> object:
        return dict.fromkeys(nodes, ends.pop(0)) if ends else await ask(client, nodes, when)

    with patch.object(partitions, "offsets", offsets):
        await following.polled()
    assert (ends, following.followed) == ([], 3 + 2)


@pytest.mark.parametrize("concealed", [False, True], ids=["deleted", "concealed"])
async def test_a_topic_that_was_deleted_is_read_from_its_beginning_and_one_that_could_not_be_seen_goes_on(
    following: Following, monkeypatch: pytest.MonkeyPatch, *, concealed: bool
) -> None:
    await following.write(following.record(ONCE))
    await following.reached(1)
    await following.complete()
    looks, find = 0, fetching.leaders

    def leaders(client: Client, topics: list[str]) -> object:
        nonlocal looks
        looks += 1
        gone = looks <= 2
        client.cluster.unauthorized_topics = {following.topic} if gone and concealed else set()
        return ({}, {following.topic}, set()) if gone else find(client, topics)

    monkeypatch.setattr(partitions, "_ABSENT_SECONDS", 0.0)
    with patch.object(module, "leaders", leaders):
        await until(lambda: looks > 4)
        await following.complete()
    assert following.followed == (1 if concealed else 2)


async def test_what_left_the_topic_before_it_was_read_is_passed_over(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str
) -> None:
    async with follow(tmp_path) as first:
        await first.complete()
        await first.write(first.record(A))
        await first.reached(1)
    await first.write(*(first.record(once(f"{number}")) for number in range(3)), first.record(ONCE))
    await asyncio.to_thread(delete_records, kafka.bootstrap, topic, 4)
    async with follow(tmp_path) as second:
        await until(lambda: second.followed == 1)
        await second.reached(5)
        assert await second.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE


# Our own records that nobody here remembers.


async def test_what_is_acknowledged_before_the_spool_was_read_is_read_from_kafka(
    follow: Follow, tmp_path: Path
) -> None:
    """The drainer is faster than the follower, and the index was lost: nobody else remembers what left the spool."""
    async with follow(tmp_path) as made:
        made.acknowledge(0)
        await made.write(made.record(ONCE, instance=ME))
        await made.complete()
        await made.reached(1)
        assert await made.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE


async def test_into_a_file_that_was_recreated_everything_is_read_again(following: Following) -> None:
    """Also what was acknowledged to us since the last poll: the removed file took that with it."""
    gate, polling, ask = asyncio.Event(), asyncio.Event(), following.offsets

    async def offsets(client: Client, nodes: Nodes, when: int) -> object:
        if gate.is_set():
            return await ask(client, nodes, when)
        polling.set()
        await gate.wait()
        raise KafkaConnectionError

    with patch.object(partitions, "offsets", offsets):
        await polling.wait()
        await following.publish(A, NOW, 0)
        await following.publish(B, NOW + 1, 1)
        await following.life.written()
        reading = following.life.log.current
        (following.directory / index.FILE).unlink()
        await until(lambda: following.life.log.current is not reading)
        gate.set()
        await following.complete()
    assert await following.life.act(A, NOW + MINUTE) is Action.REPEAT


@pytest.mark.parametrize("moment", ["before the ends", "before what is fetched"])
async def test_a_file_that_is_recreated_during_a_poll_is_not_taken_for_one_that_knows_it_all(
    following: Following, moment: str
) -> None:
    await following.publish(A, NOW, 0)
    await following.publish(B, NOW + 1, 1)
    await following.reached(2)
    await following.life.written()
    where, name = (partitions, "offsets") if moment == "before the ends" else (module, "fetch")
    ask, done = getattr(following, name), False

    async def remove(*args: object) -> object:
        nonlocal done
        if not done:
            reading = following.life.log.current
            (following.directory / index.FILE).unlink()
            await until(lambda: following.life.log.current is not reading)
            done = True
        return await ask(*args)

    with patch.object(where, name, remove):
        await following.write(following.record(ONCE))
        await until(lambda: done)
        await following.polled(2)
        await following.complete()
    assert await following.life.act(A, NOW + MINUTE) is Action.REPEAT
    assert await following.life.act(ONCE, NOW + MINUTE) is Action.DUPLICATE
