"""FastAPI, uvicorn and AIOKafkaProducer, as one usually writes it."""

import hmac
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Header, HTTPException, Request

TOKEN = os.environ["TOKEN"].encode()
TOPIC_PREFIX = os.environ["TOPIC_PREFIX"]


@asynccontextmanager
async def produce(app: FastAPI) -> AsyncIterator[None]:
    """Keep a producer for the life of the application."""
    app.state.producer = AIOKafkaProducer(bootstrap_servers=os.environ["BOOTSTRAP"], acks="all")
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


application = FastAPI(lifespan=produce)


@application.get("/{event}")
async def webhook(
    event: str, request: Request, x_aurora_webhook_token: Annotated[str, Header()] = ""
) -> dict[str, bool]:
    """Answer once Kafka has the event."""
    if not hmac.compare_digest(x_aurora_webhook_token.encode(), TOKEN):
        raise HTTPException(401)
    data = dict(request.query_params)
    key = next((value for name, value in data.items() if name.endswith("_id")), "")
    value = json.dumps({"event": event, "data": data, "time": datetime.now(UTC).isoformat()})
    await request.app.state.producer.send_and_wait(TOPIC_PREFIX + event, value.encode(), key=key.encode())
    return {"ok": True}


if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
