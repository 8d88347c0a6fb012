"""A connection to a broker: aiokafka's, with what its SASL leaves out. `client` opens them.

`connect` raises only what means "this broker cannot be used". For a response that it does not expect, aiokafka raises
ValueError or AssertionError, which would end its metadata task. `problems` explains the errors.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
)
from aiokafka.protocol.api import Request

from aurora_bridge.kafka.tokens import TokenRefusedError, TokenSource

_SIZE = struct.Struct(">i")
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s, socket(7): on close, the kernel drops unsent data and resets the connection."""


class _OAuth(OAuthAuthenticator):
    """aiokafka's takes a rejection for success: it comes as an ordinary response (RFC 7628, 3.2.2)."""

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if payload:
            raise SaslAuthenticationFailed
        step: tuple[bytes, bool] | None = await super().step(payload)  # type: ignore[no-untyped-call]  # theirs
        return step


class _Connection(AIOKafkaConnection):
    def authenticator_oauth(self) -> _OAuth:
        return _OAuth(sasl_oauth_token_provider=self._sasl_oauth_token_provider)

    async def _do_sasl_handshake(self) -> None:
        try:
            await super()._do_sasl_handshake()  # type: ignore[no-untyped-call]  # theirs
        except SaslAuthenticationFailed as error:
            source: TokenSource | None = self._sasl_oauth_token_provider
            if source is None:
                raise
            source.refused()
            raise TokenRefusedError from error

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002 - aiokafka's
        """Send a request. Raises `KafkaError` also if the broker supports none of our versions of it."""
        try:
            return super().send(request, expect_response)  # type: ignore[no-untyped-call]  # theirs
        except NotImplementedError as error:
            raise IncompatibleBrokerVersion(str(error)) from error

    def exchange(self, request: Request[Any], timeout_ms: int) -> "asyncio.Future[Any]":
        """Send a request; return the future of its response. Raises `KafkaError`, `OSError`.

        aiokafka's `send` costs a coroutine and a wait per request. If no response comes within `timeout_ms`, the
        connection is closed, and every request in flight fails.
        """
        if self._writer is None:
            msg = f"no connection to {self._host}:{self._port}"
            raise NodeNotReadyError(msg)
        try:
            prepared = request.prepare(self._versions)
        except NotImplementedError as error:
            raise IncompatibleBrokerVersion(str(error)) from error
        number = self._next_correlation_id()
        header = prepared.build_request_header(correlation_id=number, client_id=self._client_id).encode()
        body = prepared.encode()
        self._writer.write(_SIZE.pack(len(header) + len(body)) + header + body)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._requests.append((number, prepared, answer))
        timer = self._loop.call_later(timeout_ms / 1000, self.close, CloseReason.CONNECTION_TIMEOUT)
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def close(self, reason: object = None, exc: BaseException | None = None) -> Any:  # noqa: ANN401 - aiokafka's
        """Close at once, and send nothing more.

        Unsent data of a dead connection, in its own buffer and the kernel's, would compete with the next connection for
        bandwidth. And the end of the event loop would wait half a minute for TLS to shut down.
        """
        writer, unanswered = self._writer, bool(self._requests)
        closed = super().close(reason, exc)  # type: ignore[no-untyped-call]  # theirs
        if writer is not None:
            open_socket = writer.get_extra_info("socket")
            if unanswered and open_socket is not None:
                with suppress(OSError):  # the broker closed it first
                    open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return closed


async def connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:  # noqa: ANN401 - aiokafka's
    """Return a connection that is ready for requests. Raises `KafkaError`, `OSError`, `TimeoutError`."""
    connection = _Connection(host, port, **options)
    source: TokenSource | None = options.get("sasl_oauth_token_provider")
    try:
        if source is not None:
            await source.token()  # if there is none, fail before connecting
        await connection.connect()
    except (KafkaError, OSError, TimeoutError):
        raise
    except Exception as error:
        msg = "unexpected broker response"
        raise KafkaConnectionError(msg) from error
    return connection
