"""A connection of either port: aiohttp's, with a shorter path from request to answer.

For each parsed message aiohttp makes a request, a writer, a response and a task: half the cost of a hello-world, and
nothing that a webhook needs. `Connection.start` is aiohttp's own loop without them; parser, limits, timeouts,
backpressure and shutdown stay aiohttp's. It relies on private names of `RequestHandler`:
`tests/web/test_connection.py` tries whatever a client can do, and fails when a new aiohttp changes them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http import HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, MAX_MSG_QUEUE_SIZE, RequestHandler, RequestPayloadError

from aurora_bridge.web.request_parser import MalformedRequest, RequestParser

_UNREAD_LIMIT = 64 * 1024
"""Bytes of answers that a client may leave unread before it is cut off: one that pipelines and never reads."""
_SMALL_HEAD = 4 * 1024
"""Bytes of a head that do not count toward `_MOST_HELD`: in 4096 connections up to 170 MB of memory, measured."""
_MOST_HELD = 8 * 1024 * 1024
"""Bytes of all longer heads, ended or not: up to 90 MB of memory, since a line is kept twice, once as text."""


Response = tuple[bytes, bytes]
"""Head (status line and header lines, each with its CRLF) and body. `Connection.send` adds the `Connection` header."""


class Edge(Protocol):
    """Answers the requests of connections."""

    @property
    def stopping(self) -> bool:
        """Whether clients should connect elsewhere: each answer then closes its connection."""

    async def handle(self, message: RawRequestMessage, connection: "Connection") -> None:
        """Answer a request through `connection.send`."""

    def refuse_malformed(self, malformed: MalformedRequest, connection: "Connection") -> Response:
        """Return the answer to what is not HTTP; the connection is closed after it."""

    def refuse_connection(self, peer: str) -> None:
        """Note that a connection from `peer` was closed unread, since all others wait for their answers."""


class Connection(RequestHandler):
    """Answers the requests of one client, one after another."""

    __slots__ = ("_body", "_edge", "_half_closed", "_server", "peer")
    _parser: Any
    """A `RequestParser`, for which aiohttp's annotation has no room."""

    def __init__(self, server: "Server", edge: Edge, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(server, **options)
        self._server = server
        self._edge = edge
        self._body: StreamReader | None = None
        """The body of the request that is being answered, if it has one."""
        self._half_closed = False
        """Whether the client has closed its sending side."""
        self.peer = ""
        """The address at the other end, or the client's if a proxy there announced it."""
        self._parser = RequestParser(self._parser, self._make_parser, self.max_line_size)

    def _make_parser(self, max_msg_queue_size: int = MAX_MSG_QUEUE_SIZE) -> HttpRequestParser:
        """Return another parser like the one that aiohttp made."""
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=max_msg_queue_size,
        )

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._request_in_progress or bool(self._messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, once TLS is established."""
        super().connection_made(transport)
        self._server.open[self] = self.transport

    def data_received(self, data: bytes) -> None:
        """Parse what came, and note how much of it is held."""
        super().data_received(data)
        if self._parser is not None and (self._parser.held > _SMALL_HEAD or self in self._server.held):
            self._server.hold(self, self._parser.held)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what the client asked before it closed its side, then close. With TLS, asyncio closes at once."""
        self._half_closed = True
        self._give_up_body()
        return self.busy and self.ssl_context is None

    def connection_lost(self, exc: BaseException | None) -> None:
        """End everything on the connection except a delivery, which continues until it is durable."""
        super().connection_lost(exc)
        self._server.open.pop(self, None)
        self._server.hold(self, 0)
        self._give_up_body()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's own
        """Answer what is in flight, then close, without waiting for an unfinished body."""
        self._give_up_body()
        transport = self.transport
        await super().shutdown(timeout)
        if transport is not None and transport.get_extra_info("sslcontext") and not transport.get_write_buffer_size():
            transport.abort()  # nothing left to send; do not wait for the TLS close_notify

    def force_close(self) -> None:
        """Close the connection, whatever is in progress on it."""
        transport = self.transport
        super().force_close()
        if transport is not None:
            self._abort_later(transport)

    def _abort_later(self, transport: asyncio.WriteTransport) -> None:
        """Abort after the keep-alive time if the answer is still unread: a mere close would wait for ever."""
        if transport.get_write_buffer_size():
            self._loop.call_later(self._keepalive_timeout, transport.abort)

    def _give_up_body(self) -> None:
        if self._body is not None:
            self._body.set_exception(ConnectionResetError())

    async def start(self) -> None:
        """Answer requests until the connection ends."""
        messages = self._messages
        while not self._force_close:
            if not messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter  # `data_received` wakes us, and `close` cancels
                finally:
                    self._waiter = None
            message, payload = messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            if payload is not EMPTY_PAYLOAD:
                self._body = payload
            await self._answer(message)
            if self._body is not None and not self._force_close:
                await self._discard_body(self._body)
            self._body = None
            if not self._keeps_alive():
                break
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()
                self._abort_later(self.transport)

    async def _answer(self, message: Any) -> None:  # noqa: ANN401 - or a `MalformedRequest`, unknown to aiohttp
        self._request_in_progress = True
        connections = self._server.open
        if self in connections:
            connections.move_to_end(self)
        if self in self._server.held:
            self._server.held.move_to_end(self)
        try:
            if isinstance(message, RawRequestMessage):
                await self._edge.handle(message, self)
            else:
                self.send(ERROR, self._edge.refuse_malformed(message, self))
        except Exception as error:  # noqa: BLE001 - a bug of ours ends this connection only
            self.log_exception("fault", exc_info=error)
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        finally:
            self._request_in_progress = False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)

    def _keeps_alive(self) -> bool:
        """Whether the connection is kept for another request; if so, its keep-alive timer starts over."""
        if not self._keepalive or self._close or self._force_close:
            return False
        self._next_keepalive_close_time = close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        return True

    def send(self, message: RawRequestMessage, response: Response) -> bool:
        """Hand the answer to `message` to the socket; False if the client may be gone, or does not read.

        A client that closed its sending side may have closed both: TCP does not tell.
        """
        head, body = response
        keep = not (
            message.should_close
            or self._close
            or self._upgraded
            or (not self._messages and (self._half_closed or self._edge.stopping))
            or (self._body is not None and not self._body.is_eof())
        )
        old = message.version != HttpVersion11
        if old and message.chunked:
            keep = False  # an old intermediary may not know chunks: RFC 9112, section 6.1
        self._keepalive = keep
        if not keep:
            head += b"Connection: close\r\n"
        elif old:
            head += b"Connection: keep-alive\r\n"
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _UNREAD_LIMIT:
            transport.abort()
            self.force_close()
            return False
        transport.write(b"%b\r\n%b" % (head, body if message.method != "HEAD" else b""))
        return not self._half_closed

    async def _discard_body(self, payload: StreamReader) -> None:
        """Read and discard a body: closing with bytes unread resets the connection, and the client loses the answer."""
        try:
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        except Exception:  # noqa: BLE001 - too slow, broken or cut off: the connection is useless now
            self.close()


