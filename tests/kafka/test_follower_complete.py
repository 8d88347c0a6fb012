"""When all is known that the topics hold, and what must be so that it can be."""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from aurora_bridge.dedup import index, reading_progress
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.kafka import fetch as fetching
from aurora_bridge.kafka import follower as module
from aurora_bridge.kafka import partitions
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.fetch import Fetched, Nodes
from tests.dedup.conftest import quick
from tests.dedup.events import DAY, ONCE, SECOND, A, B, once
from tests.dedup.life import PATIENCE, failing, held_up, rows, until
from tests.kafka.following import NOW, Follow, Following, record_of, running
from tests.kafka.sending import end_metadata_task
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST, free_ports
from tests.support.topics import configure_topic, delete_records, produce

__all__ = ["quick"]
MIDNIGHT = NOW - NOW % DAY


async def is_new_with_an_id_of_the_day(following: Following, at: int) -> bool:
    """Tell whether a state that is unknown is known to be new."""
    letter = f"of {at}"
    decision = await following.life.deliver(replace(A, fingerprint=once(letter).fingerprint), at)
    assert decision.action is Action.NEW
    return decision.entry.id_ms == 0


# Not all of today is there any more.


@pytest.mark.parametrize(("ago", "whole"), [(0, False), (DAY, True)], ids=["of today", "of yesterday"])
async def test_where_the_beginning_of_today_is_gone_no_state_is_known_to_be_new_until_midnight(  # noqa: PLR0913
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str, ago: int, *, whole: bool
) -> None:
    """A partition whose first record left is older than today has lost nothing of today."""
    records = [record_of(topic, once(f"{number}"), NOW - ago) for number in range(3)]
    await asyncio.to_thread(produce, kafka.bootstrap, *records)
    await asyncio.to_thread(delete_records, kafka.bootstrap, topic, 1)
    async with follow(tmp_path) as made:
        await made.reached(3)
        await made.life.complete(MIDNIGHT + DAY)
        assert await is_new_with_an_id_of_the_day(made, NOW) is whole
        assert await is_new_with_an_id_of_the_day(made, MIDNIGHT + DAY)


async def test_what_is_missing_of_today_is_remembered_over_a_start(
    follow: Follow, kafka: KafkaCluster | NamedKafka, topic: str, tmp_path: Path
) -> None:
    async with follow(tmp_path) as first:
        await first.complete()
        await first.write(first.record(A), first.record(B))
        await first.reached(2)
        await asyncio.to_thread(delete_records, kafka.bootstrap, topic, 1)
        reading = first.life.log.current
        (tmp_path / index.FILE).unlink()
        await until(lambda: first.life.log.current is not reading and first.life.log.current.caught_up)
    async with follow(tmp_path) as second:
        await second.life.complete(MIDNIGHT + DAY)
        assert not await is_new_with_an_id_of_the_day(second, NOW)


async def test_of_a_compacted_topic_not_all_of_today_is_there(following: Following) -> None:
    """The records that are left do not tell which were not."""

    async def fetch(*args: object) -> list[Fetched]:
        return [fetched._replace(gap=True) for fetched in await fetching.fetch(*args)]  # type: ignore[arg-type]

    assert await is_new_with_an_id_of_the_day(following, NOW)
    with patch.object(module, "fetch", fetch):
        await following.write(following.record(ONCE))
        await following.reached(1)
    assert not await is_new_with_an_id_of_the_day(following, NOW + 1)
    assert await is_new_with_an_id_of_the_day(following, MIDNIGHT + DAY)


# The ends cannot be seen.


async def test_until_the_end_is_reached_no_state_is_known_to_be_new(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str
) -> None:
    await asyncio.to_thread(produce, kafka.bootstrap, record_of(topic, ONCE))
    with held_up("learn") as gate:
        async with follow(tmp_path, patience=0.05) as made:
            await until(lambda: made.fetches > 0)
            assert not await is_new_with_an_id_of_the_day(made, NOW)
            gate.set()
            await made.complete()
            assert await is_new_with_an_id_of_the_day(made, NOW + 1)


async def test_where_kafka_is_away_nothing_is_waited_for(prefix: str, tmp_path: Path) -> None:
    async with running(f"{HOST}:{free_ports(1)[0]}", prefix, tmp_path) as made:
        assert not await is_new_with_an_id_of_the_day(made, NOW)


