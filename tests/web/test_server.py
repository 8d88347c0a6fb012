"""The two ports: what is told of them, and how they close."""

import asyncio
import re
import socket
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import pytest
from aiohttp import http_parser

from aurora_bridge.access_log import AccessLog
from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.bridge import Bridge
from aurora_bridge.metrics import Metrics
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import AdminSettings, IngressSettings
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.server import ListenError, admin, ingress
from tests.support.http import request
from tests.support.ports import HOST
from tests.web.serving import PATIENCE, BridgeDouble, ready, talk
from tests.web.statuses import QUIET

pytestmark = pytest.mark.proves("a new aiokafka or aiohttp that changes what is used of it is noticed")

IMPATIENT: Final = IngressSettings(port=0).model_copy(update={"keepalive_seconds": 0.2})
"""Silent connections end sooner than anybody may set."""


def served(
    settings: IngressSettings, bridge: Bridge | None = None, *, answer_seconds: float = 1
) -> AbstractAsyncContextManager[str]:
    """Serve a bridge; the URL is yielded."""
    metrics = Metrics(events=["lead_changed"])
    return ingress(
        bridge or BridgeDouble(),
        ready,
        AccessLog(metrics, Attempts(), log_deliveries=False),
        settings,
        answer_seconds=answer_seconds,
        files=SecretFiles(metrics),
        metrics=metrics,
    )


async def test_the_url_of_the_ingress_is_that_to_deliver_to() -> None:
    settings = IngressSettings(port=0, base_path="/hooks")
    async with served(settings) as url:
        assert re.fullmatch(rf"http://{HOST}:[0-9]+/hooks", url)
        assert (await talk(url, lambda connection: connection.get("/hooks/lead_changed"))).status == 200


async def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with served(IngressSettings(port=0, host="::1")) as url:
        assert re.fullmatch(r"http://\[::1\]:[0-9]+", url)


async def test_a_port_in_use_is_explained() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        expected = f"Cannot listen on {HOST}:{port}: .* AURORA_BRIDGE_INGRESS__PORT .*to a free one"
        with pytest.raises(ListenError, match=expected):
            async with served(IngressSettings(port=port)):
                pass
        with pytest.raises(ListenError, match="AURORA_BRIDGE_ADMIN__PORT"):
            async with admin(Readiness(BridgeDouble(), None, None), Metrics(), lambda: QUIET, AdminSettings(port=port)):
                pass


async def test_what_is_in_flight_at_the_end_is_answered() -> None:
    bridge = BridgeDouble()
    bridge.may_answer.clear()
    async with served(IngressSettings(port=0), bridge, answer_seconds=PATIENCE) as url:
        answer = asyncio.create_task(talk(url, lambda connection: connection.get("/lead_changed")))
        await bridge.asked.wait()
        asyncio.get_running_loop().call_soon(bridge.may_answer.set)
    response = await answer
    assert (response.status, response.headers["connection"]) == (200, "close")


async def test_the_end_does_not_wait_for_a_body_that_does_not_come() -> None:
    async with asyncio.timeout(5):  # half of the time that aiohttp waits for a body
        async with served(IngressSettings(port=0), answer_seconds=PATIENCE) as url:
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request("/lead_changed", [("Content-Length", "10")]) + b"123")
            await reader.readuntil(b"}")
        assert await reader.read() == b""
    writer.close()


async def test_at_the_end_silent_connections_are_closed_and_none_is_accepted() -> None:
    async with served(IngressSettings(port=0), answer_seconds=PATIENCE) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request("/lead_changed"))
        await reader.readuntil(b"}")
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


@pytest.mark.proves("An attacker cannot: keep a connection by saying little or slowly")
@pytest.mark.parametrize("said", [b"", b"GET /lead_changed HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_a_connection_that_says_too_little_is_closed_at_the_keep_alive_time_out(said: bytes) -> None:
    async with served(IMPATIENT) as url:
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(said)
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.proves("An attacker cannot: keep a connection by saying little or slowly")
@pytest.mark.parametrize("behind", [b"", request("/lead_changed")], ids=["the first head", "a later head"])
async def test_a_head_that_comes_byte_by_byte_does_not_put_the_time_out_off(behind: bytes) -> None:
    async with served(IMPATIENT) as url:
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(behind + b"GET /lead_changed HTTP/1.1\r\nX-Slow: ")
        dripping = asyncio.create_task(drip(writer))
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):
                await reader.read()
        dripping.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, often enough to be within every time-out."""
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.proves("Where one request ends: Without that parser")
async def test_without_aiohttps_parser_in_c_there_is_no_ingress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(ListenError, match="without its C parser"):
        async with served(IngressSettings(port=0)):
            pass
