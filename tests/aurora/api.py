"""An API that responds as a test tells it, and a client of it whose clock stands still."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from aurora_bridge.aurora.client import AuroraClient
from aurora_bridge.settings import Settings, load

TOKEN = "canary-api-token"  # noqa: S105 - of a test


def settings_for(url: str, folder: Path, *, owner: str = "tenant_id", token: str = TOKEN) -> Settings:
    file = folder / "api-token"
    file.write_text(f"{token}\n")
    return load(
        None,
        {
            "AURORA_BRIDGE_AURORA__API_URL": url,
            "AURORA_BRIDGE_AURORA__API_TOKEN_FILE": str(file),
            f"AURORA_BRIDGE_AURORA__{owner.upper()}": "simulated",
        },
    )


class Reply(NamedTuple):
    """A response; of `cut` bytes only so many come, and then the connection ends."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    cut: int | None = None


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    body: object
    authorization: str


class Api:
    """What came, and what is waited for."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.asked: list[Asked] = []
        self.replies: list[Reply] = []
        self.waits: list[float] = []
        self.now = 0.0

    @asynccontextmanager
    async def client(self, owner: str = "tenant_id", request_seconds: float = 30) -> AsyncIterator[AuroraClient]:
        """Yield a client that waits by letting the clock go on."""

        async def sleep(seconds: float) -> None:
            self.now += seconds

        async with aiohttp.ClientSession() as session:
            yield AuroraClient(
                settings_for(self.url, self.folder, owner=owner),
                session,
                on_wait=self.waits.append,
                request_seconds=request_seconds,
                sleep=sleep,
                clock=lambda: self.now,
            )


@asynccontextmanager
async def scripted(folder: Path, *replies: Reply) -> AsyncIterator[Api]:
    """Yield an API with these responses, in their order."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        api.asked.append(Asked(request.method, request.path_qs, body, request.headers.get("Authorization", "")))
        reply = api.replies.pop(0)
        if reply.status == 204:
            return web.Response(status=204)
        payload = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(payload)
        await response.prepare(request)
        await response.write(payload[: reply.cut])
        if reply.cut is not None and request.transport:
            request.transport.close()
        return response

    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api = Api(f"http://127.0.0.1:{runner.addresses[0][1]}", folder)
        api.replies = list(replies)
        yield api
    finally:
        await runner.cleanup()


def nowhere() -> str:
    """Return the URL of a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