class Server(web.Server):
    """aiohttp's low-level server with our connections: without its routing, redirects and access log."""

    def __init__(self, edge: Edge, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(self._unused, access_log=None, auto_decompress=False, **options)
        self._edge = edge
        self.open: OrderedDict[Connection, asyncio.Transport | None] = OrderedDict()
        """All connections from accept to close, longest idle first; the transport is None until TLS is established."""
        self.held: OrderedDict[Connection, int] = OrderedDict()
        """Bytes that a connection holds of its latest head, if that is not small; longest idle first."""
        self._held_bytes = 0
        self.on_eviction: Callable[[], object] = lambda: None
        """Called for each connection that is closed because all hold too much."""

    async def _unused(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stand in for the handler that aiohttp wants and `Connection.start` never calls."""
        raise NotImplementedError

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        connection = Connection(self, self._edge, loop=self._loop, **self._kwargs)
        self.open[connection] = None
        return connection

    def hold(self, connection: Connection, size: int) -> None:
        """Note how much a connection holds of its head; if all hold too much, close those that are idle longest."""
        self._held_bytes -= self.held.get(connection, 0)
        if size > _SMALL_HEAD:
            self._held_bytes += size
            self.held[connection] = size
        else:
            self.held.pop(connection, None)
        while self._held_bytes > _MOST_HELD:
            oldest = next((connection for connection in self.held if not connection.busy), None)
            if oldest is None:
                return
            self._held_bytes -= self.held.pop(oldest)
            transport = self.open.get(oldest)
            if transport is not None:
                transport.abort()
                self.on_eviction()

    def refuse_connection(self, peer: str) -> None:
        """Note that a connection from `peer` was closed unread."""
        self._edge.refuse_connection(peer)
