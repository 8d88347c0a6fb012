"""How many connections a port has at once, what becomes of one more, and on which addresses it listens."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp.http import RawRequestMessage

from aurora_bridge.metrics import Metrics
from aurora_bridge.web import connection, listener
from aurora_bridge.web.answer import ready
from aurora_bridge.web.connection import Connection, Response, Server
from aurora_bridge.web.listener import Listener
from aurora_bridge.web.request_parser import MalformedRequest
from aurora_bridge.webhook.client_address import Networks
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.http import request
from tests.support.ports import HOST
from tests.web.serving import PATIENCE

needs_certificates = pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)
LIMIT = 3


class CountingServer(Server):
    """Counts the connections that it was given."""

    accepted = 0

    def __call__(self) -> Connection:
        self.accepted += 1
        return super().__call__()


class Port:
    """A port of at most three connections, whose answers wait until they may leave."""

    stopping = False

    def __init__(self, context: ssl.SSLContext | None = None, proxies: Networks | None = None) -> None:
        self.metrics = Metrics()
        self.server = CountingServer(self)
        self.listener = Listener(self.server, "ingress", LIMIT, self.metrics, context, proxies=proxies)
        self.number = 0
        self.clients: list[Client] = []
        self.refused = 0
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, message: RawRequestMessage, connection: Connection) -> None:
        self.asked.set()
        await self.may_answer.wait()
        connection.send(message, ready(200, b"{}"))

    def refuse_malformed(self, malformed: MalformedRequest, connection: Connection) -> Response:
        raise NotImplementedError

    def refuse_connection(self, peer: str) -> None:
        del peer
        self.refused += 1

    def dropped(self, reason: str) -> int:
        return self.metrics.connections_dropped["ingress", reason]

    async def client(self) -> "Client":
        """Return a connection once the server has accepted it."""
        before = self.server.accepted + self.refused
        client = await self.connect(HOST)
        while self.server.accepted + self.refused == before:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        return client

    async def connect(self, host: str, context: ssl.SSLContext | None = None) -> "Client":
        client = Client(*await asyncio.open_connection(host, self.number, ssl=context))
        self.clients.append(client)
        return client


class Client:
    """One connection to a port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def ask(self) -> None:
        self.writer.write(request("/a"))

    async def answered(self) -> bool:
        """Whether an answer comes, rather than the end."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            return (await self.reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200")
        return False

    async def ended(self) -> bool:
        """Whether the other side closes the connection with nothing more to say."""
        with suppress(ConnectionError):
            return not await self.reader.read()
        return True


@asynccontextmanager
async def listening(port: Port, host: str = HOST) -> AsyncIterator[Port]:
    async with asyncio.timeout(PATIENCE):
        port.number = await port.listener.start(host, 0)
        try:
            yield port
        finally:
            await port.listener.stop(1)
            for client in port.clients:
                client.writer.close()
                with suppress(OSError):
                    await client.writer.wait_closed()


# How many


async def test_one_connection_too_many_takes_the_place_of_that_silent_for_longest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(Port()) as port:
        first, second, third = [await port.client() for _ in range(LIMIT)]
        first.ask()
        assert await first.answered()
        fourth = await port.client()
        assert await second.ended()
        for client in (first, third, fourth):
            client.ask()
            assert await client.answered()
        assert (port.dropped("limit"), len(port.server.open), port.refused) == (1, LIMIT, 0)
    (record,) = caplog.records
    assert record.getMessage().startswith("too many connections at once: ")


@pytest.mark.proves("An attacker cannot: keep webhooks or probes out by connections that say nothing")
async def test_a_head_that_never_ends_is_no_request_and_does_not_keep_its_place() -> None:
    async with listening(Port()) as port:
        slow = await port.client()
        others = [await port.client() for _ in range(LIMIT - 1)]
        slow.writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        await slow.writer.drain()
        others.append(await port.client())
        assert await slow.ended()
        for client in others:
            client.ask()
            assert await client.answered()


@pytest.mark.proves("An attacker cannot: add memory by heads that are long")
@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["never ended", "answered"])
async def test_long_heads_have_so_much_room_in_all_and_the_one_idle_longest_makes_room(
    end: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The parser keeps a head also when it is answered, until the next one begins."""
    monkeypatch.setattr(connection, "_MOST_HELD", 20_000)
    head = b"GET /a HTTP/1.1\r\nHost: h\r\nx: " + b"a" * 7_000 + b"\r\n" + end
    async with listening(Port()) as port:
        first, *others = [await port.client() for _ in range(LIMIT)]
        for number, client in enumerate((first, *others)):
            client.writer.write(head)
            while len(port.server.held) <= min(number, LIMIT - 2):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            assert not end or await client.answered()
        assert await first.ended()
        for client in others:
            client.writer.write(request("/b") if end else b"\r\n")
            assert await client.answered()
        assert not end or not port.server.held
        assert port.dropped("heads") == 1
        assert caplog.text.count("long headers") == 1


