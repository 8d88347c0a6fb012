"""The sender and what a broker says only by chance, or in bad luck: its answers come from a script."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    NodeNotReadyError,
)
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka import partition_queue
from aurora_bridge.kafka.broker import FIRST_REQUEST_BYTES
from aurora_bridge.kafka.client import Client, OnConnection
from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, Action
from aurora_bridge.kafka.pace import Pace
from aurora_bridge.kafka.produce import Produce, encode_batch, murmur2
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import DeliveryReport, DeliveryStatus
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, keys_of
from tests.kafka.sending import EVENT, PATIENCE, Journal, eventually, numbers, running


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    return dict.fromkeys(batches, 0)


@pytest.mark.parametrize(("code", "action"), [(code, action) for code, (action, _) in ACTIONS.items()])
async def test_every_answer_has_its_effect(code: int, action: Action) -> None:
    requests = 0

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        nonlocal requests
        requests += 1
        return dict.fromkeys(batches, code if requests == 1 else 0)

    again = [["a", "b"]] * 2
    expected = {
        Action.ACKNOWLEDGE: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"]]),
        Action.RETRY: ([DeliveryStatus.ACKNOWLEDGED], again),
        Action.RETRY_DOUBTFUL: ([DeliveryStatus.ACKNOWLEDGED], again),
        Action.STALL_DOUBTFUL: ([DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED], again),
        Action.SUSPECT: ([DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED], again),
        Action.NEW_EPOCH: ([DeliveryStatus.ACKNOWLEDGED], again),
        Action.SPLIT: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"], ["a"], ["b"]]),
        Action.REFUSE: ([DeliveryStatus.TOPIC_REFUSED], [["a", "b"]]),
    }
    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a"), make_record("b")]))
        await journal.ended(2)
    sent = [batches[EVENT, 0] for batches in client.sent]
    assert (journal.ends("a"), [keys_of(batch) for batch in sent]) == expected[action]
    assert journal.ends("b") == journal.ends("a")
    assert (len(sent) == 2 and sent[0] == sent[1]) is (
        action in {Action.RETRY, Action.RETRY_DOUBTFUL, Action.STALL_DOUBTFUL, Action.SUSPECT}
    )
    assert run.errors() == ({} if action is Action.ACKNOWLEDGE else {ACTIONS[code][1]: 1})
    assert run.metrics.producer_ids[()] == (2 if action is Action.NEW_EPOCH else 1)


@pytest.mark.parametrize(
    ("error", "end", "reason"),
    [
        (NodeNotReadyError(), DeliveryStatus.STALLED, "broker_away"),
        (IncompatibleBrokerVersion(), DeliveryStatus.STALLED, "broker_away"),
        (KafkaConnectionError(), DeliveryStatus.IN_DOUBT, "connection_lost"),
        (ConnectionResetError(), DeliveryStatus.IN_DOUBT, "connection_lost"),
        (TimeoutError(), DeliveryStatus.IN_DOUBT, "connection_lost"),
        (KeyError("a bug of a library's"), DeliveryStatus.IN_DOUBT, "connection_lost"),
    ],
    ids=repr,
)
async def test_a_request_without_an_answer_goes_out_again(error: Exception, end: DeliveryStatus, reason: str) -> None:
    requests = 0

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        nonlocal requests
        requests += 1
        return error if requests == 1 else dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert journal.ends("a") == [end, DeliveryStatus.ACKNOWLEDGED]
    assert client.sent[0] == client.sent[1]
    assert run.errors() == {reason: 1}


APPENDED = {Action.RETRY_DOUBTFUL, Action.STALL_DOUBTFUL, Action.SUSPECT}
MAYBE_STORED = [code for code in (*ACTIONS, 8, 9999) if ACTIONS.get(code, ANY_OTHER)[0] in APPENDED]


@pytest.mark.parametrize("code", MAYBE_STORED)
async def test_a_sequence_that_was_sent_is_not_given_to_another_record(code: int) -> None:
    """The broker appended the batch before it said no: it takes whatever comes under that sequence for a copy."""
    log: dict[int, list[str]] = {}
    no, asked_again = True, asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        (batch,) = batches.values()
        only: Any = MemoryRecords(batch).next_batch()
        log.setdefault(only.base_sequence, keys_of(batch))
        if len(client.sent) > 1:
            asked_again.set()
        return dict.fromkeys(batches, code if no else 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        first, second = journal.hear([make_record("a"), make_record("b")])
        run.submit(first)
        await eventually(lambda: bool(run.errors()))
        assert run.sender.withdraw([first]) == set()
        run.submit(second)
        async with asyncio.timeout(PATIENCE):
            await asked_again.wait()
        no = False
        await journal.ended(2)
    assert list(log.values()) == [["a"], ["b"]]
    assert journal.acknowledged() == ["a", "b"]


async def test_an_answer_to_what_was_not_sent_disturbs_nobody() -> None:
    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {("of nobody", 3): 0} | dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert (journal.ends("a"), len(client.sent)) == ([DeliveryStatus.ACKNOWLEDGED], 1)


async def test_an_answer_that_leaves_a_partition_out_leaves_it_in_doubt() -> None:
    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return dict.fromkeys(list(batches)[: 1 if len(client.sent) == 1 else 2], 0)

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert (journal.ends("a"), journal.ends("b")) == (
        [DeliveryStatus.ACKNOWLEDGED],
        [DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED],
    )


async def test_one_partitions_no_does_not_hold_up_the_others() -> None:
    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: 29 if where[0] == EVENT else 0 for where in batches}

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert (journal.ends("a"), journal.ends("b")) == ([DeliveryStatus.TOPIC_REFUSED], [DeliveryStatus.ACKNOWLEDGED])


async def test_what_came_while_a_request_was_under_way_goes_as_soon_as_that_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gap counts from the request before, and not from a look that found its broker busy."""
    now, under_way, answered = 1000.0, asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(Pace, "note", lambda pace, *_: setattr(pace, "gap_seconds", 2 * PATIENCE))
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


