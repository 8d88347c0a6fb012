"""A proxy that reads what goes over a connection to a broker as Kafka's requests and responses, and changes some.

Frames: https://kafka.apache.org/protocol#protocol_messages. Requests of other kinds than those that a subclass looks at
pass as they are.
"""

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

from tests.faults.proxied import ProxiedCluster
from tests.support.proxy import Proxy, Streams

PRODUCE: Final = 0
PRODUCE_VERSION: Final = 7
"""Whose layout is known here."""
METADATA: Final = 3
UNKNOWN_SERVER_ERROR: Final = -1
MARKER: Final = b"fails-over-this"
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
_PAIR: Final = struct.Struct(">ii")
"""Of a partition in a ProduceRequest: its number, and the length of its batch."""
_RESULT: Final = struct.Struct(">ihqqq")
"""Of a partition in its response: number, error code, base offset, append time, log start offset."""
_HEADER: Final = struct.Struct(">hhih")
"""Of a request: API key, version, correlation id, and the length of the client id that follows."""


@dataclass(slots=True)
class Request:
    """A request on its way."""

    api: int
    version: int
    correlation: int
    head: bytes
    """The header with the client id."""
    body: bytes
    lacking: bytes = b""
    """What is to be added to the response."""

    @classmethod
    def of(cls, frame: bytes) -> "Request":
        """Read a request without its length. Those of Kafka's flexible versions have more in their bodies."""
        api, version, correlation, length = _HEADER.unpack_from(frame)
        end = _HEADER.size + max(0, length)
        return cls(api, version, correlation, frame[:end], frame[end:])