async def test_where_all_wait_for_their_answer_one_more_is_closed_and_none_of_them() -> None:
    async with listening(Port()) as port:
        port.may_answer.clear()
        waiting = [await port.client() for _ in range(LIMIT)]
        for client in waiting:
            client.ask()
            await port.asked.wait()
            port.asked.clear()
        assert await (await port.client()).ended()
        port.may_answer.set()
        assert [await client.answered() for client in waiting] == [True] * LIMIT
        assert (port.dropped("limit"), port.refused) == (1, 1)


async def test_a_flood_gets_one_line_a_minute_and_each_of_it_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(Port()) as port:
        for _ in range(50 + LIMIT):
            await port.client()
        assert port.dropped("limit") == 50
    assert len(caplog.records) == 1


async def test_a_connection_that_ended_counts_no_more() -> None:
    async with listening(Port()) as port:
        for _ in range(3 * LIMIT):
            client = await port.client()
            client.writer.close()
            while port.server.open:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        assert port.dropped("limit") == 0


async def test_a_port_that_can_accept_nobody_and_close_nobody_rests_and_listens_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, tries = socket.socket.accept, iter((True, False))

    def starved(listening: socket.socket) -> tuple[socket.socket, object]:
        if next(tries, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", starved)
    monkeypatch.setattr(listener, "_PAUSE_SECONDS", 0.01)
    async with listening(Port()) as port:
        client = await port.client()
        client.ask()
        assert await client.answered()
        assert port.dropped("descriptors") == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("no connection can be accepted: ")
    assert record.fields["error"] == "Too many open files"  # type: ignore[attr-defined]


# TLS


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    pair = Authority(tmp_path).sign("bridge", "bridge")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


@needs_certificates
async def test_who_connects_to_a_tls_port_and_says_nothing_counts_from_the_accept_on(context: ssl.SSLContext) -> None:
    async with listening(Port(context)) as port:
        silent = [await port.client() for _ in range(LIMIT + 2)]
        assert [await client.ended() for client in silent[:2]] == [True, True]
        assert (port.dropped("limit"), len(port.server.open)) == (2, LIMIT)
        client = ssl.create_default_context()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        good = await port.connect(HOST, client)
        good.ask()
        assert await good.answered()
        assert await silent[2].ended()


@pytest.mark.proves("An attacker cannot: keep webhooks or probes out by connections that say nothing")
@needs_certificates
async def test_a_handshake_has_its_time_and_no_more(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.1)
    async with listening(Port(context)) as port:
        assert await (await port.client()).ended()
        assert (port.dropped("handshake"), len(port.server.open)) == (1, 0)


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 "])
async def test_the_proxy_protocol_has_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.1)
    async with listening(Port(proxies=())) as port:
        client = await port.client()
        client.writer.write(said)
        assert await client.ended()
        assert (port.dropped("handshake"), len(port.server.open)) == (1, 0)


async def test_a_look_whether_somebody_listens_is_counted_and_gets_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(Port(proxies=())) as port:
        client = await port.client()
        client.writer.write_eof()
        assert await client.ended()
        assert (port.dropped("handshake"), len(port.server.open)) == (1, 0)
    assert caplog.records == []


@needs_certificates
async def test_what_is_no_tls_is_counted_and_takes_no_place(context: ssl.SSLContext) -> None:
    async with listening(Port(context)) as port:
        client = await port.client()
        client.ask()
        assert not await client.answered()
        assert (port.dropped("handshake"), len(port.server.open)) == (1, 0)


@needs_certificates
async def test_the_end_does_not_wait_for_a_handshake(context: ssl.SSLContext) -> None:
    port = Port(context)
    async with listening(port):
        client = await port.client()
    assert await client.ended()
    assert not port.server.open


# Where


async def test_every_address_of_a_machine_without_ipv6_is_every_address_of_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with listening(Port(), "::") as port:
        client = await port.client()
        client.ask()
        assert await client.answered()


async def test_a_free_port_is_the_same_one_for_each_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in (HOST, "127.0.0.2")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    async with listening(Port(), "two-addresses") as port:
        monkeypatch.undo()
        for host in (HOST, "127.0.0.2"):
            await port.connect(host)
