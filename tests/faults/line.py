"""A line between daemon and brokers with a rate and a latency: all connections share it, and it has small buffers.

What is said on a connection that its sender closed still comes over the line, as far as the sender's system has it. The
bytes that go up, from the daemon to the brokers, are counted.
"""

import asyncio
import socket
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from tests.faults.proxied import ProxiedCluster
from tests.support.ports import HOST
from tests.support.proxy import Proxy, Streams

CHUNK_BYTES: Final = 8192
"""What the line carries of one connection before it is another's turn."""
BUFFER_BYTES: Final = 32_768
"""What the line takes from a connection before it carries it. The daemon's own system keeps what is beyond."""


class Way:
    """One direction of the line."""

    def __init__(self) -> None:
        self.rate = inf
        """Bytes a second."""
        self.latency = 0.0
        """Seconds that a byte is on its way, beside the time that its predecessors take."""
        self.carried = 0
        """Bytes, so far."""
        self._free_at = 0.0

    async def carry(self, size: int) -> float:
        """Return once so many bytes are on their way: when they arrive, by the clock of the loop."""
        now = asyncio.get_running_loop().time()
        self._free_at = sent_at = max(now, self._free_at) + size / self.rate
        await asyncio.sleep(sent_at - now)
        self.carried += size
        return sent_at + self.latency


class Line:
    """Both directions of it. They are changed from any thread; what is on its way arrives as it would have."""

    def __init__(self) -> None:
        self.up, self.down = Way(), Way()

    def narrow(self, rate: float) -> None:
        """Let it carry so many bytes a second, each way."""
        self.up.rate = self.down.rate = rate

    def lengthen(self, round_trip: float) -> None:
        """Let a round trip take so many seconds."""
        self.up.latency = self.down.latency = round_trip / 2


class LineProxy(Proxy):
    """A proxy at the end of the line."""

    def __init__(self, upstream: int, line: Line) -> None:
        super().__init__(upstream)
        self._line = line

    async def _listen(self) -> asyncio.Server:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)  # its connections inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        return await asyncio.start_server(self._connect, sock=listener, limit=CHUNK_BYTES)

    async def _carry(self, client: Streams, server: Streams) -> None:
        async with asyncio.TaskGroup() as group:
            for way, source, sink in ((self._line.up, client[0], server[1]), (self._line.down, server[0], client[1])):
                under_way: Queue[tuple[float, bytes]] = Queue()
                group.create_task(_take(way, source, under_way))
                group.create_task(_bring(under_way, sink))


async def _take(way: Way, source: StreamReader, under_way: "Queue[tuple[float, bytes]]") -> None:
    """Put what comes on the line; nothing is its end."""
    with suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            under_way.put_nowait((await way.carry(len(data)), data))
    under_way.put_nowait((0.0, b""))


async def _bring(under_way: "Queue[tuple[float, bytes]]", sink: StreamWriter) -> None:
    """Take what arrives off the line."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while (arrival := await under_way.get())[1]:
            at, data = arrival
            await asyncio.sleep(at - loop.time())
            sink.write(data)
            await sink.drain()
    sink.close()


class LineCluster(ProxiedCluster):
    """Brokers at the other end of a line, which all connections of the daemon share."""

    def __init__(self, nodes: int = 1) -> None:
        self.line = Line()
        make: Callable[[int], Proxy] = partial(LineProxy, line=self.line)
        super().__init__(nodes, make)