class FrameProxy(Proxy):
    """`Proxy` that passes whole frames on, and has subclasses look at them."""

    def request(self, request: Request) -> None:
        """Look at a request before it goes on, and change it."""

    def response(self, request: Request, body: bytes) -> bytes:
        """Return the body of the response to a request as it is to go on."""
        raise NotImplementedError

    async def _carry(self, client: Streams, server: Streams) -> None:
        pending: dict[int, Request] = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask(client[0], server[1], pending))
            group.create_task(self._answer(server[0], client[1], pending))

    async def _ask(self, client: StreamReader, server: StreamWriter, pending: dict[int, Request]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = Request.of(await _frame(client))
                self.request(request)
                pending[request.correlation] = request
                server.write(_framed(request.head, request.body))
                await server.drain()
        server.close()

    async def _answer(self, server: StreamReader, client: StreamWriter, pending: dict[int, Request]) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(server)
                (correlation,) = _INT.unpack_from(frame)
                body = self.response(pending.pop(correlation), frame[_INT.size :])
                if self._loses_answers:
                    self._answer_lost.set()
                else:
                    client.write(_framed(frame[: _INT.size], body))
                    await client.drain()
        client.close()


async def _frame(source: StreamReader) -> bytes:
    (length,) = _INT.unpack(await source.readexactly(_INT.size))
    return await source.readexactly(length)


def _framed(*pieces: bytes) -> bytes:
    data = b"".join(pieces)
    return _INT.pack(len(data)) + data


class Memory:
    """What brokers said of their cluster, for those of them that lag behind it."""

    def __init__(self) -> None:
        self.now: dict[tuple[int, int], bytes] = {}
        """Bodies of responses, by version and length of the request: in any order, the same topics are as long."""
        self.before: dict[tuple[int, int], bytes] = {}
        """The same, of the moment that is remembered."""
        self.lags = False
        """Whether they answer as then."""
        self.told_from_before = 0
        """Answers that were others than those of now."""

    def remember(self) -> None:
        """Remember what is said now."""
        self.before = dict(self.now)


class LaggingProxy(FrameProxy):
    """Of a broker that lags behind its cluster: it can answer with metadata from before."""

    def __init__(self, upstream: int, memory: Memory) -> None:
        super().__init__(upstream)
        self._memory = memory

    def response(self, request: Request, body: bytes) -> bytes:
        """Return what was said before, if it is to."""
        if request.api != METADATA:
            return body
        memory, asked = self._memory, (request.version, len(request.body))
        memory.now[asked] = body
        if not memory.lags or asked not in memory.before:
            return body
        memory.told_from_before += memory.before[asked] != body
        return memory.before[asked]


class LaggingCluster(ProxiedCluster):
    """Brokers that lag behind their cluster together, as `memory` has it."""

    def __init__(self, nodes: int = 1) -> None:
        self.memory = Memory()
        super().__init__(nodes, partial(LaggingProxy, memory=self.memory))


Part = tuple[bytes, int, bytes]
"""Topic, partition and batch."""


class FailingProxy(FrameProxy):
    """Of a broker that answers UNKNOWN_SERVER_ERROR for every batch with a marker; it never sees those."""

    def __init__(self, upstream: int, marker: bytes) -> None:
        super().__init__(upstream)
        self._marker = marker
        self.fails = True

    def request(self, request: Request) -> None:
        """Take the batches out; what else is in the request goes on, if only its head."""
        if request.api != PRODUCE or not self.fails or self._marker not in request.body:
            return
        if request.version != PRODUCE_VERSION:
            message = f"a ProduceRequest of version {request.version}"
            raise ValueError(message)
        head, parts = _read(request.body)
        marked = [part for part in parts if self._marker in part[2]]
        request.body = head + _grouped(parts, lambda part: self._marker not in part[2], _batch)
        request.lacking = _grouped(marked, lambda _: True, _failure)

    def response(self, request: Request, body: bytes) -> bytes:
        """Add what is told of the batches that were taken out."""
        if not request.lacking:
            return body
        count = sum(_INT.unpack_from(topics)[0] for topics in (request.lacking, body))
        return _INT.pack(count) + request.lacking[_INT.size :] + body[_INT.size :]


class FailingCluster(ProxiedCluster):
    """Brokers that fail over every batch with `MARKER`, until they are told not to."""

    def __init__(self, nodes: int = 1) -> None:
        super().__init__(nodes, partial(FailingProxy, marker=MARKER))

    def heal(self) -> None:
        """Let them take it."""
        self.tell(lambda proxy: setattr(proxy, "fails", False))


def _read(body: bytes) -> tuple[bytes, list[Part]]:
    """Return what a ProduceRequest has before the number of its topics, and their parts."""
    (transactional,) = _SHORT.unpack_from(body)
    at = start = _SHORT.size + max(0, transactional) + 6  # acks and time-out
    parts = []
    (topics,) = _INT.unpack_from(body, at)
    at += _INT.size
    for _ in range(topics):
        (length,) = _SHORT.unpack_from(body, at)
        topic = body[at + _SHORT.size :][:length]
        at += _SHORT.size + length
        (partitions,) = _INT.unpack_from(body, at)
        at += _INT.size
        for _ in range(partitions):
            number, size = _PAIR.unpack_from(body, at)
            at += _PAIR.size
            parts.append((topic, number, body[at : at + size]))
            at += size
    return body[:start], parts


def _grouped(parts: list[Part], which: Callable[[Part], bool], pack: Callable[[Part], bytes]) -> bytes:
    """Return an array of topics with their partitions."""
    topics = [(topic, list(some)) for topic, some in groupby(filter(which, parts), key=lambda part: part[0])]
    pieces = [_INT.pack(len(topics))]
    for topic, some in topics:
        pieces += [_SHORT.pack(len(topic)), topic, _INT.pack(len(some)), *map(pack, some)]
    return b"".join(pieces)


def _batch(part: Part) -> bytes:
    return _PAIR.pack(part[1], len(part[2])) + part[2]


def _failure(part: Part) -> bytes:
    return _RESULT.pack(part[1], UNKNOWN_SERVER_ERROR, -1, -1, -1)
