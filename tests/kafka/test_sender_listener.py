"""Who listens to the sender cannot end it, and what moves to another partition stays what it is."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from aurora_bridge.kafka.produce import murmur2
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
async def test_what_moves_from_a_partition_that_is_gone_stays_of_a_backlog(*, backlog: bool) -> None:
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
        assert run.sender.submit(make_record("moves", subject=second), backlog=backlog)
        run.sender._metadata._counts[EVENT] = 1  # noqa: SLF001 - that it is gone is known
        client.learn({EVENT: 1})
        (queue,) = run.sender._queues.by_event[EVENT]  # noqa: SLF001
        assert [record.key for record in queue.waiting] == [b"moves"]
        assert queue.backlog is backlog
