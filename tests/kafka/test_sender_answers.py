"""What becomes of a batch by what a broker answers to it, or does not; the answers come from a script."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    NodeNotReadyError,
)
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka import partition_queue
from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus
from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, Action
from aurora_bridge.kafka.produce_protocol import encode_batch
from aurora_bridge.kafka.record import Record
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, all_stored, keys_of
from tests.kafka.sending import EVENT, PATIENCE, Journal, eventually, running

pytestmark = pytest.mark.usefixtures("quick")


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


async def test_a_record_that_cannot_be_encoded_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_queue, "SUSPECT_SECONDS", 0.0)
    client, journal = ScriptedClient({EVENT: 1}, all_stored), Journal()
    bad = make_record("bad")
    bad.headers.append(("name", "text"))  # type: ignore[arg-type]
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
    assert "the listener failed to handle a delivery report" in caplog.text


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