class Hanging(ScriptedClient):
    """A client whose broker is silent from the first produce request on, or the second producer id."""

    silent = False

    async def send(self, node_id: int, request: object, **options: object) -> object:
        if self.silent:
            await asyncio.Event().wait()
        return await super().send(node_id, request, **options)

    def force_metadata_update(self) -> None:
        if not self.silent:
            super().force_metadata_update()


async def test_what_was_under_way_when_the_client_is_made_anew_goes_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._RENEW_SECONDS", 0.1)
    clients: list[Hanging] = []

    def connect(_: OnConnection) -> Client:
        clients.append(Hanging({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        clients[0].silent = True
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert len(clients) == 2
    assert journal.ends("a") == [DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED]


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


async def test_a_broker_that_is_away_when_the_first_producer_id_is_asked_for_is_asked_again() -> None:
    clients: list[ScriptedClient] = []

    class Away(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            if len(clients) == 1:
                raise NodeNotReadyError
            return await super().send(node_id, request, **options)

    def connect(_: OnConnection) -> Client:
        clients.append(Away({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert len(clients) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClusterAuthorizationFailedError(), "producer_id_denied"),
        (GroupLoadInProgressError(), "producer_id_unavailable"),
    ],
    ids=repr,
)
async def test_without_a_producer_id_kafka_is_not_there_and_that_is_said_once(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._ASK_SECONDS", 0.001)
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("aurora_bridge.kafka.producer_client._PATIENCE_SECONDS", 0.0)
    asked = 0

    class NoIds(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            nonlocal asked
            asked += 1
            if asked <= 20:
                assert not run.sender.writable(EVENT)
                assert not run.metrics.kafka_connected[()]
                assert [problem.reason for problem in run.sender.problems] == ([reason] if asked > 1 else [])
                raise error
            return await super().send(node_id, request, **options)

    client = NoIds({EVENT: 1}, all_stored)
    caplog.set_level(logging.INFO)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        assert list(run.sender.problems) == []
        assert run.metrics.kafka_connected[()] == 1
    assert len([line for line in caplog.records if line.name.startswith("aurora_bridge")]) == 3


async def test_a_broker_that_has_no_producer_id_for_a_moment_is_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    class Starting(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise GroupLoadInProgressError
            return await super().send(node_id, request, **options)

    client = Starting({EVENT: 1}, all_stored)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
    assert (asked, "producer id" in caplog.text) == (2, False)


# What is at fault


async def test_a_record_that_cannot_be_encoded_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_queue, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(partition_queue, "SUSPECT_SECONDS", 0.0)
    client, journal = ScriptedClient({EVENT: 1}, all_stored), Journal()
    bad = make_record("bad")
    bad.value = "text"  # type: ignore[assignment]
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a"), bad, make_record("b")]))
        await journal.ended(3)
    assert (journal.acknowledged(), journal.ends("bad")[-1]) == (["a", "b"], DeliveryStatus.RECORD_REFUSED)
    assert set(run.errors()) == {"encoding_failed"}


async def test_a_failure_to_encode_that_passes_leaves_its_broker_free(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [MemoryError()]

    def encode(*batch: Any) -> bytes:  # noqa: ANN401 - as it is called
        if fails:
            raise fails.pop()
        return encode_batch(*batch)

    monkeypatch.setattr(partition_queue, "encode_batch", encode)
    client, journal = ScriptedClient({EVENT: 1}, all_stored), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert journal.ends("a") == [DeliveryStatus.STALLED, DeliveryStatus.ACKNOWLEDGED]


@pytest.mark.parametrize("code", [-1, 2, 9999])
async def test_a_record_that_never_gets_a_clear_answer_holds_nobody_up(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_queue, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(partition_queue, "SUSPECT_SECONDS", 0.0)

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: code if "bad" in keys_of(batch) else 0 for where, batch in batches.items()}

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear(make_record(key) for key in ("a", "bad", "b")))
        await journal.ended(3)
    assert (journal.acknowledged(), journal.ends("bad")[-1]) == (["a", "b"], DeliveryStatus.RECORD_REFUSED)


async def test_a_listener_that_fails_takes_no_other_report_with_it(caplog: pytest.LogCaptureFixture) -> None:
    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, all_stored), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        hear = run.on_delivery

        def fails(records: Sequence[Record], report: DeliveryReport) -> None:
            if records[0].event == EVENT:
                raise ZeroDivisionError
            hear(records, report)

        run.on_delivery = fails  # type: ignore[method-assign]
        run.submit(make_record("a"), *journal.hear([make_record("b", "lead_created")]))
        await journal.ended(1)
        assert run.sender.idle
    assert "a delivery report was not taken" in caplog.text


# What Kafka asks for


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
        led = [(0, name, [(0, 0, 2 if name == "lead_created" else 1, [1], [1])]) for name in self._topics_led]
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
        await eventually(lambda: run.sender._flush_handle is None)  # noqa: SLF001 - until the sender has seen that
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
        await eventually(lambda: bool(run.errors()) and run.sender._flush_handle is None)  # noqa: SLF001
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


async def test_a_backlog_goes_on_beside_a_trickle_of_live_events() -> None:
    """A batch of it is made for what is left of the request."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        if not run.sender._queues.by_event["backlog"][0]:  # noqa: SLF001
            drained.set()
        else:
            run.submit(make_record("live", "live"))
        for broker in run.sender._metadata.brokers.values():  # noqa: SLF001 - as on a slow line
            broker.limit_bytes = FIRST_REQUEST_BYTES
        return dict.fromkeys(batches, 0)

    drained = asyncio.Event()
    client = ScriptedClient({"backlog": 1, "live": 1}, answers)
    async with running(client.connect, "", "backlog", "live") as run:
        await run.until(lambda: not run.sender.missing())
        for number in range(200):
            assert run.sender.submit(make_record(str(number), "backlog", size=1000), backlog=True)
        run.submit(make_record("live", "live"))
        async with asyncio.timeout(PATIENCE):
            await drained.wait()


async def test_records_of_a_partition_that_is_gone_stay_in_order_though_one_is_under_way() -> None:
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
        run.sender._metadata._counts[EVENT] = 1  # noqa: SLF001 - that it is gone is known
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
            (record,) = journal.hear([make_record(event, event, size=FIRST_REQUEST_BYTES // 2)])
            assert run.sender.submit(record, backlog=True)
        run.submit(*journal.hear([make_record("urgent", events[-1], size=FIRST_REQUEST_BYTES // 2)]))
        await journal.ended(8)
    assert journal.acknowledged()[0] == "urgent"
    assert len(client.sent) > 1


async def test_a_batch_in_doubt_brings_no_other_into_doubt() -> None:
    """It travels in a request of its own."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if len(client.sent) == 1:
            run.submit(*journal.hear([make_record("b", "lead_created"), make_record("c")]))
            return KafkaConnectionError()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(3)
    requests = [sorted(key for batch in batches.values() for key in keys_of(batch)) for batches in client.sent]
    assert ["a"] in requests[1:]
    assert not any("a" in request and len(request) > 1 for request in requests)


async def test_partitions_that_a_lagging_broker_does_not_show_are_not_given_up() -> None:
    """What is in doubt there keeps its sequence, and what is new waits in the spool, until they are seen again."""
    lost = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int] | Exception:
        if len(client.sent) == 1:
            client._topics_led = {EVENT: 1}  # noqa: SLF001 - the metadata from now on
            lost.set()
            return KafkaConnectionError()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 2}, answers), Journal()
    subject = next(f"lead/{number}" for number in range(99) if murmur2(f"lead/{number}".encode()) % 2)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a", subject=subject)]))
        await lost.wait()
        await run.until(lambda: not run.sender.writable(EVENT))
        client.learn({EVENT: 1})
        assert run.sender.withdraw(run.sender._queues.by_event[EVENT][1].in_flight) == set()  # noqa: SLF001
        client.learn({EVENT: 2})
        await journal.ended(1)
    assert [list(batches) for batches in client.sent] == [[(EVENT, 1)]] * 2
    assert client.sent[0] == client.sent[1]


async def test_what_a_broker_leads_has_no_leader_while_no_connection_to_it_can_be_made() -> None:
    client, journal = ScriptedClient({EVENT: 1}, all_stored), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        client.on_connection("127.0.0.1:1", ConnectionRefusedError())
        assert (run.sender.missing(), run.unreachable) == ([EVENT], [EVENT])
        client.learn({EVENT: 1})  # that it leads is no news, and no use
        assert run.sender.missing() == [EVENT]
        run.submit(*journal.hear([make_record("a")]))
        client.on_connection("127.0.0.1:1", None)
        assert run.sender.missing() == []
        await journal.ended(1)
    assert journal.acknowledged() == ["a"]


async def test_when_the_sender_dies_what_waits_for_kafka_is_told_so_at_once() -> None:
    """Else it waits for its deadline, and the daemon, which ends and is to be started again, waits for it."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        client.broken = True
        return dict.fromkeys(batches, 19)

    class Mortal(ScriptedClient):
        broken = False

        @property
        def alive(self) -> bool:
            if self.broken:
                raise ZeroDivisionError
            return True

    client = Mortal({EVENT: 1}, answers)
    with suppress(ZeroDivisionError):
        async with running(client.connect, "", EVENT) as run:
            await run.until(lambda: run.sender.writable(EVENT))
            run.submit(make_record("a"))
            await run.until(lambda: not run.sender.writable(EVENT))
            assert run.unreachable == [EVENT]


async def test_a_start_that_needs_a_second_try_gives_nothing_up() -> None:
    """Its deliveries wait for the client of the next try, half a second later, instead of going through the spool."""
    tries: list[ScriptedClient] = []

    class Late(ScriptedClient):
        async def bootstrap(self) -> None:
            if len(tries) == 1:
                raise KafkaConnectionError
            await super().bootstrap()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return dict.fromkeys(batches, 0)

    def connect(_: OnConnection) -> ScriptedClient:
        tries.append(Late({EVENT: 1}, answers))
        return tries[-1]

    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        assert (len(tries), run.unreachable) == (2, [])


async def test_stopping_leaves_what_was_under_way_in_doubt() -> None:
    never = asyncio.Event()

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        await never.wait()
        return dict.fromkeys(batches, 0)

    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await eventually(lambda: bool(client.sent))
        assert not run.sender.idle
        await run.sender.flush(0.0)
    assert journal.ends("a") == [DeliveryStatus.IN_DOUBT]
    assert not run.sender.writable(EVENT)


async def test_the_last_flush_does_not_wait_where_no_client_is_left_to_send_anything() -> None:
    """Else the daemon would be away for longer when its sender, or Kafka, has died."""

    async def fails(batches: Batches) -> KafkaConnectionError:
        del batches
        return KafkaConnectionError()

    client = ScriptedClient({EVENT: 1}, fails)
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(make_record("a"))
        await eventually(lambda: bool(client.sent))
    assert not run.sender.idle
    async with asyncio.timeout(PATIENCE / 10):
        await run.sender.flush(PATIENCE)
