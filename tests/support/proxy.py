"""A TCP proxy on loopback between a client and a server: loses what the server says, cuts or forgets connections.

When it loses answers, it looks to the client as if they were lost on the way back: the server has done what it was
asked, and the client cannot know. A connection that it forgets is half open on both sides: neither is told, as when a
firewall forgets it or the other machine loses its power.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.ports import HOST

CHUNK_BYTES = 65_536

Streams = tuple[StreamReader, StreamWriter]
"""One side of a connection: what it says, and what it is told."""


class Proxy:
    """Passes bytes on to `port` of loopback, as an asynchronous context manager; `port` of its own is a free one."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self._upstream = upstream
        self._loses_answers = False
        self._answer_lost = asyncio.Event()
        self._forgotten = 0
        self._closing = asyncio.Event()
        self.delay_seconds = 0.0
        """For which bytes are held back, either way."""
        self._connections: dict[asyncio.Task[None], tuple[StreamWriter, ...]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await self._listen()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._closing.set()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connect, HOST, 0)

    def lose_answers(self) -> None:
        """Drop whatever the server says from now on; requests still reach it."""
        self._loses_answers = True
        self._answer_lost.clear()

    async def answer_lost(self) -> None:
        """Return once something that the server said was dropped."""
        await self._answer_lost.wait()

    def cut(self) -> None:
        """Break every connection, on both sides; new ones work, answers included."""
        self._loses_answers = False
        for writers in self._connections.values():
            for writer in writers:
                writer.transport.abort()

    def forget(self) -> None:
        """Pass nothing on any more, not even the end, over the connections of now; new ones work."""
        self._forgotten += 1

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (writer,)
        try:
            there, back = await asyncio.open_connection(HOST, self._upstream)
            self._connections[task] = (writer, back)
            await self._carry((reader, writer), (there, back))
        except OSError:
            """The server is away."""
        finally:
            for end in self._connections.pop(task):
                end.close()

    async def _carry(self, client: Streams, server: Streams) -> None:
        """Pass on what both sides say, until each has ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(client[0], server[1]))
            group.create_task(self._pass_on(server[0], client[1], answers=True))

    async def _pass_on(self, source: StreamReader, sink: StreamWriter, *, answers: bool = False) -> None:
        since = self._forgotten
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await asyncio.sleep(self.delay_seconds)
                if since < self._forgotten:
                    break
                if answers and self._loses_answers:
                    self._answer_lost.set()
                else:
                    sink.write(data)
                    await sink.drain()
        if since < self._forgotten:
            await self._closing.wait()
        sink.close()
