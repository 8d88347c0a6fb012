"""Backlogs drained into a real broker: in order, each record once, and no topic behind another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import pytest

from aurora_bridge.kafka.producer_client import Connect
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox import drainer, rows
from aurora_bridge.outbox.drainer import WINDOW, Drainer
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Refusal
from aurora_bridge.settings import DeadlinesSettings
from tests.kafka.scripted import Batches, ScriptedClient, keys_of
from tests.kafka.sending import (
    EVENT,
    PATIENCE,
    client_of,
    client_through,
    eventually,
    numbers,
    run,
    sender_metrics,
    sender_of,
    stored,
    stored_at_last,
)
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.proxy import Proxy
from tests.support.topics import create_topics, delete_topics, read_all

OTHER = "lead_created"


class Stack:
    """Sender, spool, publisher and drainer, as the daemon puts them together."""

    def __init__(self, connect: Connect, prefix: str, spool: Spool, events: Iterable[str]) -> None:
        self.metrics = sender_metrics()
        self.spool = spool
        make_sender = partial(sender_of, connect, prefix, events, metrics=self.metrics)
        self.publisher = Publisher(DeadlinesSettings(), events, make_sender, spool, self.metrics)
        assert self.publisher.sender is not None
        self.sender = self.publisher.sender
        self.drainer = Drainer(self.publisher, self.sender, spool)

    async def publish(self, *records: OutboxRecord) -> list[Outcome]:
        """Take deliveries at once, in this order, and wait for their answers."""
        now = asyncio.get_running_loop().time()
        for record in records:
            record.received = now
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*map(self.publisher.publish, records))

    async def direct(self, event: str = EVENT) -> None:
        """Wait until a topic is direct."""
        await eventually(lambda: self.publisher.backlogs[event].direct)

    async def drained(self) -> None:
        """Wait until nothing waits in the spool."""
        await eventually(lambda: self.spool.waiting == 0)


@asynccontextmanager
async def stack(
    connect: Connect,
    directory: Path,
    prefix: str,
    *events: str,
    drain: bool = True,
    max_bytes: int = 2**26,
) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as exits:
        spool = Spool(directory, max_bytes)
        spool.start()
        exits.push_async_callback(spool.stop, PATIENCE)
        made = Stack(connect, prefix, spool, events)
        await exits.enter_async_context(run(made.sender))
        tasks = [asyncio.create_task(sweep(made.publisher))]
        if drain:
            tasks.append(asyncio.create_task(made.drainer.run()))

        async def end() -> None:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, asyncio.CancelledError), result

        exits.push_async_callback(end)
        yield made


async def sweep(publisher: Publisher) -> None:
    """Enforce the deadlines."""
    while True:
        await asyncio.sleep(0.1)
        publisher.sweep(monotonic())


async def leave_behind(directory: Path, *records: OutboxRecord, quarantined: str | None = None) -> None:
    """Fill the spool of a daemon that ran here before; with the reason, what Kafka refused."""
    spool = Spool(directory, 2**26)
    spool.start()
    committed = asyncio.Event()
    spool.append(records, lambda *_: committed.set(), quarantined=quarantined)
    await committed.wait()
    await spool.stop(PATIENCE)


# The ordinary way


async def test_a_topic_without_a_backlog_becomes_direct(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        assert await made.publish(make_record("a"), make_record("b")) == [Outcome.PUBLISHED] * 2
    assert await stored(kafka.bootstrap, topic) == ["a", "b"]


async def test_a_backlog_is_drained_in_order_over_many_windows_and_then_the_topic_is_direct(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    left = numbers(2 * WINDOW + 100)
    await leave_behind(tmp_path, *map(make_record, left))
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        assert await made.publish(make_record("after")) == [Outcome.PUBLISHED]
        await made.drained()
        assert made.publisher.backlogs[EVENT].waiting == 0
    assert await stored(kafka.bootstrap, topic) == [*left, "after"]


@pytest.mark.proves("events of a subject stay in order, through an outage too")
async def test_what_comes_while_a_backlog_is_drained_arrives_behind_it(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    left, come = numbers(WINDOW + 100), numbers(2000, first=5000)
    await leave_behind(tmp_path, *map(make_record, left))
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        answers = []
        for name in come:
            answers.append(asyncio.ensure_future(made.publish(make_record(name))))
            await asyncio.sleep(0)
        outcomes = {outcome for (outcome,) in await asyncio.gather(*answers)}
        await made.direct()
        await made.drained()
    assert outcomes <= {Outcome.PUBLISHED, Outcome.SPOOLED}
    assert await stored(kafka.bootstrap, topic) == [*left, *come]


async def test_what_was_drained_is_not_there_at_the_next_start(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    await leave_behind(tmp_path, *map(make_record, numbers(10)))
    for _ in range(2):
        async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
            await made.direct()
            await made.drained()
    assert numbers(10) == await stored(kafka.bootstrap, topic)


async def test_a_drained_record_has_the_time_when_it_was_handed_over_and_not_that_of_its_event(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    """Kafka's retention counts from it: what waited for longer than that would be deleted unread."""
    await leave_behind(tmp_path, make_record("late", time_ms=1))
    before_ms = time_ns() // 1_000_000
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        await made.drained()
    (found,) = await asyncio.to_thread(read_all, kafka.bootstrap, [topic])
    assert before_ms <= found.timestamp <= time_ns() // 1_000_000