async def test_what_waits_in_the_spool_is_known_without_an_index_though_kafka_is_away(
    prefix: str, tmp_path: Path
) -> None:
    """A retry of it may come before Kafka does: it is no new event."""
    away = f"{HOST}:{free_ports(1)[0]}"
    async with running(away, prefix, tmp_path) as first:
        assert await first.life.act(ONCE, NOW) is Action.NEW
    (tmp_path / index.FILE).unlink()
    async with running(away, prefix, tmp_path) as second:
        assert await second.life.act(ONCE, NOW + SECOND) is Action.DUPLICATE


@pytest.mark.parametrize("what", ["has no leader", "does not answer"])
async def test_while_the_end_of_a_partition_cannot_be_seen_not_all_is_known(
    follow: Follow, tmp_path: Path, topic: str, what: str
) -> None:
    hidden = True
    find = fetching.leaders

    def leaders(client: Client, topics: list[str]) -> object:
        return ({}, set(), {topic}) if hidden and what == "has no leader" else find(client, topics)

    async with follow(tmp_path) as made:
        ask = made.offsets

        async def offsets(client: Client, nodes: Nodes, when: int) -> object:
            ends = await ask(client, nodes, when)
            return {} if hidden and what == "does not answer" else ends

        with patch.object(partitions, "offsets", offsets), patch.object(module, "leaders", leaders):
            await made.polled()
            assert not made.life.log.current.caught_up
            hidden = False
            await made.complete()


@pytest.mark.parametrize("stays", [False, True], ids=["for a moment", "for good"])
async def test_a_known_topic_that_a_broker_does_not_show_may_exist_all_the_same(
    follow: Follow, tmp_path: Path, topic: str, monkeypatch: pytest.MonkeyPatch, *, stays: bool
) -> None:
    async with follow(tmp_path) as first:
        await first.write(first.record(ONCE))
        await first.reached(1)
        await until(lambda: rows(tmp_path, "SELECT offset FROM positions WHERE topic=?", topic) == [(1,)])
    looks, find, hidden = 0, fetching.leaders, True

    def leaders(client: Client, topics: list[str]) -> object:
        nonlocal looks
        looks += 1
        return ({}, {topic}, set()) if hidden else find(client, topics)

    monkeypatch.setattr(module, "leaders", leaders)
    monkeypatch.setattr(partitions, "_ABSENT_SECONDS", 0.1 if stays else PATIENCE)
    async with follow(tmp_path) as second:
        if not stays:
            await until(lambda: looks > 3)
            assert not second.life.log.current.caught_up
            hidden = False
        await second.complete()


async def test_where_there_is_no_topic_yet_all_is_known(
    prefix: str, tmp_path: Path, kafka: KafkaCluster | NamedKafka
) -> None:
    async with running(kafka.bootstrap, f"{prefix}nowhere-", tmp_path) as made:
        await made.complete()


