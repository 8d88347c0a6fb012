"""Which batches go into the next request to a broker, and when it goes; the brokers are scripted."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
)
from aiokafka.protocol.metadata import MetadataResponse_v0

from aurora_bridge.kafka import broker, metadata, partition_queue
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.linger import Linger
from aurora_bridge.kafka.produce_protocol import Produce, murmur2
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, all_stored, keys_of
from tests.kafka.sending import EVENT, PATIENCE, Journal, eventually, numbers, running


async def test_only_one_request_is_under_way_and_what_comes_meanwhile_shares_the_next() -> None:
    release = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        await release.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 2}, answers), Journal()
    records = [make_record(name, subject=f"lead/{name}") for name in numbers(10)]
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        first, *others = journal.hear(records)
        run.submit(first)
        await eventually(lambda: bool(client.sent))
        run.submit(*others)
        await asyncio.sleep(0)
        assert len(client.sent) == 1
        release.set()
        await journal.ended(10)
    assert [sum(len(keys_of(batch)) for batch in batches.values()) for batches in client.sent] == [1, 9]


async def test_what_came_while_a_request_was_under_way_goes_as_soon_as_that_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gap counts from the request before, and not from a look that found its broker busy."""
    now, under_way, answered = 1000.0, asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(Linger, "note", lambda linger, *_: setattr(linger, "gap_seconds", 2 * PATIENCE))
    monkeypatch.setattr("aurora_bridge.kafka.sender.monotonic", lambda: now)

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        under_way.set()
        await answered.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await under_way.wait()
        now += 2 * PATIENCE
        run.submit(*journal.hear([make_record("b")]))
        await asyncio.sleep(0)  # the look
        answered.set()
        await journal.ended(2)
    assert journal.acknowledged() == ["a", "b"]


async def test_a_broker_that_throttles_us_gets_nothing_before_it_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is no lost connection, and no reason to spool."""
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._WATCH_SECONDS", 0.001)
    sent_at: list[float] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        sent_at.append(monotonic())
        client.throttle_ms = 300 if len(sent_at) == 1 else 0
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
        run.submit(*journal.hear([make_record("b")]))
        await eventually(lambda: any(problem.reason == "throttled" for problem in run.sender.problems))
        await journal.ended(2)
        assert (run.errors(), run.unreachable, run.sender.writable(EVENT)) == ({}, [], True)
    assert sent_at[1] - sent_at[0] >= 0.3
    assert run.metrics.kafka_throttled_seconds["1"].sum == pytest.approx(0.3)
    assert journal.ends("b") == [DeliveryStatus.ACKNOWLEDGED]


class TwoBrokers(ScriptedClient):
    """`lead_created` is led by a second broker."""

    throttled = 1

    def _tell(self) -> None:
        led = [(0, name, [(0, 0, 2 if name == "lead_created" else 1, [1], [1])]) for name in self.topics]
        self.cluster.update_metadata(MetadataResponse_v0([(1, "127.0.0.1", 1), (2, "127.0.0.1", 2)], led))

    async def send(self, node_id: int, request: Any, **options: object) -> Any:  # noqa: ANN401 - as the double has it
        del node_id  # the script has one
        return await super().send(1, request, **options)

    async def produce(self, node_id: int, request: Produce) -> Any:  # noqa: ANN401 - likewise
        answer = await super().produce(1, request)
        answer.throttle_time_ms = 1000 * PATIENCE if node_id == self.throttled else 0
        return answer


async def test_a_broker_that_throttles_us_holds_up_no_other() -> None:
    client, journal = TwoBrokers({EVENT: 1, "lead_created": 1}, all_stored), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
        run.submit(make_record("waits"))
        await eventually(lambda: run.sender._flush_handle is None)  # noqa: SLF001 - nobody hears of a look that sends nothing
        run.submit(*journal.hear([make_record("b", "lead_created")]))
        async with asyncio.timeout(PATIENCE / 2):
            await journal.ended(2)


async def test_a_partition_that_pauses_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_queue, "_FIRST_PAUSE_SECONDS", PATIENCE)
    monkeypatch.setattr(partition_queue, "_LONGEST_PAUSE_SECONDS", PATIENCE)

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: 19 if where[0] == EVENT else 0 for where in batches}

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(make_record("waits"))
        await eventually(lambda: bool(run.errors()) and run.sender._flush_handle is None)  # noqa: SLF001 - likewise
        run.submit(*journal.hear([make_record("b", "lead_created")]))
        async with asyncio.timeout(PATIENCE / 2):
            await journal.ended(1)


async def test_batches_in_doubt_and_others_have_their_broker_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two partitions whose replicas lag, each of which keeps the broker waiting, take all of its time."""
    monkeypatch.setattr(partition_queue, "_FIRST_PAUSE_SECONDS", 0.0)
    rounds = 20

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        if len(client.sent) < rounds:
            run.submit(*journal.hear([make_record(f"live {len(client.sent)}", "live")]))
        return {where: 0 if where[0] == "live" else 7 for where in batches}

    client, journal = ScriptedClient({"lag1": 1, "lag2": 1, "live": 1}, answers), Journal()
    async with running(client.connect, "", "lag1", "lag2", "live") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(make_record("x", "lag1"), make_record("y", "lag2"))
        await eventually(lambda: len(client.sent) > rounds)
    assert len(journal.acknowledged()) > rounds // 3


async def test_a_backlog_goes_on_beside_a_trickle_of_live_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of it is made for what is left of the request."""
    monkeypatch.setattr(broker, "MAX_REQUEST_BYTES", broker.FIRST_REQUEST_BYTES)
    count = 200

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        if len(journal.told) < count:
            run.submit(make_record("live", "live"))
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({"backlog": 1, "live": 1}, answers), Journal()
    async with running(client.connect, "", "backlog", "live") as run:
        await run.until(lambda: not run.sender.missing())
        for record in journal.hear(make_record(str(number), "backlog", size=1000) for number in range(count)):
            assert run.sender.submit(record, backlog=True)
        run.submit(make_record("live", "live"))
        await journal.ended(count)


async def test_records_of_a_partition_that_is_gone_stay_in_order_though_one_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, sent = asyncio.Event(), asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if len(client.sent) == 1:
            sent.set()
            await go.wait()
            return KafkaConnectionError()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 2}, answers), Journal()
    subject = next(f"lead/{number}" for number in range(99) if murmur2(f"lead/{number}".encode()) % 2)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("first", subject=subject)]))
        await sent.wait()
        run.submit(*journal.hear([make_record("second", subject=subject)]))
        monkeypatch.setattr(metadata, "GONE_SECONDS", 0.0)
        client.learn({EVENT: 1})
        run.submit(*journal.hear([make_record("third", subject=subject)]))
        go.set()
        await journal.ended(3)
    assert journal.acknowledged() == ["first", "second", "third"]


async def test_where_not_all_fits_into_a_request_a_backlog_goes_last() -> None:
    events = [f"event_{number}" for number in range(8)]
    client, journal = ScriptedClient(dict.fromkeys(events, 1), all_stored), Journal()
    async with running(client.connect, "", *events) as run:
        await run.until(lambda: not run.sender.missing())
        for event in events[:-1]:
            (record,) = journal.hear([make_record(event, event, size=broker.FIRST_REQUEST_BYTES // 2)])
            assert run.sender.submit(record, backlog=True)
        run.submit(*journal.hear([make_record("urgent", events[-1], size=broker.FIRST_REQUEST_BYTES // 2)]))
        await journal.ended(8)
    assert journal.acknowledged()[0] == "urgent"
    assert len(client.sent) > 1
