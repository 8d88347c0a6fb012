"""The line of the fault tests: what it carries takes its time, and what was said before an end still arrives."""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from itertools import pairwise

from tests.faults.line import CHUNK_BYTES, Line, LineProxy
from tests.support.ports import HOST

MANY_BYTES = 20 * CHUNK_BYTES


async def test_connections_share_what_a_line_carries_in_a_second() -> None:
    way = Line().up
    way.rate, way.latency = 100_000.0, 7.0
    began = asyncio.get_running_loop().time()
    arrivals = sorted(await asyncio.gather(*(way.carry(1000) for _ in range(5))))
    assert arrivals[0] >= began + 7.01
    assert all(later - earlier > 0.0099 for earlier, later in pairwise(arrivals))
    assert way.carried == 5000


async def test_what_was_said_before_a_connection_was_closed_still_arrives_and_is_counted() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def hear(reader: StreamReader, writer: StreamWriter) -> None:
        heard.set_result(await reader.read(-1))
        writer.close()

    line = Line()
    server = await asyncio.start_server(hear, HOST, 0)
    async with LineProxy(server.sockets[0].getsockname()[1], line) as proxy:
        line.narrow(10 * MANY_BYTES)
        _, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"x" * MANY_BYTES)
        writer.close()
        assert await heard == b"x" * MANY_BYTES
        assert line.up.carried == MANY_BYTES
        with suppress(OSError):
            await writer.wait_closed()
    server.close()