async def test_while_no_broker_tells_the_partitions_not_all_is_known(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that clients begin with may be a load balancer's, and answer though the brokers' own do not."""
    silent, asked, learn = True, 0, Client._metadata_update  # noqa: SLF001 - what aiokafka's task calls

    async def update(client: Client, *of: Any) -> bool:  # noqa: ANN401 - what aiokafka passes
        nonlocal asked
        asked += 1
        return False if silent else await learn(client, *of)

    monkeypatch.setattr(Client, "_metadata_update", update)
    async with follow(tmp_path) as made:
        await until(lambda: asked > 3)
        assert not made.life.log.current.caught_up
        silent = False
        await made.complete()


@pytest.mark.parametrize(
    "others", [None, NOW, NOW - 29 * DAY], ids=["alone", "with another replica", "with a quiet one"]
)
async def test_only_with_other_replicas_a_good_look_at_the_ends_is_needed_again(
    following: Following, others: int | None
) -> None:
    """Alone, nobody writes what is not known here. Aurora may send nothing for days."""
    if others:
        await following.write(following.record(ONCE, others))
        await following.reached(1)

    async def offsets(*_: object) -> object:
        raise KafkaConnectionError

    with patch.object(module, "_STALE_SECONDS", 0.1):
        await following.polled(1)
        await following.complete()
        with patch.object(partitions, "offsets", offsets):
            if others:
                await until(lambda: not following.life.log.complete(NOW))
            else:
                await asyncio.wait_for(until(lambda: following.client.alive is False), 30)
                assert following.life.log.complete(NOW)
    await following.complete()


async def test_the_look_that_meets_the_first_other_replica_is_one_that_is_needed_again(following: Following) -> None:
    await following.complete()

    async def offsets(*args: Any) -> object:  # noqa: ANN401 - those of `offsets`
        if following.known:
            raise KafkaConnectionError
        return await following.offsets(*args)

    with patch.object(module, "_STALE_SECONDS", 0.1), patch.object(partitions, "offsets", offsets):
        await following.write(following.record(ONCE))
        await until(lambda: not following.life.log.complete(NOW))
    assert following.followed == 1
    await following.complete()


async def test_while_a_partition_cannot_be_decoded_not_all_is_known(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(configure_topic, kafka.bootstrap, topic, {"compression.type": "zstd"})
    async with follow(tmp_path) as made:
        async with made.before_a_poll():
            await made.write(made.record(ONCE))
        await until(lambda: "cannot be followed" in caplog.text)
        await made.polled(2)
        assert (made.followed, made.lag, made.life.log.current.caught_up) == (0, 1, False)


# Reading.


async def test_an_end_that_is_never_reached_is_asked_for_again_and_does_not_keep_the_loop_busy(
    following: Following,
) -> None:
    """A new leader may have less than the old one had."""

    async def offsets(client: Client, nodes: Nodes, when: int) -> object:
        return dict.fromkeys(await following.offsets(client, nodes, when), 5)

    with patch.object(partitions, "offsets", offsets):
        await following.polled(5)
    assert 0 < following.fetches <= 6


async def test_a_broker_that_has_nothing_holds_up_what_others_have_only_once(following: Following) -> None:
    """A fetch waits where nothing is at hand, and all brokers are asked together."""
    following.runs.cancel()
    asked = []

    async def fetch(_client: Client, nodes: Nodes, begins: Mapping[TopicPartition, int], _bytes: int) -> list[Fetched]:
        asked.append(set(nodes.values()))
        return [Fetched(place, None, [], begins[place] + (node == 1)) for place, node in nodes.items()]

    places = [TopicPartition("topic", partition) for partition in range(2)]
    follower: Any = following.follower
    read_group, known = follower._fetch, follower._partitions  # noqa: SLF001 - of two brokers, which `kafka` is not
    with (
        patch.object(module, "fetch", fetch),
        patch.object(known, "is_behind", lambda _, reached: reached < 3),
        patch.object(known, "lacks_today", lambda *_: False),
    ):
        await read_group(None, dict(zip(places, (1, 2), strict=True)), dict.fromkeys(places, 0))
    assert asked == [{1, 2}, {1}, {1}]


async def test_what_a_full_file_does_not_take_is_read_again(following: Following) -> None:
    with failing("learn", code=sqlite3.SQLITE_FULL):
        await following.write(following.record(ONCE))
        await until(lambda: following.fetches > 2)
        assert following.followed == 0
    await following.reached(1)
    assert following.followed == 1


async def test_a_client_whose_metadata_task_died_is_replaced(following: Following) -> None:
    """A wait for its metadata would never end."""
    await following.polled(1)
    dead = following.client
    end_metadata_task(dead)
    await until(lambda: following.client is not dead)
    await following.write(following.record(ONCE))
    await following.reached(1)


async def test_a_long_reading_tells_how_far_it_is(
    follow: Follow, tmp_path: Path, kafka: KafkaCluster | NamedKafka, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        await asyncio.to_thread(produce, kafka.bootstrap, record_of(topic, once(f"{number}")))
    caplog.set_level(logging.INFO)
    with (
        patch.object(reading_progress, "_PROGRESS_SECONDS", 0),
        patch.object(module, "_GROUP", 1),
        patch.object(module, "_FETCH_BYTES", 1),
    ):
        async with follow(tmp_path) as made:
            await made.complete()
            ended = made.life.log.current.progress
            assert (ended.read, ended.to_read, ended.seconds_left()) == (3, 0, 0)
    lines = [vars(record)["fields"] for record in caplog.records if record.message.startswith("reading the log")]
    assert [(line["read"], line["to_read"]) for line in lines] == [(1, 2), (2, 1)]
    assert all(line["seconds_left"] >= 0 for line in lines)


async def test_a_follower_ends_though_the_file_hangs(follow: Follow, tmp_path: Path) -> None:
    with held_up("learn") as gate:
        async with follow(tmp_path) as made:
            await made.write(made.record(ONCE))
            await until(lambda: made.fetches > 0)
            made.runs.cancel()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(made.runs, return_exceptions=True)
            assert not gate.is_set()
            gate.set()
