"""The PROXY protocol, versions 1 and 2: a TCP proxy announces the client's address before anything else, even TLS.

The header is read from the socket before the event loop gets it, and not a byte beyond the header. Specification:
https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
"""

import asyncio
import socket
import struct
from ipaddress import ip_address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_LINE = 107
_LONGEST_BLOCK = 4096
"""Bytes of a block of version 2. The addresses take up to 216; what follows, such as a certificate, is skipped."""
_LOCAL, _PROXY = 0x20, 0x21
"""Version 2 and a command: the proxy connects for itself, as in a health check; or for a client."""
_ADDRESS_BYTES = {1: 4, 2: 16}
"""By address family: IPv4 and IPv6."""
_PORTS_BYTES = 4


class ProxyProtocolError(ConnectionError):
    """A connection does not begin with a valid PROXY protocol header."""


async def read_client(accepted: socket.socket) -> str | None:
    """Return the address of the client, None if the proxy connects for itself or does not tell.

    Raises `ProxyProtocolError`, and `OSError` if the connection ends before the header does.
    """
    accepted.settimeout(0)  # a blocking socket would block the event loop
    start = await _read(accepted, len(_SIGNATURE))
    try:
        return await (_read_block(accepted) if start == _SIGNATURE else _read_line(accepted, start))
    except ValueError as error:
        raise ProxyProtocolError from error


async def _read_line(accepted: socket.socket, line: bytes) -> str | None:
    """Read version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 51234 443` and CRLF."""
    if not line.startswith(b"PROXY "):
        raise ProxyProtocolError
    while not line.endswith(b"\r\n"):
        if len(line) == _LONGEST_LINE:
            raise ProxyProtocolError
        line += await _read(accepted, 1)
    match line.decode("ascii").split():
        case [_, "UNKNOWN", *_]:
            return None
        case [_, "TCP4" | "TCP6", client, _, _, _]:
            return str(ip_address(client))
        case _:
            raise ProxyProtocolError


async def _read_block(accepted: socket.socket) -> str | None:
    """Read version 2: version and command, address family, length, the addresses, and optional extensions."""
    command, family, length = struct.unpack("!BBH", await _read(accepted, 4))
    if command not in {_LOCAL, _PROXY} or length > _LONGEST_BLOCK:
        raise ProxyProtocolError
    block = await _read(accepted, length)
    size = _ADDRESS_BYTES.get(family >> 4)
    if command == _LOCAL or size is None:
        return None
    if length < 2 * size + _PORTS_BYTES:
        raise ProxyProtocolError
    return str(ip_address(block[:size]))


async def _read(accepted: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(accepted, size - len(data))
        if not more:
            raise ConnectionAbortedError  # such as a load balancer's TCP health check
        data += more
    return data
