"""The sender and what a broker says only by chance, or in bad luck: its answers come from a script."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka.partition_queue import ANSWERS, Answer
from aurora_bridge.kafka.report import DeliveryStatus
from aurora_bridge.kafka.wire import Client, OnConnection
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, keys_of
from tests.kafka.sending import EVENT, PATIENCE, Journal, eventually, numbers, running


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    return dict.fromkeys(batches, 0)


@pytest.mark.parametrize(("code", "answer"), [(code, answer) for code, (answer, _) in ANSWERS.items()])
async def test_every_answer_has_its_effect(code: int, answer: Answer) -> None:
    requests = 0

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        nonlocal requests
        requests += 1
        return dict.fromkeys(batches, code if requests == 1 else 0)

    expected = {
        Answer.STORED: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"]]),
        Answer.RETRY: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.RETRY_ELSEWHERE: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.RETRY_IN_DOUBT: ([DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.RENUMBER: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"]] * 2),
        Answer.SPLIT: ([DeliveryStatus.ACKNOWLEDGED], [["a", "b"], ["a"], ["b"]]),
        Answer.REFUSED: ([DeliveryStatus.TOPIC_REFUSED], [["a", "b"]]),
    }
    client, journal = ScriptedClient({EVENT: 1}, answers), Journal()
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a"), make_record("b")]))
        await journal.ended(2)
    sent = [batches[EVENT, 0] for batches in client.sent]
    assert (journal.ends("a"), [keys_of(batch) for batch in sent]) == expected[answer]
    assert journal.ends("b") == journal.ends("a")
    if answer in {Answer.RETRY, Answer.RETRY_ELSEWHERE, Answer.RETRY_IN_DOUBT}:
        assert sent[0] == sent[1]
    assert run.errors() == ({} if answer is Answer.STORED else {ANSWERS[code][1]: 1})
    assert run.metrics.producer_ids[()] == (2 if answer is Answer.RENUMBER else 1)


@pytest.mark.parametrize(
    ("error", "end", "reason"),
    [
        (NodeNotReadyError(), DeliveryStatus.STALLED, "broker_away"),
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


MAYBE_STORED = [code for code, (answer, _) in ANSWERS.items() if answer is Answer.RETRY_ELSEWHERE] + [-1, 7, 20, 9999]


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


async def test_while_a_new_producer_id_is_awaited_the_others_of_the_burst_are_not_sent_again() -> None:
    """Their answers are there already: a second send would be answered when the next batch is the head."""

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        return {where: 45 if where[0] == EVENT and len(client.sent) == 1 else 0 for where in batches}

    client, journal = ScriptedClient({EVENT: 1, "lead_created": 1}, answers), Journal()
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        client.asked_for_producer_id.clear()
        client.producer_id_given.clear()
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        async with asyncio.timeout(PATIENCE):
            await client.asked_for_producer_id.wait()
        run.submit(*journal.hear([make_record("c", "lead_created")]))
        for _ in range(3):  # whatever the sender schedules, it has happened after a burst's gap
            await asyncio.sleep(0.003)
        client.producer_id_given.set()
        await journal.ended(3)
    sent = [keys_of(batches["lead_created", 0]) for batches in client.sent if ("lead_created", 0) in batches]
    assert sent == [["b"], ["c"]]
    assert journal.acknowledged().count("b") == 1


async def test_what_came_while_a_request_was_under_way_goes_as_soon_as_that_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gap counts from the request before, and not from a look that found its broker busy."""
    now, under_way, answered = 1000.0, asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("aurora_bridge.kafka.sender.GAP_SECONDS", 2 * PATIENCE)
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
    monkeypatch.setattr("aurora_bridge.kafka.sender._RENEW_SECONDS", 0.1)
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


async def test_so_does_what_waited_for_a_new_producer_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurora_bridge.kafka.sender._RENEW_SECONDS", 0.1)
    clients: list[Hanging] = []

    async def answers(batches: Batches) -> dict[tuple[str, int], int]:
        clients[-1].silent = len(clients) == 1
        return dict.fromkeys(batches, 45 if len(clients) == 1 else 0)

    def connect(_: OnConnection) -> Client:
        clients.append(Hanging({EVENT: 1, "lead_created": 1}, answers))
        return clients[-1]

    journal = Journal()
    async with running(connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: not run.sender.missing())
        run.submit(*journal.hear([make_record("a"), make_record("b", "lead_created")]))
        await journal.ended(2)
    assert sorted(journal.acknowledged()) == ["a", "b"]


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


async def test_a_brokers_no_to_the_first_producer_id_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    clients: list[ScriptedClient] = []

    class Loading(ScriptedClient):
        async def send(self, node_id: int, request: object, **options: object) -> object:
            if len(clients) == 1:
                raise NodeNotReadyError
            return await super().send(node_id, request, **options)

    def connect(_: OnConnection) -> Client:
        clients.append(Loading({EVENT: 1}, all_stored))
        return clients[-1]

    journal = Journal()
    with caplog.at_level(logging.WARNING):
        async with running(connect, "", EVENT) as run:
            await run.until(lambda: len(clients) == 2 and run.sender.writable(EVENT))
            run.submit(*journal.hear([make_record("a")]))
            await journal.ended(1)
    assert "Kafka is away" in caplog.text


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
