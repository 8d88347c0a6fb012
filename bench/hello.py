"""The yardstick: the least an aiohttp application can do for a webhook, on uvloop, without an access log."""

import os

import uvloop
from aiohttp import web


async def hello(_request: web.Request) -> web.Response:
    """Answer any event with the same few bytes."""
    return web.Response(text="Hello, world")


if __name__ == "__main__":
    application = web.Application()
    application.router.add_get("/{event}", hello)
    port, loop = int(os.environ["PORT"]), uvloop.new_event_loop()
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)
