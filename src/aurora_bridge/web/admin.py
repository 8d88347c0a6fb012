"""The port for operators: status page, probes and metrics. It is never exposed to the public."""

from collections.abc import Callable
from http import HTTPMethod

import orjson
from aiohttp.http import RawRequestMessage
from prometheus_client.exposition import choose_encoder

from aurora_bridge.metrics import Metrics
from aurora_bridge.web.answer import ready
from aurora_bridge.web.connection import Connection, Response
from aurora_bridge.web.page import page
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.request_parser import MalformedRequest
from aurora_bridge.web.status import Status
from aurora_bridge.web.style import HEADERS
from aurora_bridge.webhook.routes import merge_slashes, split_target

_METHODS = (HTTPMethod.GET, HTTPMethod.HEAD)


class Admin:
    """Serves operators over HTTP."""

    def __init__(self, readiness: Readiness, metrics: Metrics, look: Callable[[], Status]) -> None:
        """Serve `readiness` and `metrics`, and what `look` returns as the status page."""
        self._readiness = readiness
        self._metrics = metrics
        self._look = look
        self._pages = {b"": self._status, b"/livez": self._livez, b"/readyz": self._readyz, b"/metrics": self._expose}
        metrics.ready.source = lambda: int(readiness.report()[0])

    @property
    def stopping(self) -> bool:
        """Whether clients should connect elsewhere."""
        return self._readiness.bridge.stopping

    async def handle(self, message: RawRequestMessage, connection: Connection) -> None:
        """Answer one request."""
        path, query = split_target(message.path.encode("utf-8", "surrogateescape"))
        answer = self._pages.get(merge_slashes(path).rstrip(b"/"))
        if answer is None:
            response = _refuse(404, "not_found")
        elif message.method not in _METHODS:
            response = _refuse(405, "method_not_allowed", Allow="GET,HEAD")
        else:
            try:
                response = answer(message, query)
            except Exception as error:  # noqa: BLE001 - a bug of ours fails this answer only
                connection.log_exception("fault", exc_info=error)
                response = _refuse(500, "internal_error")
        connection.send(message, response)

    def refuse_malformed(self, refused: MalformedRequest, connection: Connection) -> Response:
        """Return the answer to what is not HTTP, which echoes nothing."""
        del refused, connection
        return _refuse(400, "malformed_http")

    def refuse_connection(self, peer: str) -> None:
        """Do nothing: no webhook comes here, and the listener counts it."""

    def _status(self, _message: RawRequestMessage, query: bytes) -> Response:
        still = any(piece.partition(b"=")[0] == b"still" for piece in query.split(b"&"))
        text = page(self._look(), refreshing=not still)
        return ready(200, text.encode(), HEADERS.items(), content_type="text/html; charset=utf-8")

    def _livez(self, _message: RawRequestMessage, _query: bytes) -> Response:
        """Answer: the event loop is alive if it can."""
        return ready(200, b'{"alive":true}')

    def _readyz(self, _message: RawRequestMessage, _query: bytes) -> Response:
        is_ready, document = self._readiness.report()
        return ready(200 if is_ready else 503, orjson.dumps(document))

    def _expose(self, message: RawRequestMessage, _query: bytes) -> Response:
        encode, content_type = choose_encoder(message.headers.get("Accept", ""))
        return ready(200, encode(self._metrics.registry), content_type=content_type)


def _refuse(status: int, reason: str, **headers: str) -> Response:
    return ready(status, orjson.dumps({"reason": reason}), headers.items())
