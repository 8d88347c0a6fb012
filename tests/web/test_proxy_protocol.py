"""Whose connection a TCP proxy passes on: both versions of the PROXY protocol, and nothing that only looks like it."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_bridge.web.proxy_protocol import ProxyProtocolError, read_client
from tests.web.serving import PATIENCE

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BEHIND = b"GET / HTTP/1.1\r\n"
CLIENT = "203.0.113.9"


class Pair(NamedTuple):
    """A connection of a proxy."""

    proxy: socket.socket
    accepted: socket.socket


@pytest.fixture
def pair() -> Iterator[Pair]:
    proxy, accepted = socket.socketpair()
    with proxy, accepted:
        yield Pair(proxy, accepted)


def block(command: int, family: int, data: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(data)) + data


def addresses(client: str, more: bytes = b"") -> bytes:
    packed = ip_address(client).packed
    return packed + packed + b"\xc8\x02\x01\xbb" + more


V1 = {
    b"PROXY TCP4 203.0.113.9 198.51.100.1 51234 443\r\n": CLIENT,
    b"PROXY TCP6 2001:db8::9 2001:db8::1 51234 443\r\n": "2001:db8::9",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": None,
}
V2 = {
    block(0x21, 0x11, addresses(CLIENT)): CLIENT,
    block(0x21, 0x11, addresses(CLIENT, b"\x03\x00\x04\x00\x00\x00\x00")): CLIENT,
    block(0x21, 0x12, addresses(CLIENT)): CLIENT,
    block(0x21, 0x21, addresses("2001:db8::9")): "2001:db8::9",
    block(0x21, 0x31, b"/run/client" + bytes(205)): None,
    block(0x21, 0x00, b""): None,
    block(0x20, 0x00, b""): None,
    block(0x20, 0x11, addresses(CLIENT)): None,
}


@pytest.mark.parametrize(("header", "client"), [*V1.items(), *V2.items()])
async def test_the_client_is_known_and_not_a_byte_more_is_read(pair: Pair, header: bytes, client: str | None) -> None:
    pair.proxy.sendall(header + BEHIND)
    async with asyncio.timeout(PATIENCE):
        assert await read_client(pair.accepted) == client
    assert pair.accepted.recv(100) == BEHIND


@pytest.mark.parametrize("header", [*list(V1)[:1], *list(V2)[:1]])
async def test_it_may_come_byte_by_byte(pair: Pair, header: bytes) -> None:
    reading = asyncio.create_task(read_client(pair.accepted))
    for byte in header:
        pair.proxy.sendall(bytes([byte]))
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        assert await reading == CLIENT


@pytest.mark.parametrize(
    "header",
    [
        b"GET /lead_created HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 51234\r\n",
        b"PROXY TCP4 203.0.113.999 198.51.100.1 51234 443\r\n",
        b"PROXY TCP5 203.0.113.9 198.51.100.1 51234 443\r\n",
        b"PROXY TCP4 \xff\xff\xff\xff 198.51.100.1 51234 443\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        b"PROXY\r\n\r\n\r\n\r\n",
        block(0x11, 0x11, addresses(CLIENT)),
        block(0x22, 0x11, addresses(CLIENT)),
        block(0x21, 0x11, addresses(CLIENT)[:-1]),
        block(0x21, 0x21, addresses(CLIENT)),
        block(0x21, 0x11, addresses(CLIENT) + bytes(4096)),
    ],
)
async def test_what_is_not_it_is_refused(pair: Pair, header: bytes) -> None:
    pair.proxy.sendall(header)
    pair.proxy.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ProxyProtocolError):
            await read_client(pair.accepted)


@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 203.0.113.9", SIGNATURE[:5], SIGNATURE + b"\x21\x11\x00\x0c"])
async def test_a_connection_that_ends_before_is_told_apart(pair: Pair, header: bytes) -> None:
    pair.proxy.sendall(header)
    pair.proxy.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectionAbortedError):
            await read_client(pair.accepted)


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=300))
@settings(deadline=None)
def test_whatever_comes_is_an_address_or_refused(start: bytes, rest: bytes) -> None:
    async def read() -> None:
        proxy, accepted = socket.socketpair()
        with proxy, accepted:
            proxy.sendall(start + rest)
            proxy.shutdown(socket.SHUT_WR)
            try:
                client = await read_client(accepted)
            except ConnectionError:
                return
            assert client is None or ip_address(client)

    asyncio.run(read())
