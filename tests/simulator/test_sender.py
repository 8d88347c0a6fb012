"""What goes over the wire for one attempt, and what each end of it is told as."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aurora_bridge.simulator.deliveries import Answer, Delivery, Request
from aurora_bridge.simulator.sender import sending
from tests.support.ports import free_ports


def asked(url: str, **headers: str) -> Request:
    return Request(Delivery(1, "s-1", "lead_created", {}), url, headers, 0.0)


@asynccontextmanager
async def receiver(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen; yield the URL, and the heads of what comes. Nothing is answered where `answer` is empty."""
    heads, taken = [], []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(asyncio.current_task())
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not answer:
            await reader.read()  # until the client has enough
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
        await asyncio.gather(*filter(None, taken))


@pytest.mark.parametrize("target", ["/x?s=a%20b", "/x?s=a+b", "/x?s=a b", "/x?s=<STATUS>&t=%"])
async def test_a_target_goes_out_as_it_stands_in_a_get_with_its_credentials(target: str) -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (url, heads), sending() as send:
        assert await send(asked(url + target, **{"X-Token": "t"})) == Answer(200, "ok")
    line, *headers = heads[0].decode().split("\r\n")
    assert line == f"GET {target} HTTP/1.1"
    assert "X-Token: t" in headers


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    async with receiver(head) as (url, heads), sending() as send:
        answer = await send(asked(url))
    assert (answer, answer.succeeded, len(heads)) == (Answer(302, ""), False, 1)


async def test_silence_ends_with_the_budget() -> None:
    async with receiver(b"") as (url, _), sending(budget_seconds=0.1) as send:
        assert await send(asked(url)) == Answer(None, "no answer within 0.1 s")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http:///", "nonsense", ""])
async def test_what_cannot_be_sent_is_an_answer_with_the_reason(url: str) -> None:
    async with sending() as send:
        answer = await send(asked(url.format(free_ports(1)[0])))
    assert answer.status is None
    assert answer.text


async def test_a_garbled_answer_is_a_failure() -> None:
    async with receiver(b"nonsense\r\n\r\n") as (url, _), sending() as send:
        assert (await send(asked(url))).status is None
