"""The edge where webhooks come in: from an HTTP request to a `Delivery`, and from an `Answer` back to bytes.

The low-level `web.Server` keeps aiohttp's routing, redirects and access log away; what is asked is the bridge's to
understand. A client that disconnects does not end its delivery, which goes on to be durable: its retry is then known.
"""

import logging
from collections.abc import Callable
from time import monotonic, time_ns

import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from aurora_bridge.bridge import Answer, Bridge
from aurora_bridge.metrics import NO_EVENT
from aurora_bridge.refusal import Outcome, Reason
from aurora_bridge.settings import IngressSettings
from aurora_bridge.web.answer import ReadyResponse, ready, respond
from aurora_bridge.webhook.delivery import Delivery

log = logging.getLogger(__name__)

HEALTHY = b"/-/healthy"


class Ingress:
    """Serves the bridge over HTTP."""

    def __init__(self, bridge: Bridge, settings: IngressSettings) -> None:
        """Hand deliveries to `bridge`."""
        self._bridge = bridge
        self._healthy = settings.base_path.rstrip("/") + HEALTHY.decode()

    async def handle(self, request: web.BaseRequest) -> ReadyResponse:
        """Answer one request."""
        received = monotonic()
        message = request._message  # noqa: SLF001 - the one place with the target as it came
        target = message.path.encode("utf-8", "surrogateescape")
        if message.path == self._healthy:
            response = ready(request, 200, b'{"status":"ok"}')
            response.send(request)
            return response
        delivery = Delivery(message.method, target, message.raw_headers, time_ns() // 1000, received)
        try:
            answer = await self._bridge.accept(delivery)
        except Exception:
            log.exception("a delivery failed in an unexpected way; Aurora will send it again")
            reason = Reason.INTERNAL_ERROR
            answer = Answer(reason.status, Outcome.REFUSED, NO_EVENT, None, reason.value, reason.retry_after)
        done = monotonic()
        response = respond(request, answer)
        self._bridge.answered(delivery, answer, done, handed=response.send(request))
        return response


class _Connection(RequestHandler):
    """A connection whose answer to what is not HTTP repeats nothing of it, and is counted like any other refusal."""

    __slots__ = ()
    refused: Callable[[Reason], None] = staticmethod(lambda _reason: None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused."""
        del status, message
        reason = Reason.TARGET_TOO_LONG if isinstance(exc, LineTooLong) else Reason.MALFORMED_HTTP
        self.log_exception("refused: %s", reason.value, exc_info=exc)
        self.refused(reason)
        body = orjson.dumps({"id": None, "outcome": Outcome.REFUSED, "reason": reason})
        response = ready(request, reason.status, body)
        response.force_close()
        response.send(request)
        return response


class _Server(web.Server):
    """aiohttp's low-level server, with connections of ours."""

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)


def make_server(ingress: Ingress, settings: IngressSettings) -> web.Server:
    """Return the server of an ingress."""
    return _Server(
        ingress.handle,
        access_log=None,
        keepalive_timeout=settings.keepalive_seconds,
        max_line_size=2 * settings.max_target_bytes,
    )
