"""The operators' edge: status page, probes and metrics, on a port of its own that is never routed to the public."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from aurora_bridge.metrics import Metrics
from aurora_bridge.web.page import page
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.status import Status
from aurora_bridge.web.style import HEADERS


def make_application(readiness: Readiness, metrics: Metrics, look: Callable[[], Status]) -> web.Application:
    """Return the application of the admin port; `look` finds what the status page shows."""
    metrics.ready.source = lambda: int(readiness.report()[0])

    async def status(request: web.Request) -> web.Response:
        text = page(look(), refreshing="still" not in request.query)
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=HEADERS)

    async def livez(_request: web.Request) -> web.Response:
        """Whether the event loop is alive: it answers."""
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        ready, document = readiness.report()
        return web.json_response(document, status=200 if ready else 503)

    async def expose(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    application = web.Application()
    handlers = {"/": status, "/livez": livez, "/readyz": readyz, "/metrics": expose}
    application.add_routes(web.get(path, handler) for path, handler in handlers.items())
    return application
