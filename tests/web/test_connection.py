"""Connections through a real server and raw sockets: whatever the client does, HTTP is kept."""

import asyncio
import re
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from unittest.mock import patch

import pytest
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from aurora_bridge.bridge import Answer
from aurora_bridge.outcomes import Outcome
from aurora_bridge.web.answer import ready, respond
from aurora_bridge.web.connection import Connection as HttpConnection
from aurora_bridge.web.connection import Response as Answered
from aurora_bridge.web.connection import Server
from aurora_bridge.web.request_parser import MalformedRequest
from tests.support.http import Connection, request
from tests.web.serving import PATIENCE, listening, talk

pytestmark = pytest.mark.proves("a new aiokafka or aiohttp that changes what is used of it is noticed")

PUBLISHED = b'{"id":"/a","outcome":"published"}'


class Serving:
    """A server that answers with the path as the id, and what became of its answers."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[bool] = []
        self.body: bytes | None = None
        self.fault: BaseException | None = None
        self.stopping = False
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.not_sent = asyncio.Event()

    async def handle(self, message: RawRequestMessage, connection: HttpConnection) -> None:
        self.asked.set()
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        answer = Answer(200, Outcome.PUBLISHED, "event", message.path)
        self.sent.append(connection.send(message, respond(answer) if self.body is None else ready(200, self.body)))
        if not self.sent[-1]:
            self.not_sent.set()

    def refuse_malformed(self, malformed: MalformedRequest, connection: HttpConnection) -> Answered:
        del malformed, connection
        return ready(400, b"{}")

    def refuse_connection(self, peer: str) -> None:
        """Count nothing."""


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    async with listening(Server(serving)) as serving.url:
        yield serving


# Connections


async def test_a_connection_is_kept_and_the_next_request_answered_on_it(serving: Serving) -> None:
    responses = await talk(serving.url, lambda connection: [connection.get(f"/{n}").json["id"] for n in range(5)])
    assert responses == ["/0", "/1", "/2", "/3", "/4"]


async def test_connection_close_is_obeyed_and_said(serving: Serving) -> None:
    response, ended = await talk(
        serving.url, lambda connection: (connection.get("/a", [("Connection", "close")]), connection.ended())
    )
    assert (response.body, response.headers["connection"], ended) == (PUBLISHED, "close", True)


async def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(serving: Serving) -> None:
    response, ended = await talk(
        serving.url, lambda connection: (connection.get("/a", version="1.0"), connection.ended())
    )
    assert (response.body, "keep-alive" in str(response.headers), ended) == (PUBLISHED, False, True)


async def test_the_answer_to_a_head_has_no_body_and_the_connection_stays_in_step(serving: Serving) -> None:
    head, get = await talk(serving.url, lambda connection: (connection.get("/a", method="HEAD"), connection.get("/a")))
    assert (head.headers["content-length"], head.body, get.body) == (str(len(PUBLISHED)), b"", PUBLISHED)


async def test_pipelined_requests_are_answered_in_order(serving: Serving) -> None:
    def pipeline(connection: Connection) -> list[str]:
        connection.send(b"".join(request(f"/{number}") for number in range(50)))
        return [connection.receive().json["id"] for _ in range(50)]

    assert await talk(serving.url, pipeline) == [f"/{number}" for number in range(50)]


async def test_a_body_on_a_get_is_not_taken_for_the_next_request(serving: Serving) -> None:
    def converse(connection: Connection) -> list[str]:
        connection.send(request("/a", [("Content-Length", "3")]) + b"GET" + request("/b"))
        return [connection.receive().json["id"] for _ in range(2)]

    assert await talk(serving.url, converse) == ["/a", "/b"]


@pytest.mark.proves("Where one request ends: A body is never read as a request")
@pytest.mark.parametrize("framing", [("Content-Length", "100000"), ("Transfer-Encoding", "chunked")])
async def test_where_a_body_is_still_to_come_the_answer_says_that_the_connection_ends_behind_it(
    serving: Serving, framing: tuple[str, str]
) -> None:
    chunk = b"186A0\r\n" if framing[1] == "chunked" else b""

    def converse(connection: Connection) -> tuple[str, str, bool]:
        connection.send(request("/a", [framing]) + chunk)
        answer = connection.receive()
        connection.send(b"G" * 100_000 + b"\r\n0\r\n\r\n" * bool(chunk) + request("/b"))
        return answer.json["id"], answer.headers["connection"], connection.ended()

    assert await talk(serving.url, converse) == ("/a", "close", True)
    assert len(serving.sent) == 1


async def test_a_chunked_body_is_read_over(serving: Serving) -> None:
    def converse(connection: Connection) -> list[str]:
        connection.send(request("/a", [("Transfer-Encoding", "chunked")]) + b"3\r\nGET\r\n0\r\n\r\n" + request("/b"))
        return [connection.receive().json["id"] for _ in range(2)]

    assert await talk(serving.url, converse) == ["/a", "/b"]


async def test_a_body_that_turns_out_broken_ends_the_connection_behind_the_answer(serving: Serving) -> None:
    def converse(connection: Connection) -> tuple[str, bool]:
        connection.send(request("/a", [("Transfer-Encoding", "chunked")]))
        answered = connection.receive().json["id"]
        connection.send(b"not a length\r\n" + request("/b"))
        return answered, connection.ended()

    async with listening(Server(serving, lingering_time=3_600)) as url:
        assert await talk(url, converse) == ("/a", True)


@pytest.mark.proves(
    "An attacker cannot: keep a connection by saying little or slowly",
    "Where one request ends: A body is never read as a request",
)
async def test_a_body_that_comes_byte_by_byte_is_read_over_for_so_long_and_no_longer(serving: Serving) -> None:
    async with listening(Server(serving, lingering_time=0.2)) as url, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(request("/a", [("Content-Length", "100000")]))
        await reader.readuntil(PUBLISHED)
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()


@pytest.mark.proves("An attacker cannot: stop the event loop by a body that is compressed")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_is_not_decompressed(serving: Serving, coding: str) -> None:
    body = zlib.compress(bytes(2**20), wbits=31 if coding == "gzip" else 15)

    def converse(connection: Connection) -> list[str]:
        headers = [("Content-Encoding", coding), ("Content-Length", str(len(body)))]
        connection.send(request("/a", headers) + body + request("/b"))
        return [connection.receive().json["id"] for _ in range(2)]

    fed: list[bytes] = []
    feed_data = StreamReader.feed_data

    def feed(payload: StreamReader, data: bytes, size: int = 0) -> bool:
        fed.append(data)
        return feed_data(payload, data, size)

    with patch.object(StreamReader, "feed_data", feed):
        assert await talk(serving.url, converse) == ["/a", "/b"]
    assert b"".join(fed) == body


async def test_a_wish_to_upgrade_that_aiohttp_could_grant_is_answered_and_the_connection_ends(serving: Serving) -> None:
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    response, ended = await talk(serving.url, lambda connection: (connection.get("/a", upgrade), connection.ended()))
    assert (response.body, response.headers["connection"], ended) == (PUBLISHED, "close", True)


async def test_a_wish_to_upgrade_is_left_alone(serving: Serving) -> None:
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "h2c")]
    responses = await talk(serving.url, lambda connection: [connection.get("/a", upgrade), connection.get("/b")])
    assert [response.json["id"] for response in responses] == ["/a", "/b"]


async def test_a_fault_ends_its_connection_and_no_other(serving: Serving) -> None:
    serving.fault = ZeroDivisionError("canary")

    def converse(connection: Connection) -> bool:
        connection.send(request("/a"))
        return connection.ended()

    assert await talk(serving.url, converse)
    serving.fault = None
    assert (await talk(serving.url, lambda connection: connection.get("/a"))).status == 200


async def test_while_it_is_stopping_each_connection_ends_behind_what_was_asked_on_it(serving: Serving) -> None:
    serving.stopping = True

    def converse(connection: Connection) -> tuple[list[str | None], bool]:
        connection.send(b"".join(request(f"/{number}") for number in range(3)))
        return [connection.receive().headers.get("connection") for _ in range(3)], connection.ended()

    assert await talk(serving.url, converse) == ([None, None, "close"], True)


# Clients that have said all they will


@pytest.mark.parametrize("count", [1, 3])
async def test_a_client_that_has_closed_its_side_gets_every_answer_and_then_the_end(
    serving: Serving, count: int
) -> None:
    answers = await half_closed(serving, count)
    assert re.findall(rb'"id":"(.*?)"', answers) == [b"/%d" % number for number in range(count)]
    assert answers.count(b"Connection: close") == 1


async def test_such_an_answer_does_not_count_as_heard_since_the_client_may_be_gone(serving: Serving) -> None:
    """A client that closes all of its connection and one that goes on listening look alike: both send a FIN."""
    await half_closed(serving, 1)
    assert serving.sent == [False]


async def half_closed(serving: Serving, count: int) -> bytes:
    """Ask so often, close one side, let the server answer once it has seen that; return what came to the end."""
    seen, eof_received = asyncio.Event(), HttpConnection.eof_received

    def eof_seen(connection: HttpConnection) -> bool:
        seen.set()
        return eof_received(connection)

    serving.may_answer.clear()
    with patch.object(HttpConnection, "eof_received", eof_seen):
        async with listening(Server(serving)) as url, asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
            writer.write(b"".join(request(f"/{number}") for number in range(count)))
            writer.write_eof()
            await seen.wait()
            serving.may_answer.set()
            answers = await reader.read()
            writer.close()
            return answers


async def test_what_was_pipelined_before_the_end_is_answered_also_where_the_server_had_stopped_reading(
    serving: Serving,
) -> None:
    def converse(connection: Connection) -> tuple[list[str], bool]:
        connection.send(b"".join(request(f"/{number}") for number in range(100)))
        connection.end()
        return [connection.receive().json["id"] for _ in range(100)], connection.ended()

    assert await talk(serving.url, converse) == ([f"/{number}" for number in range(100)], True)


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /a HTTP/1.1\r\nHo", request("/a") + b"GET /b", request("/a", [("Content-Length", "9")]) + b"123"],
    ids=["nothing", "half a head", "half a second head", "half a body"],
)
async def test_what_will_never_be_whole_is_not_waited_for(serving: Serving, said: bytes) -> None:
    async with asyncio.timeout(5):  # half of what a body has
        reader, writer = await asyncio.open_connection(*serving.url.removeprefix("http://").split(":"))
        writer.write(said)
        writer.write_eof()
        assert (await reader.read()).count(b"200 OK") == said.count(b"/a HTTP/1.1\r\nHost")
        writer.close()


# Clients that do not listen


async def test_an_answer_to_a_client_that_is_gone_was_not_handed_over(serving: Serving) -> None:
    serving.may_answer.clear()
    _, writer = await asyncio.open_connection(*serving.url.removeprefix("http://").split(":"))
    writer.write(request("/a"))
    await serving.asked.wait()
    writer.transport.abort()
    connection = await talk(serving.url, lambda connection: connection.get)
    del connection  # by now the server has seen that the first is gone
    serving.may_answer.set()
    async with asyncio.timeout(PATIENCE):
        await serving.not_sent.wait()


@pytest.mark.proves("An attacker cannot: keep a connection by saying little or slowly")
async def test_a_client_that_pipelines_and_never_reads_is_cut_off(serving: Serving) -> None:
    serving.body = b"x" * 2**20
    host, port = serving.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    with client:
        client.sendall(request("/a") * 100)
        async with asyncio.timeout(PATIENCE):
            await serving.not_sent.wait()
        assert await asyncio.to_thread(bytes_to_the_end, client) < 10 * 2**20
    assert len(serving.sent) < 10
    serving.body = None
    assert (await talk(serving.url, lambda connection: connection.get("/a"))).status == 200


@pytest.mark.proves("An attacker cannot: keep a connection by saying little or slowly")
@pytest.mark.parametrize("headers", [[], [("Connection", "close")]], ids=["silent", "told to close"])
async def test_a_connection_whose_last_answer_is_never_read_ends_in_time(
    serving: Serving, headers: list[tuple[str, str]]
) -> None:
    """Closing it is not enough: a close waits until everything is sent."""
    serving.body = b"x" * 20_000
    server = Server(serving, keepalive_timeout=0.2)
    async with listening(server) as url, asyncio.timeout(PATIENCE):
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            await ask(serving, client, [])
            transport = server.connections[0].transport
            while transport is not None and not transport.get_write_buffer_size():  # the system takes a part
                await ask(serving, client, [])
            await ask(serving, client, headers)
            while server.connections:  # noqa: ASYNC110 - aiohttp tells nobody, and the client cannot see it
                await asyncio.sleep(0.05)


async def ask(serving: Serving, client: socket.socket, headers: list[tuple[str, str]]) -> None:
    """Send a request, and return when it is answered."""
    serving.asked.clear()
    client.sendall(request("/a", headers))
    await serving.asked.wait()


def bytes_to_the_end(client: socket.socket) -> int:
    client.settimeout(PATIENCE)
    count = 0
    with suppress(ConnectionResetError):
        while data := client.recv(2**16):
            count += len(data)
    return count


async def test_a_slow_reader_gets_the_whole_answer(serving: Serving) -> None:
    serving.body = b"x" * 60_000
    response = await talk(serving.url, lambda connection: connection.get("/a"))
    assert response.body == serving.body
