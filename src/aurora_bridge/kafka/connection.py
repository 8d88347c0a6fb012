"""One connection to a broker: aiokafka's, with what its SASL leaves out. `client` opens them.

`connect` fails with nothing but what means "this broker cannot be used": what a broker says out of turn is a ValueError
in aiokafka here and an AssertionError there, and would end the task that keeps the metadata. `problems` explains it.
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
"""To linger for 0 s, socket(7): the kernel drops what it has not sent, and resets the connection."""


class _OAuth(OAuthAuthenticator):
    """aiokafka's takes the broker's "no" for a "yes": it comes as an answer like any other (RFC 7628, 3.2.2)."""

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
        """Send a request; one that the broker knows in no version of ours is a `KafkaError`, as all that goes wrong."""
        try:
            return super().send(request, expect_response)  # type: ignore[no-untyped-call]  # theirs
        except NotImplementedError as error:
            raise IncompatibleBrokerVersion(str(error)) from error

    def exchange(self, request: Request[Any], timeout_ms: int) -> "asyncio.Future[Any]":
        """Send a request; return the future of its answer. Raises `KafkaError`, `OSError`.

        Theirs does so with a coroutine and a wait of its own for each. When no answer comes in time, the connection is
        closed, and every request that is under way fails.
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

        What a dead connection goes on uploading, from its own buffer and the kernel's, takes the line from the living
        one; and a TLS farewell would be waited for by the end of the event loop, for half a minute.
        """
        writer, unanswered = self._writer, bool(self._requests)
        closed = super().close(reason, exc)  # type: ignore[no-untyped-call]  # theirs
        if writer is not None:
            open_socket = writer.get_extra_info("socket")
            if unanswered and open_socket is not None:
                with suppress(OSError):  # the broker was faster
                    open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return closed


async def connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:  # noqa: ANN401 - aiokafka's
    """Return a connection that is ready for requests. Raises `KafkaError`, `OSError`, `TimeoutError`."""
    connection = _Connection(host, port, **options)
    source: TokenSource | None = options.get("sasl_oauth_token_provider")
    try:
        if source is not None:
            await source.token()  # before the broker is bothered: there may be none
        await connection.connect()
    except (KafkaError, OSError, TimeoutError):
        raise
    except Exception as error:
        msg = "unexpected broker response"
        raise KafkaConnectionError(msg) from error
    return connection
