"""The operators' edge: probes and metrics, on a port of its own that is never routed to the public."""

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from aurora_bridge.metrics import Metrics
from aurora_bridge.web.readiness import Readiness


def make_application(readiness: Readiness, metrics: Metrics) -> web.Application:
    """Return the application of the admin port."""

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
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", expose)])
    return application