# Topics


@pytest.mark.proves("no topic and no record holds up another")
async def test_one_topic_does_not_hold_up_another(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    await leave_behind(tmp_path, make_record("waits", OTHER), *map(make_record, numbers(10)))
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT, OTHER) as made:
        await made.direct(EVENT)
        assert await made.publish(make_record("direct"), make_record("spooled", OTHER)) == [
            Outcome.PUBLISHED,
            Outcome.SPOOLED,
        ]
        assert await stored(kafka.bootstrap, topic) == [*numbers(10), "direct"]
        await asyncio.to_thread(create_topics, kafka.bootstrap, prefix + OTHER, partitions=1)
        await made.direct(OTHER)
        await made.drained()
    assert await stored(kafka.bootstrap, prefix + OTHER) == ["waits", "spooled"]


async def test_a_deleted_topic_keeps_its_backlog_until_it_is_recreated(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        assert await made.publish(make_record("gone")) == [Outcome.PUBLISHED]
        await asyncio.to_thread(delete_topics, kafka.bootstrap, topic)
        assert await made.publish(make_record("a")) == [Outcome.SPOOLED]
        await eventually(lambda: not made.sender.writable(EVENT))
        assert await made.publish(make_record("b")) == [Outcome.SPOOLED]
        await asyncio.to_thread(create_topics, kafka.bootstrap, topic, partitions=1)
        await made.direct()
        await made.drained()
        assert await made.publish(make_record("c")) == [Outcome.PUBLISHED]
    assert await stored(kafka.bootstrap, topic) == ["a", "b", "c"]


# Records at fault


@pytest.mark.proves("no topic and no record holds up another")
async def test_what_kafka_rejects_is_quarantined_and_blocks_nobody(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    limit = {"max.message.bytes": "4000"}
    await asyncio.to_thread(create_topics, kafka.bootstrap, prefix + EVENT, partitions=1, config=limit)
    left = [make_record(name, size=5000 if name == "0007" else 0) for name in numbers(20)]
    await leave_behind(tmp_path, *left)
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        await made.drained()
        outcomes = await made.publish(make_record("large", size=5000), make_record("small"))
        assert outcomes == [Outcome.SPOOLED, Outcome.PUBLISHED]
    assert await stored(kafka.bootstrap, prefix + EVENT) == [*(n for n in numbers(20) if n != "0007"), "small"]
    spool = Spool(tmp_path, 2**26)
    assert (spool.stats.quarantined, spool.waiting) == (2, 0)
    spool.start()
    await spool.stop(PATIENCE)


# Outages


async def test_a_record_in_doubt_is_spooled_and_makes_no_second_copy_when_it_is_drained(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    async with (
        Proxy(int(kafka.bootstrap.rpartition(":")[2])) as proxy,
        stack(client_through(proxy), tmp_path, prefix, EVENT) as made,
    ):
        await made.direct()
        await made.publish(make_record("before"))
        proxy.lose_answers()
        doubtful = asyncio.ensure_future(made.publish(make_record("in doubt"), make_record("in doubt too")))
        await proxy.answer_lost()
        await stored_at_last(kafka.bootstrap, topic, "in doubt too")
        behind = asyncio.ensure_future(made.publish(make_record("behind")))
        await asyncio.sleep(0)
        proxy.cut()
        assert set(await doubtful + await behind) == {Outcome.SPOOLED}
        await made.direct()
        await made.drained()
        assert await made.publish(make_record("after")) == [Outcome.PUBLISHED]
    assert await stored(kafka.bootstrap, topic) == ["before", "in doubt", "in doubt too", "behind", "after"]


@pytest.mark.slow
async def test_while_the_broker_is_away_events_are_spooled_and_afterwards_all_are_there_in_order(
    kafka1: KafkaCluster, topic: str, prefix: str, tmp_path: Path
) -> None:
    come: list[str] = []
    async with stack(client_of(kafka1.bootstrap), tmp_path, prefix, EVENT) as made:

        async def publish_some() -> set[Outcome]:
            names = numbers(50, first=len(come))
            come.extend(names)
            return set(await made.publish(*map(make_record, names)))

        await made.direct()
        assert await publish_some() == {Outcome.PUBLISHED}
        kafka1.nodes[0].kill()
        for _ in range(3):
            assert await publish_some() == {Outcome.SPOOLED}
        restart = asyncio.create_task(asyncio.to_thread(kafka1.nodes[0].restart))
        while not (await asyncio.wait([restart], timeout=0.2))[0]:  # a start may take long, the backlog is to drain
            await publish_some()
        await restart
        await made.direct()
        assert await publish_some() == {Outcome.PUBLISHED}
        await made.drained()
    assert list(dict.fromkeys(await stored(kafka1.bootstrap, topic))) == come


# A broker from a script


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(drainer, "_RETRY_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_topic_that_is_refused_keeps_its_backlog_and_is_tried_again(tmp_path: Path) -> None:
    refusals = 2

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return dict.fromkeys(batches, 29 if len(client.sent) <= refusals else 0)

    await leave_behind(tmp_path, *map(make_record, numbers(3)))
    client = ScriptedClient({EVENT: 1}, answers)
    async with stack(client.connect, tmp_path, "", EVENT) as made:
        await made.drained()
    assert [keys_of(batches[EVENT, 0]) for batches in client.sent] == [numbers(3)] * 3


@pytest.mark.usefixtures("quick")
async def test_behind_a_refused_batch_nothing_of_the_same_window_is_sent(tmp_path: Path) -> None:
    """A refusal can be over a moment later; what is sent then would be ahead of what was refused."""
    log: list[str] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        code = 29 if len(client.sent) == 1 else 0
        if code == 0:
            log.extend(keys_of(batches[EVENT, 0]))
        return dict.fromkeys(batches, code)

    await leave_behind(tmp_path, *(make_record(name, size=300_000) for name in numbers(4)))
    client = ScriptedClient({EVENT: 1}, answers)
    async with stack(client.connect, tmp_path, "", EVENT) as made:
        await made.drained()
    assert log == numbers(4)


@pytest.mark.usefixtures("quick")
async def test_a_window_that_the_sender_did_not_take_does_not_open_the_direct_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic's metadata can be gone between the look at them and the end of reading the window."""
    log: list[str] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        log.extend(keys_of(batches[EVENT, 0]))
        return dict.fromkeys(batches, 0)

    left = numbers(WINDOW + 10)
    await leave_behind(tmp_path, *map(make_record, left))
    client = ScriptedClient({EVENT: 1}, answers)
    vanished = asyncio.Event()
    async with stack(client.connect, tmp_path, "", EVENT) as made:
        head = made.spool.head

        async def head_while_metadata_vanish(event: str, limit: int, *, after: int) -> list[OutboxRecord]:
            window = await head(event, limit, after=after)
            if log and not vanished.is_set():
                client.learn({})
                vanished.set()
            return window

        monkeypatch.setattr(made.spool, "head", head_while_metadata_vanish)
        await vanished.wait()
        await asyncio.sleep(0)
        client.learn({EVENT: 1})
        await made.publish(make_record("after"))
        await made.drained()
    assert log == [*left, "after"]


async def read_while_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> list[str]:
    """Have the only record of a backlog acknowledged while the drainer reads it; return Kafka's log.

    `then` is how it goes on: with another event, or by waiting until the topic is direct.
    """
    log: list[str] = []
    answer, asked = asyncio.Event(), asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if len(client.sent) == 1:
            return ConnectionResetError()
        if len(client.sent) == 2:
            asked.set()
            await answer.wait()
        log.extend(keys_of(batches[EVENT, 0]))
        return dict.fromkeys(batches, 0)

    client = ScriptedClient({EVENT: 1}, answers)
    async with stack(client.connect, tmp_path, "", EVENT, drain=False) as made:
        await eventually(lambda: made.sender.writable(EVENT))
        made.publisher.backlogs[EVENT].handed_over(0)
        loop, acknowledged, head = asyncio.get_running_loop(), threading.Event(), rows.head

        def head_while_acknowledged(*wanted: Any) -> list[OutboxRecord]:  # noqa: ANN401 - as it is called
            found = head(*wanted)
            loop.call_soon_threadsafe(answer.set)
            acknowledged.wait(10)
            return found

        monkeypatch.setattr(rows, "head", head_while_acknowledged)
        assert await made.publish(make_record("a")) == [Outcome.SPOOLED]
        await asked.wait()
        drain = asyncio.create_task(made.drainer.run())
        await eventually(lambda: made.spool.waiting == 0)
        acknowledged.set()
        await made.drained()
        if then == "another event":
            await made.publish(make_record("b"))
            await made.drained()
        await made.direct()
        assert made.publisher.backlogs[EVENT].waiting == 0
        drain.cancel()
    return log


async def test_an_acknowledgement_that_comes_while_the_window_is_read_makes_no_second_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await read_while_acknowledged(tmp_path, monkeypatch, then="another event") == ["a", "b"]


async def test_and_the_topic_is_direct_when_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read_while_acknowledged(tmp_path, monkeypatch, then="wait") == ["a"]


async def test_a_topic_whose_events_found_no_room_in_the_spool_is_direct_again_when_kafka_is(tmp_path: Path) -> None:
    """The spool may be full of another topic's events for long."""
    failed = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if (EVENT, 0) in batches and not failed.is_set():
            failed.set()
            return ConnectionResetError()
        return {where: 29 if where[0] == OTHER else 0 for where in batches}

    client = ScriptedClient({EVENT: 1, OTHER: 1}, answers)
    async with stack(client.connect, tmp_path, "", EVENT, OTHER, max_bytes=2**18) as made:
        await made.direct(EVENT)
        while not made.spool.full:
            with suppress(Refusal):
                await made.publish(make_record("fill", OTHER, size=3000))
        with pytest.raises(Refusal, match="spool_full"):
            await made.publish(make_record("a", size=10_000))
        await made.direct(EVENT)
        assert await made.publish(make_record("b", size=10_000)) == [Outcome.PUBLISHED]


# What was quarantined, and comes back


async def test_what_is_restored_while_its_backlog_drains_goes_out_before_the_rest(tmp_path: Path) -> None:
    log: list[str] = []
    restored: list[asyncio.Future[list[int]]] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        log.extend(keys_of(batches[EVENT, 0]))
        if not restored:
            restored.append(made.publisher.restore([1]))
            await restored[0]
        return dict.fromkeys(batches, 0)

    left = numbers(3 * WINDOW)
    await leave_behind(tmp_path, make_record("quarantined"), quarantined="message_too_large")
    await leave_behind(tmp_path, *map(make_record, left))
    async with stack(ScriptedClient({EVENT: 1}, answers).connect, tmp_path, "", EVENT) as made:
        await made.drained()
    assert (sorted(log), log.index("quarantined")) == (sorted([*left, "quarantined"]), WINDOW)


async def test_what_is_restored_goes_out_before_what_waits_in_its_topic(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    await leave_behind(tmp_path, make_record("quarantined"), quarantined="message_too_large")
    await leave_behind(tmp_path, make_record("waits"))
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT, drain=False) as made:
        assert await made.publisher.restore([1]) == [1]
        assert made.spool.waiting == made.publisher.backlogs[EVENT].waiting == 2
        draining = asyncio.create_task(made.drainer.run())
        await made.drained()
        draining.cancel()
    assert await stored(kafka.bootstrap, topic) == ["quarantined", "waits"]


@pytest.mark.proves("no topic and no record holds up another")
async def test_a_direct_topic_takes_what_is_restored_and_what_comes_meanwhile_joins_behind_it(
    kafka: KafkaCluster | NamedKafka, topic: str, prefix: str, tmp_path: Path
) -> None:
    await leave_behind(tmp_path, make_record("quarantined"), quarantined="message_too_large")
    async with stack(client_of(kafka.bootstrap), tmp_path, prefix, EVENT) as made:
        await made.direct()
        before = [asyncio.ensure_future(made.publish(make_record(key))) for key in numbers(50)]
        await asyncio.sleep(0)  # the deliveries are under way
        restored = made.publisher.restore([1])
        assert await restored == [1]
        await made.publish(make_record("behind"))  # spooled, or the topic is direct again already
        await asyncio.gather(*before)
        await made.drained()
        await made.direct()
        assert await made.publish(make_record("at last")) == [Outcome.PUBLISHED]
    kept = await stored(kafka.bootstrap, topic)
    assert sorted(kept) == sorted([*numbers(50), "quarantined", "behind", "at last"])
    assert [key for key in kept if key != "quarantined"] == [*numbers(50), "behind", "at last"]
    assert kept.index("quarantined") < kept.index("behind")


async def test_only_what_was_quarantined_is_restored_or_discarded(tmp_path: Path) -> None:
    await leave_behind(tmp_path, make_record("waits"))
    await leave_behind(tmp_path, make_record("quarantined"), make_record("too"), quarantined="message_too_large")
    spool = Spool(tmp_path, 2**26)
    spool.start()
    publisher = Publisher(DeadlinesSettings(), [EVENT], None, spool, Metrics())
    assert await publisher.restore([1, 2, 9]) == [2]
    assert await spool.discard([1, 2, 3, 9]) == [(3, EVENT)]
    assert spool.waiting == publisher.backlogs[EVENT].waiting == 2
    assert [record.seq for record in await spool.head(EVENT, 10)] == [1, 2]
    await spool.stop(PATIENCE)
