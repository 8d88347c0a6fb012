"""The edge where webhooks come in: from an HTTP request to a `Delivery`, and from an `Answer` back to bytes.

The low-level `web.Server` keeps aiohttp's routing, redirects and access log away; what is asked is the bridge's to
understand. A client that disconnects does not end its delivery, which goes on to be durable: its retry is then known.
"""

import asyncio
import logging
from http import HTTPStatus
from time import monotonic, time_ns
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from aurora_bridge.bridge import Answer, Bridge
from aurora_bridge.ledger import Ledger
from aurora_bridge.metrics import NO_EVENT
from aurora_bridge.refusal import Outcome, Reason
from aurora_bridge.settings import IngressSettings
from aurora_bridge.web.answer import ReadyResponse, ready, respond
from aurora_bridge.webhook.delivery import Delivery

log = logging.getLogger(__name__)

HEALTHY = b"/-/healthy"


class Ingress:
    """Serves the bridge over HTTP."""

    def __init__(self, bridge: Bridge, ledger: Ledger, settings: IngressSettings) -> None:
        """Hand deliveries to `bridge`, and enter their answers in `ledger`."""
        self._bridge = bridge
        self._ledger = ledger
        self.max_connections = settings.max_connections
        self._healthy = settings.base_path.rstrip("/") + HEALTHY.decode()

    async def handle(self, request: web.BaseRequest) -> ReadyResponse:
        """Answer one request."""
        received = monotonic()
        message = request._message  # noqa: SLF001 - the one place with the target as it came
        target = message.path.encode("utf-8", "surrogateescape")
        if message.path == self._healthy:
            healthy = self._bridge.healthy()
            response = ready(
                request, 200 if healthy else 503, b'{"status":"%b"}' % (b"ok" if healthy else b"not ready")
            )
            response.send(request)
            return response
        delivery = Delivery(message.method, target, message.raw_headers, time_ns() // 1000, received)
        try:
            answer = await self._bridge.accept(delivery)
        except Exception:
            log.exception("a delivery failed in an unexpected way; Aurora will send it again")
            answer = Answer(Reason.INTERNAL_ERROR.status, Outcome.REFUSED, NO_EVENT, None, Reason.INTERNAL_ERROR)
        done = monotonic()
        response = respond(request, answer)
        self._bridge.answered(delivery, answer, handed=response.send(request))
        self._ledger.enter(delivery, answer, done)
        return response

    def refuse(self, reason: Reason) -> None:
        """Note what was refused before it was a delivery."""
        self._ledger.enter_refusal(reason)


class _Connection(RequestHandler):
    """A connection whose answer to what is not HTTP repeats nothing of it, and is counted like any other refusal."""

    __slots__ = ("_ingress",)

    def __init__(self, manager: web.Server, ingress: Ingress, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(manager, **options)
        self._ingress = ingress

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, if there are not too many."""
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > self._ingress.max_connections:
            self._ingress.refuse(Reason.OVERLOADED)
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused, and a fault of our own."""
        del message
        reason = Reason.INTERNAL_ERROR
        if status == HTTPStatus.BAD_REQUEST:
            target_too_long = isinstance(exc, LineTooLong) and str(exc.args[1]) == str(self.max_line_size)
            reason = Reason.TARGET_TOO_LONG if target_too_long else Reason.MALFORMED_HTTP
        self.log_exception("refused: %s", reason.value, exc_info=exc)
        self._ingress.refuse(reason)
        body = orjson.dumps({"id": None, "outcome": Outcome.REFUSED, "reason": reason})
        response = ready(request, reason.status, body, close=True)
        response.send(request)
        return response


class _Server(web.Server):
    """aiohttp's low-level server, with connections of ours."""

    def __init__(self, ingress: Ingress, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(ingress.handle, **options)
        self._ingress = ingress

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _Connection(self, self._ingress, loop=self._loop, **self._kwargs)


def make_server(ingress: Ingress, settings: IngressSettings) -> web.Server:
    """Return the server of an ingress."""
    return _Server(
        ingress,
        access_log=None,
        keepalive_timeout=settings.keepalive_seconds,
        max_line_size=2 * settings.max_target_bytes + 1,  # odd, and so never the limit of a header
    )
