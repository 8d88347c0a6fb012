import asyncio
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v0

from aurora_bridge.kafka import producer_client
from aurora_bridge.kafka.client import Client, OnConnection
from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.produce_protocol import Produce, ProduceAnswer
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient, all_stored
from tests.kafka.sending import Journal, running

EVENT = "lead_changed"


async def test_what_was_under_way_when_the_client_was_recreated_goes_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new has to come to its partition for that."""
    monkeypatch.setattr(producer_client, "_RENEW_SECONDS", 0.1)
    monkeypatch.setattr(producer_client, "_WATCH_SECONDS", 0.02)
    never = asyncio.Event()

    async def hangs(batches: Batches) -> dict[tuple[str, int], int]:
        await never.wait()
        return dict.fromkeys(batches, 0)

    first, second = ScriptedClient({EVENT: 1}, hangs), ScriptedClient({EVENT: 1}, all_stored)
    monkeypatch.setattr(first, "force_metadata_update", lambda: None)
    clients, journal = chain([first], repeat(second)), Journal()  # on a busy machine the second is silent, too
    async with running(lambda on_connection: next(clients).connect(on_connection), "", EVENT) as run:
        first.learn({EVENT: 1})
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        async with asyncio.timeout(10):
            await journal.ended(1)
    assert journal.ends("a") == [DeliveryStatus.IN_DOUBT, DeliveryStatus.ACKNOWLEDGED]


async def test_a_leader_that_is_missing_is_asked_for_though_other_brokers_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may come without anything else that would have the metadata asked for."""
    monkeypatch.setattr(producer_client, "_WATCH_SECONDS", 0.02)

    async def works(batches: Batches) -> dict[tuple[str, int], int]:
        run.submit(make_record("another"))  # always one under way
        return dict.fromkeys(batches, 0)

    client = ScriptedClient({EVENT: 1}, works)
    async with running(client.connect, "", EVENT, "lead_created") as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(make_record("first"))
        client.topics["lead_created"] = 1  # nobody tells
        async with asyncio.timeout(10):
            await run.until(lambda: run.sender.writable("lead_created"))


class Refusing(Client):
    """A client whose third connection is refused: that for produce requests, behind the bootstrap's and metadata's."""

    opened = 0

    async def _open(self, _host: str, _port: int, _on_close: object = None) -> Any:  # noqa: ANN401 - a double of theirs
        self.opened += 1
        if self.opened == 3:
            raise ConnectionRefusedError
        return SimpleNamespace(
            connected=lambda: True, close=lambda *_, **__: None, send=self._answer, exchange=self._answer
        )

    async def _answer(self, request: object, *_: object, **__: object) -> object:
        if isinstance(request, MetadataRequest):
            return MetadataResponse_v0([(1, "127.0.0.1", 1)], [(0, EVENT, [(0, 0, 1, [1], [1])])])
        if isinstance(request, Produce):
            return ProduceAnswer([(EVENT, 0, 0, 0)])
        return SimpleNamespace(error_code=0, producer_id=7, producer_epoch=0)


async def test_a_broker_whose_produce_connection_failed_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the other connection to it lives, and metadata comes."""
    monkeypatch.setattr(producer_client, "_WATCH_SECONDS", 0.02)
    journal, clients = Journal(), []

    def connect(on_connection: OnConnection) -> Client:
        clients.append(Refusing(bootstrap_servers="127.0.0.1:1", on_connection=on_connection))
        return clients[-1]

    async with running(connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
        assert (len(clients), list(run.sender.problems)) == (1, [])
    assert journal.acknowledged() == ["a"]


async def test_a_burst_that_had_no_time_to_begin_does_not_leave_its_broker_busy_for_ever() -> None:
    """The client ends in the turn of the loop in which the burst was formed: its task never runs a step."""
    first, second = ScriptedClient({EVENT: 1}, all_stored), ScriptedClient({EVENT: 1}, all_stored)
    clients, journal = iter([first, second]), Journal()
    async with running(lambda on_connection: next(clients).connect(on_connection), "", EVENT) as run:
        watch = run.sender._client._watch  # noqa: SLF001 - to have the client end at that very moment

        async def ends(client: Client) -> None:
            if client is second:
                await watch(client)
            await run.until(lambda: run.sender.writable(EVENT))
            run.submit(*journal.hear([make_record("a")]))
            run.sender._flush()  # noqa: SLF001 - likewise

        run.sender._client._watch = ends  # type: ignore[method-assign]  # noqa: SLF001 - likewise
        async with asyncio.timeout(10):
            await journal.ended(1)
    assert journal.ends("a")[-1] is DeliveryStatus.ACKNOWLEDGED
