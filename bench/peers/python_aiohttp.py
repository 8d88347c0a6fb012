"""aiohttp and AIOKafkaProducer, as one usually writes it."""

import hmac
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

TOKEN = os.environ["TOKEN"].encode()
TOPIC_PREFIX = os.environ["TOPIC_PREFIX"]
PRODUCER = web.AppKey("producer", AIOKafkaProducer)


async def produce(app: web.Application) -> AsyncIterator[None]:
    """Keep a producer for the life of the application."""
    app[PRODUCER] = AIOKafkaProducer(bootstrap_servers=os.environ["BOOTSTRAP"], acks="all")
    await app[PRODUCER].start()
    yield
    await app[PRODUCER].stop()


async def webhook(request: web.Request) -> web.Response:
    """Answer once Kafka has the event."""
    if not hmac.compare_digest(request.headers.get("X-Aurora-Webhook-Token", "").encode(), TOKEN):
        raise web.HTTPUnauthorized
    event, data = request.match_info["event"], dict(request.query)
    key = next((value for name, value in data.items() if name.endswith("_id")), "")
    value = json.dumps({"event": event, "data": data, "time": datetime.now(UTC).isoformat()})
    await request.app[PRODUCER].send_and_wait(TOPIC_PREFIX + event, value.encode(), key=key.encode())
    return web.json_response({"ok": True})


if __name__ == "__main__":
    application = web.Application()
    application.cleanup_ctx.append(produce)
    application.router.add_get("/{event}", webhook)
    port, loop = int(os.environ["PORT"]), uvloop.new_event_loop()
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)
