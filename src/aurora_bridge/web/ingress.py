"""The port for webhooks: turns HTTP requests into deliveries for the bridge, and its answers into responses.

A client that disconnects does not cancel its delivery: it still becomes durable, so that its retry is recognised.
"""

import logging
from collections.abc import Callable
from time import monotonic, time_ns

import orjson
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from aurora_bridge.access_log import AccessLog
from aurora_bridge.bridge import Bridge
from aurora_bridge.logs import Quota, fields, origin
from aurora_bridge.metrics import BUDGET_SECONDS
from aurora_bridge.outcomes import Outcome, Reason
from aurora_bridge.settings import IngressSettings
from aurora_bridge.web.answer import ready, respond
from aurora_bridge.web.connection import Connection, Response, Server
from aurora_bridge.web.request_parser import MalformedRequest, guess_delivery
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.routes import merge_slashes, split_target

log = logging.getLogger(__name__)

HEALTHY = b"/-/healthy"
_PROBES = ("GET", "HEAD")
_LINES_A_MINUTE = 20
_NO_ROUTE = Reason.NO_ROUTE  # in Python 3.11 each access to an enum member is a call


class Ingress:
    """Serves the bridge over HTTP."""

    def __init__(
        self,
        bridge: Bridge,
        is_ready: Callable[[], bool],
        access_log: AccessLog,
        settings: IngressSettings,
    ) -> None:
        """Hand deliveries to `bridge`, and record their answers in `access_log`.

        `is_ready` says whether deliveries can be accepted durably.
        """
        self._bridge = bridge
        self._is_ready = is_ready
        self._access_log = access_log
        self._faults = Quota(_LINES_A_MINUTE, monotonic)
        base = settings.base_path.rstrip("/").encode()
        self._healthy = base + HEALTHY
        self._roots = (b"", base)

    @property
    def stopping(self) -> bool:
        """Whether this instance is stopping, so that clients should connect to another."""
        return self._bridge.stopping

    async def handle(self, message: RawRequestMessage, connection: Connection) -> None:
        """Answer one request."""
        received = monotonic()
        path = message.path
        target = path.encode("utf-8", "surrogateescape")
        if target.startswith(self._healthy) and _plain(target) == self._healthy:
            connection.send(message, self._health())
            return
        delivery = Delivery(message.method, target, message.raw_headers, time_ns() // 1000, received, connection.peer)
        try:
            answer = await self._bridge.accept(delivery)
        except Exception as error:  # noqa: BLE001 - a bug of ours fails this delivery only
            self._note_fault(error)
            answer = self._bridge.fault(delivery)
        if answer.reason is _NO_ROUTE and self._is_probe(delivery):
            connection.send(message, self._health())
            return
        decided = monotonic()
        handed = connection.send(message, respond(answer))
        answered = monotonic()
        in_time = handed and answered - delivery.received <= BUDGET_SECONDS
        self._bridge.answered(delivery, answer, in_time=in_time)
        self._access_log.enter(delivery, answer, decided, answered, in_time=in_time)

    def _is_probe(self, delivery: Delivery) -> bool:
        """Whether a request without a route is a load balancer's probe; Google's, by default, ask for `/`."""
        target, plain = delivery.target, _plain(delivery.target)
        if delivery.method not in _PROBES or not target.startswith(b"/"):
            return False
        return plain == self._healthy or (plain in self._roots and b"?" not in target)

    def _health(self) -> Response:
        is_ready = self._is_ready()
        body = b'{"status":"%b"}' % (b"ok" if is_ready else b"not ready")
        return ready(200 if is_ready else 503, body)

    def _note_fault(self, error: Exception) -> None:
        """Log an error's type and place, not its text: that can quote the delivery, and so a secret."""
        left_out = self._faults.take()
        if left_out is not None:
            found = {"type": type(error).__name__, "at": origin(error)} | ({"left_out": left_out} if left_out else {})
            log.error("a delivery failed unexpectedly; Aurora will send it again", extra=fields(**found))

    def refuse_malformed(self, malformed: MalformedRequest, connection: Connection) -> Response:
        """Return the answer to what is not HTTP, which echoes nothing, and count it like any other refusal."""
        error, reason = malformed.error, Reason.MALFORMED_HTTP
        if isinstance(error, LineTooLong) and str(error.args[1]) == str(connection.max_line_size):
            reason = Reason.TARGET_TOO_LONG
        elif self._bridge.recognizes(guess_delivery(malformed)):
            reason = Reason.MALFORMED_WITH_CREDENTIAL
        # Only the error's type: its text quotes the request.
        self._access_log.enter_refusal(reason, connection.peer, error=type(error).__name__)
        return ready(reason.status, orjson.dumps({"id": None, "outcome": Outcome.REFUSED, "reason": reason}))

    def refuse_connection(self, peer: str) -> None:
        """Record a connection over the limit as refused: it may have been Aurora's."""
        self._access_log.enter_refusal(Reason.OVERLOADED, peer)


def _plain(target: bytes) -> bytes:
    """Return a target's path without repeated slashes or a trailing one."""
    return merge_slashes(split_target(target)[0]).rstrip(b"/")


def make_server(ingress: Ingress, settings: IngressSettings) -> Server:
    """Return a server for `ingress`."""
    return Server(
        ingress,
        keepalive_timeout=settings.keepalive_seconds,
        max_line_size=2 * settings.max_target_bytes + 1,  # odd, so `LineTooLong` can tell it from a header's limit
    )
