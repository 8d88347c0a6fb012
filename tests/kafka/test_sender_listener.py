"""Who listens to the sender cannot end it, and what moves to another partition stays what it is."""

import asyncio
from unittest.mock import patch

import pytest
from aiokafka.errors import KafkaConnectionError

from aurora_bridge.kafka import metadata
from aurora_bridge.kafka.produce_protocol import murmur2
from tests.kafka.records import make_record
from tests.kafka.scripted import Batches, ScriptedClient
from tests.kafka.sending import EVENT, Journal, eventually, running


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    return dict.fromkeys(batches, 0)


async def test_a_listener_that_fails_at_metadata_ends_neither_the_sender_nor_its_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[ScriptedClient] = []
    journal = Journal()

    def connect(on_connection: object) -> ScriptedClient:
        made.append(ScriptedClient({EVENT: 1}, all_stored).connect(on_connection))  # type: ignore[arg-type]
        return made[-1]

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with running(connect, "", EVENT) as run:
        run.on_metadata = fails  # type: ignore[method-assign]
        run.on_unreachable = fails  # type: ignore[method-assign,assignment]
        await eventually(lambda: run.sender.writable(EVENT))
        made[0].on_connection("127.0.0.1:1", KafkaConnectionError())
        assert not run.sender.writable(EVENT)
        made[0].on_connection("127.0.0.1:1", None)
        run.submit(*journal.hear([make_record("a")]))
        await journal.ended(1)
    assert (len(made), journal.acknowledged()) == (1, ["a"])
    failures = [line for line in caplog.records if line.exc_info]
    assert len(failures) >= 3
    assert {line.exc_info[0] for line in failures if line.exc_info} == {ZeroDivisionError}


@pytest.mark.parametrize("backlog", [True, False])
async def test_what_moves_from_a_partition_that_is_gone_stays_of_a_backlog(
    monkeypatch: pytest.MonkeyPatch, *, backlog: bool
) -> None:
    """Else it would go before live events where not all fits into a request."""
    never = asyncio.Event()

    async def silent(batches: Batches) -> dict[tuple[str, int], int]:
        await never.wait()
        return dict.fromkeys(batches, 0)

    client = ScriptedClient({EVENT: 2}, silent)
    first, second = (
        next(f"lead/{n}" for n in range(99) if murmur2(f"lead/{n}".encode()) % 2 == part) for part in (0, 1)
    )
    async with running(client.connect, "", EVENT) as run:
        await run.until(lambda: run.sender.writable(EVENT))
        run.submit(make_record("keeps the broker busy", subject=first))
        await eventually(lambda: bool(client.sent))
        moves = make_record("moves", subject=second)
        assert run.sender.submit(moves, backlog=backlog)
        monkeypatch.setattr(metadata, "GONE_SECONDS", 0.0)
        with patch.object(run.sender, "submit", wraps=run.sender.submit) as submit:
            client.learn({EVENT: 1})
        submit.assert_called_once_with(moves, backlog=backlog)
