"""Accepts the connections of a port, and limits their number from accept to close.

The event loop's own servers cannot see a connection before its TLS handshake is over, allow it 60 s for that, and
uvloop's stops listening for good once the process is out of file descriptors. So the sockets are accepted here. When a
port is at its limit, the longest idle connection is closed to make room for the next: a client that only connects, or
sends slowly, keeps nobody out.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from time import monotonic

from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import DROP_REASONS, Metrics
from aurora_bridge.web.connection import Connection, Server
from aurora_bridge.web.proxy_protocol import ProxyProtocolError, read_client
from aurora_bridge.webhook.client_address import Networks, is_trusted

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
"""Aurora gives up after this long."""
_BACKLOG = 1024
_PAUSE_SECONDS = 1.0
"""How long a port that could accept nothing stops accepting, as in asyncio's own servers."""
_LINES_A_MINUTE = 1
_EVERY_ADDRESS = "::"
_TOO_MANY = (
    "too many connections at once: the longest idle ones are closed. Let only Aurora or your proxy reach the port; if "
    "the proxy needs more connections, raise AURORA_BRIDGE_INGRESS__MAX_CONNECTIONS"
)
_NO_FILES = (
    "no connection can be accepted: the longest idle ones are closed. Raise the open-file limit (ulimit -Hn, "
    "LimitNOFILE=)"
)
_LONG_HEADS = (
    "requests with long headers take too much memory: the longest idle of their connections are closed. Let only "
    "Aurora or your proxy reach the port"
)
_NO_PROXY_PROTOCOL = (
    "a connection that does not begin with the PROXY protocol was closed. Let the proxy in front send it, or set "
    "AURORA_BRIDGE_INGRESS__PROXY_PROTOCOL=false"
)

_Opening = asyncio.Task[tuple[asyncio.Transport, asyncio.BaseProtocol]]


class Listener:
    """Listens on a port for a server."""

    def __init__(  # noqa: PLR0913 - its dependencies
        self,
        server: Server,
        port: str,
        limit: int,
        metrics: Metrics,
        context: ssl.SSLContext | None = None,
        *,
        proxies: Networks | None = None,
    ) -> None:
        """Allow at most `limit` connections at once; `port` is the port's name in logs and metrics.

        With `proxies`, each connection must begin with the PROXY protocol, which is believed from these networks.
        """
        self._server = server
        self._port = port
        self._limit = limit
        self._dropped = metrics.connections_dropped
        self._context = context
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._opening: dict[Connection, _Opening] = {}
        self._quotas = {reason: Quota(_LINES_A_MINUTE, monotonic) for reason in DROP_REASONS}
        server.on_eviction = partial(self._drop, "heads", _LONG_HEADS)

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses if `port` is 0. Raises `OSError`."""
        try:
            for family, address in await self._addresses(host):
                self._sockets.append(_listen(family, address, port))
                port = self._sockets[0].getsockname()[1]
        except OSError:
            self._close()
            raise
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)
        return port

    async def stop(self, seconds: float) -> None:
        """Stop listening, answer what is in flight for up to `seconds`, and close all connections."""
        self._close()
        for connection, opening in self._opening.items():
            if self._server.open.get(connection) is None:
                opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await asyncio.sleep(0)  # lets requests that have arrived start: their connections are not idle
        self._server.pre_shutdown()
        await self._server.shutdown(seconds)

    def _close(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    async def _addresses(self, host: str) -> Iterator[tuple[socket.AddressFamily, str]]:
        if host == _EVERY_ADDRESS and not socket.has_dualstack_ipv6():
            host = "0.0.0.0"  # noqa: S104 - every address of a machine without IPv6
        found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return ((family, str(address[0])) for family, _, _, _, address in dict.fromkeys(found))

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client is gone already
            return
        except OSError as error:
            self._drop("descriptors", _NO_FILES, error=error.strerror)
            if not self._make_room():
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE_SECONDS, self._resume, listening)
            return
        if len(self._server.open) >= self._limit:
            self._drop("limit", _TOO_MANY, limit=self._limit)
            if not self._make_room():
                accepted.close()
                self._server.refuse_connection(str(address[0]))
                return
        connection = self._server()
        connection.peer = str(address[0])
        opening = self._loop.create_task(self._open(connection, accepted))
        self._opening[connection] = opening
        opening.add_done_callback(partial(self._opened, connection, accepted))

    async def _open(
        self, connection: Connection, accepted: socket.socket
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        if self._proxies is not None:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                client = await read_client(accepted)
            if client is not None and is_trusted(connection.peer, self._proxies):
                connection.peer = client
        bounds = {} if self._context is None else {"ssl_handshake_timeout": HANDSHAKE_SECONDS}
        return await self._loop.connect_accepted_socket(lambda: connection, accepted, ssl=self._context, **bounds)

    def _opened(self, connection: Connection, accepted: socket.socket, opening: _Opening) -> None:
        del self._opening[connection]
        if not opening.cancelled() and opening.exception() is None:
            return
        accepted.close()
        self._server.open.pop(connection, None)
        if opening.cancelled():
            return
        try:
            opening.result()
        except ProxyProtocolError:
            self._drop("handshake", _NO_PROXY_PROTOCOL, peer=connection.peer)
        except OSError:  # not TLS, no version in common, or too late
            self._dropped[self._port, "handshake"] += 1

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _make_room(self) -> bool:
        """Close the longest idle connection; False if all wait for an answer."""
        connection = next((connection for connection in self._server.open if not connection.busy), None)
        if connection is None:
            return False
        transport = self._server.open.pop(connection)
        if transport is None:
            self._opening[connection].cancel()
        else:
            transport.abort()
        return True

    def _drop(self, reason: str, message: str, **found: object) -> None:
        self._dropped[self._port, reason] += 1
        left_out = self._quotas[reason].take()
        if left_out is not None:
            more = {"left_out": left_out} if left_out else {}
            log.warning(message, extra=fields(port=self._port, **found, **more))


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    dualstack = address == _EVERY_ADDRESS
    listening = socket.create_server((address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dualstack)
    listening.settimeout(0)
    return listening
