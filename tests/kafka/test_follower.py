"""The follower with a real broker and a real index: what it reads, what it need not read, and when it is up to date."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any, Final
from unittest.mock import patch

import pytest
from aiokafka.structs import TopicPartition
from aurora_bridge.dedup.claims import Verdict

from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.kafka import fetch as fetching
from aurora_bridge.kafka import follower as module
from aurora_bridge.kafka.fetch import Fetched
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.problems import REASONS, Problems
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.settings import IndexSettings
from aurora_bridge.webhook.event import Event, Headers, rfc3339
from tests.kafka.sending import EVENT, PATIENCE, client_of, eventually
from tests.models.desk import DAY, ONCE, A, B
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST, free_ports
from tests.support.topics import Record, configure_topic, create_topics, delete_records, delete_topics, produce

NOW: Final = int(time() * 1e6)
SECOND: Final = 1_000_000


class Following:
    """A follower of one topic of one partition, the index it fills, and the requests it makes."""

    def __init__(self, bootstrap: str, prefix: str, directory: Path) -> None:
        self._bootstrap = bootstrap
        self.topic = prefix + EVENT
        self.metrics = Metrics(kafka_problems=tuple(REASONS))
        self.dedup = Deduplicator(directory, IndexSettings(), 1e9, self.metrics, first_knows=False, follows=True)
        self.dedup.start()
        self.fetches = 0
        self.looks = 0
        self.client: Any = None
        """The one that looked last."""
        self.stored: list[tuple[TopicPartition, int, int]] = []
        self.follower = Follower(
            client_of(bootstrap),
            prefix,
            [EVENT],
            self.dedup,
            instance="me",
            stored=self.take_stored,
            window_days=30,
            problems=Problems(self.metrics),
            metrics=self.metrics,
        )

    def take_stored(self) -> list[tuple[TopicPartition, int, int]]:
        """Return where records of ours were stored since the last call."""
        taken, self.stored = self.stored, []
        return taken

    def acknowledge(self, offset: int) -> None:
        """Let one record of ours have been stored."""
        self.stored.append((TopicPartition(self.topic, 0), offset, offset + 1))

    async def fetch(self, *args: Any) -> list[Fetched]:  # noqa: ANN401 - those of `fetch`
        """Count what is fetched."""
        self.fetches += 1
        return await fetching.fetch(*args)

    async def look(self, *args: Any) -> Any:  # noqa: ANN401 - of `_look`
        """Count the looks at the ends."""
        self.client = args[0]
        seen = await Follower._look(self.follower, *args)  # noqa: SLF001 - a look is what all waiting here is for
        self.looks += 1
        return seen

    async def looked(self, times: int = 3) -> None:
        """Return after so many more looks."""
        end = self.looks + times
        await eventually(lambda: self.looks >= end)

    @property
    def followed(self) -> int:
        """How many records were taken over."""
        return int(self.metrics.followed_records[()])

    async def write(self, *records: Record) -> None:
        """Append records."""
        await asyncio.to_thread(produce, self._bootstrap, *records)

    async def judge(self, event: Event, at: int) -> Verdict:
        """Judge a delivery."""
        async with asyncio.timeout(PATIENCE):
            return await self.dedup.claim(event._replace(repeat_window_us=DAY), at)

    def of(self, event: Event, at: int, instance: str = "other", **others: str) -> Record:
        """Return the record of an event's first occurrence on a day."""
        key = event.fingerprint if event is ONCE else f"{event.fingerprint}.{rfc3339(at)[:10].replace('-', '')}"
        named = {"fingerprint": event.fingerprint, "time": rfc3339(at), "instance": instance, "attempt": "1", **others}
        if event.family_key is not None:
            named["family"] = event.family_key
        headers: Mapping[str, str | bytes | None] = {f"aurora-bridge-{name}": text for name, text in named.items()}
        return Record(self.topic, 0, -1, key.encode(), b"v", dict(headers), at // 1000)


@asynccontextmanager
async def running(bootstrap: str, prefix: str, directory: Path) -> AsyncIterator[Following]:
    made = Following(bootstrap, prefix, directory)
    with patch.object(module, "fetch", made.fetch), patch.object(made.follower, "_look", made.look):
        task = asyncio.create_task(made.follower.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await made.dedup.stop(PATIENCE)


@pytest.fixture
async def following(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path
) -> AsyncIterator[Following]:
    del topic
    async with running(kafka.bootstrap, prefix, tmp_path) as made:
        await eventually(lambda: made.dedup.followed)
        yield made


async def test_where_only_we_write_nothing_is_fetched(following: Following) -> None:
    for offset in range(3):
        following.acknowledge(offset)
        await following.write(following.of(A, NOW + offset, "me"))
    await following.looked()
    assert (following.fetches, following.followed) == (0, 0)


async def test_what_another_wrote_between_ours_is_read_and_known(following: Following) -> None:
    await following.write(following.of(A, NOW, "me"), following.of(ONCE, NOW), following.of(B, NOW, "me"))
    for offset in (0, 2):
        following.acknowledge(offset)
    await eventually(lambda: following.followed > 0)
    assert (await following.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE


async def test_records_of_strangers_are_read_over(following: Following) -> None:
    stranger = Record(following.topic, 0, -1, None, None, {}, NOW // 1000)
    broken = following.of(A, NOW, attempt="9" * 40, time="yesterday")
    await following.write(stranger, broken, following.of(ONCE, NOW, attempt="9" * 40))
    await eventually(lambda: following.followed > 0)
    assert following.followed == 1
    assert (await following.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE
    assert (await following.judge(A, NOW + SECOND)).action is Action.PUBLISH


async def test_a_topic_made_anew_is_followed_anew(
    following: Following, kafka: KafkaCluster | NamedKafka, topic: str
) -> None:
    await following.write(*(following.of(A, NOW + number) for number in range(5)))
    await eventually(lambda: following.followed == 5)
    await asyncio.to_thread(delete_topics, kafka.bootstrap, topic)
    await asyncio.to_thread(create_topics, kafka.bootstrap, topic, partitions=1)
    await following.write(following.of(ONCE, NOW))
    await eventually(lambda: following.followed == 6)
    assert (await following.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE


async def test_after_a_stop_it_goes_on_where_it_was(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path
) -> None:
    del topic
    async with running(kafka.bootstrap, prefix, tmp_path) as first:
        await first.write(first.of(A, NOW), first.of(ONCE, NOW))
        await eventually(lambda: first.followed == 2)
        await first.looked()  # what was taken over is behind it
    async with running(kafka.bootstrap, prefix, tmp_path) as second:
        await second.write(second.of(B, NOW + 1))
        await eventually(lambda: second.dedup.followed)
        assert second.followed == 1
        assert (await second.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE


async def test_what_left_the_topic_before_it_was_read_is_passed_over(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path
) -> None:
    async with running(kafka.bootstrap, prefix, tmp_path) as first:
        await first.write(first.of(A, NOW))
        await eventually(lambda: first.followed == 1)
        await first.looked()
    await first.write(*(first.of(A, NOW + number) for number in range(3)), first.of(ONCE, NOW))
    await asyncio.to_thread(delete_records, kafka.bootstrap, topic, 4)
    async with running(kafka.bootstrap, prefix, tmp_path) as second:
        await eventually(lambda: second.dedup.followed)
        assert second.followed == 1
        assert (await second.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE


async def test_what_is_older_than_the_index_window_is_not_read(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path
) -> None:
    del topic
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with running(kafka.bootstrap, prefix, tmp_path / "one") as first:
        await first.write(first.of(ONCE, NOW - 31 * DAY))
        await first.write(first.of(A, NOW))
    async with running(kafka.bootstrap, prefix, tmp_path / "other") as second:
        await eventually(lambda: second.dedup.followed)
        assert second.followed == 1


async def test_what_is_acknowledged_before_the_spool_was_looked_through_is_read_from_kafka(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path
) -> None:
    """The drainer is faster than the follower, and the index was lost: nobody else remembers what left the spool."""
    del topic
    async with running(kafka.bootstrap, prefix, tmp_path) as made:
        made.acknowledge(0)
        await made.write(made.of(ONCE, NOW, "me"))
        await eventually(lambda: made.followed == 1)
        assert (await made.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE


async def test_what_waits_in_the_spool_is_known_without_an_index_though_kafka_is_away(tmp_path: Path) -> None:
    """A retry of it may come before Kafka does: it is no new event."""
    spool = Spool(tmp_path, 2**20)
    spool.start()
    named = {"fingerprint": ONCE.fingerprint, "time": rfc3339(NOW), "instance": "me", "attempt": "1"}
    headers: Headers = [(f"aurora-bridge-{name}", text.encode()) for name, text in named.items()]
    kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = OutboxRecord(EVENT, ONCE.fingerprint.encode(), b"{}", headers, b"p", NOW // 1000)
    spool.append([waiting], lambda *_: kept.set_result(None))
    await kept
    try:
        async with running(f"{HOST}:{free_ports(1)[0]}", "away.", tmp_path) as made:
            await made.dedup.recover(spool)
            assert (await made.judge(ONCE, NOW + SECOND)).action is Action.DUPLICATE
    finally:
        assert await spool.stop(PATIENCE)


@pytest.mark.parametrize("what", ["has no leader", "does not answer"])
async def test_while_the_end_of_a_partition_cannot_be_seen_the_index_is_not_up_to_date(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path, what: str
) -> None:
    hidden = True
    ask = fetching.offsets

    async def offsets(client: Any, node: int, wanted: Mapping[TopicPartition, int]) -> Any:  # noqa: ANN401
        told = await ask(client, node, wanted)
        return [] if hidden and what == "does not answer" else told

    del topic
    with patch.object(module, "offsets", offsets):
        async with running(kafka.bootstrap, prefix, tmp_path) as made:
            places = made.follower._places  # noqa: SLF001

            def dark(client: Any) -> Any:  # noqa: ANN401
                found, missing, _ = places(client)
                return ({}, missing, {made.topic}) if hidden and what == "has no leader" else (found, missing, set())

            with patch.object(made.follower, "_places", dark):
                await made.looked(2)
                assert not made.dedup.followed
                hidden = False
                await eventually(lambda: made.dedup.followed)


async def test_while_a_partition_cannot_be_decoded_the_index_is_not_up_to_date(
    kafka: KafkaCluster | NamedKafka, prefix: str, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(configure_topic, kafka.bootstrap, topic, {"compression.type": "zstd"})
    async with running(kafka.bootstrap, prefix, tmp_path) as made:
        await made.write(made.of(ONCE, NOW))
        await eventually(lambda: "cannot be followed" in caplog.text)
        await made.looked(2)
        lag = made.metrics.follower_lag_records.source
        assert lag is not None
        assert (made.followed, lag()) == (0, 1)


async def test_an_end_that_is_never_reached_is_asked_for_again_and_does_not_keep_the_loop_busy(
    following: Following,
) -> None:
    """A new leader may have less than the old one had."""
    ask = fetching.offsets

    async def offsets(client: Any, node: int, wanted: Mapping[TopicPartition, int]) -> Any:  # noqa: ANN401
        return [(place, 5, None) for place, _, _ in await ask(client, node, wanted)]

    with patch.object(module, "offsets", offsets):
        await following.looked(5)
    assert 0 < following.fetches <= 5


async def test_a_client_whose_metadata_task_died_is_made_anew(following: Following) -> None:
    """A wait for its metadata would never end."""
    await following.looked(1)
    dead = following.client
    dead._sync_task.cancel()  # noqa: SLF001
    await eventually(lambda: following.client is not dead)
    await following.write(following.of(ONCE, NOW))
    await eventually(lambda: following.followed == 1)
