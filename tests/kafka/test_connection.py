"""One connection to a broker: how it ends."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any
from unittest.mock import patch

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from aurora_bridge.kafka.client import make_client
from aurora_bridge.kafka.connection import connect
from aurora_bridge.kafka.produce_protocol import Produce
from aurora_bridge.settings import KafkaSettings
from tests.kafka.sending import PATIENCE, eventually
from tests.support import certificates
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.certificates import Authority
from tests.support.missing import unavailable
from tests.support.ports import HOST

MORE_THAN_THE_KERNEL_TAKES = 64 * 2**20


class SlowServer:
    """Takes a connection, and reads nothing from it until it is told to read to the end."""

    def __init__(self) -> None:
        self._go_on = asyncio.Event()
        self._ended: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._go_on.wait()
        count, reset = 0, False
        try:
            while data := await reader.read(2**20):
                count += len(data)
        except ConnectionResetError:
            reset = True
        writer.transport.abort()
        self._ended.set_result((count, reset))

    async def read_to_the_end(self) -> tuple[int, bool]:
        """Return how many bytes came, and whether the connection was reset: what the kernel held is dropped then."""
        self._go_on.set()
        async with asyncio.timeout(PATIENCE):
            return await self._ended


@pytest.fixture
def _without_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that ask for no versions, since the server answers nothing."""

    async def look_up(connection: AIOKafkaConnection) -> None:
        connection._versions = {Produce.API_KEY: (0, 12)}  # noqa: SLF001 - aiokafka's

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", look_up)


@pytest.fixture(params=["PLAINTEXT", "SSL"])
def security(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SSLContext | None, dict[str, Any]]:
    """The server's context, and the options of the connection."""
    if request.param == "PLAINTEXT":
        return None, {}
    if not certificates.possible():
        unavailable(f"no certificates: {certificates.INSTALL}")
    authority = Authority(tmp_path, "ca")
    server = SSLContext(PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.sign("server", "localhost"))
    trusting = create_default_context(cafile=authority.file)
    trusting.check_hostname = False
    return server, {"security_protocol": "SSL", "ssl_context": trusting}


@pytest.mark.usefixtures("_without_look_up")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_was_not_sent_when_a_connection_is_closed_is_not_sent_any_more(
    security: tuple[SSLContext | None, dict[str, Any]], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """On a slow line the bytes of dead connections would take the room of the living one."""
    context, options = security

    async def close_while_sending() -> tuple[int, bool]:
        slow = SlowServer()
        async with await asyncio.start_server(slow.serve, HOST, 0, ssl=context) as server:
            connection = await connect(HOST, server.sockets[0].getsockname()[1], **options)
            answer = connection.send(Produce({"t": [(0, bytes(MORE_THAN_THE_KERNEL_TAKES))]}, 1000))
            connection.close()
            with pytest.raises(KafkaConnectionError):
                await answer
            return await slow.read_to_the_end()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        count, reset = runner.run(close_while_sending())
    assert count < MORE_THAN_THE_KERNEL_TAKES / 2
    assert reset


@pytest.mark.usefixtures("_without_look_up")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("size", [100, 2**20])
def test_a_connection_that_the_broker_resets_during_a_request_fails_it_and_nothing_else(
    size: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Its socket may be gone already when it is closed here."""
    faults: list[dict[str, Any]] = []

    async def reset(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async def request() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with await asyncio.start_server(reset, HOST, 0) as server:
            connection = await connect(HOST, server.sockets[0].getsockname()[1])
            with pytest.raises(KafkaConnectionError):
                await connection.send(Produce({"t": [(0, bytes(size))]}, 1000))
            connection.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(request())
    assert faults == []


async def test_a_connection_that_is_idle_is_closed(kafka: KafkaCluster | NamedKafka) -> None:
    """Before a NAT forgets it without a word, and the next request waits for its time-out."""
    connection = await connect(*kafka_address(kafka), max_idle_ms=1)
    await eventually(lambda: not connection.connected())


async def test_every_client_has_the_idle_time_of_the_settings() -> None:
    client = make_client(KafkaSettings(connections_max_idle_seconds=90, bootstrap_servers="127.0.0.1:1"))
    with patch("aurora_bridge.kafka.client.connect", side_effect=OSError) as connect, suppress(KafkaConnectionError):
        await client.bootstrap()
    assert connect.call_args.kwargs["max_idle_ms"] == 90_000
    await client.close()


def kafka_address(kafka: KafkaCluster | NamedKafka) -> tuple[str, int]:
    """Return host and port of the first broker."""
    host, _, port = kafka.bootstrap.partition(",")[0].rpartition(":")
    return host, int(port)
