"""A client of aiokafka's whose brokers are a script: for answers that a real broker gives only by chance."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Self

from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.record.memory_records import MemoryRecords

from aurora_bridge.kafka.client import Client, OnConnection
from aurora_bridge.kafka.produce_protocol import Produce

Batches = dict[tuple[str, int], bytes]
"""What a request carries, by topic and partition."""
Answers = Callable[[Batches], Awaitable[dict[tuple[str, int], int] | Exception]]
"""The error code for each of a request's partitions, or what the request fails with."""


async def all_stored(batches: Batches) -> dict[tuple[str, int], int]:
    """Answer that every batch was appended."""
    return dict.fromkeys(batches, 0)


def keys_of(batch: bytes) -> list[str]:
    """Return the keys of a batch's records."""
    only: Any = MemoryRecords(batch).next_batch()
    return [record.key.decode() for record in only]


class ScriptedClient(Client):
    """One broker, which leads every partition of `topics` and answers as `answers` says."""

    def __init__(self, topics: dict[str, int], answers: Answers) -> None:
        Client.__init__(self, bootstrap_servers="127.0.0.1:1")
        self.sent: list[Batches] = []
        """What was sent, request by request."""
        self.asked_for_producer_id = asyncio.Event()
        self.producer_id_given = asyncio.Event()
        self.producer_id_given.set()
        self.throttle_ms = 0
        """For how long the broker wants nothing after each answer."""
        self._answers = answers
        self.topics = topics
        """What it leads, from its next metadata on."""
        self.producer_id = 0
        """The last that it gave out."""

    def connect(self, on_connection: OnConnection) -> Self:
        """Be the client of a sender, that hears of connections by `on_connection`."""
        self.on_connection = on_connection
        return self

    @property
    def alive(self) -> bool:
        return True

    async def bootstrap(self) -> None:
        self._tell()

    def learn(self, topics: dict[str, int]) -> None:
        """Let there be these topics and no others, and tell so."""
        self.topics = topics
        self._tell()

    def _tell(self) -> None:
        led = [(0, name, [(0, index, 1, [1], [1]) for index in range(count)]) for name, count in self.topics.items()]
        self.cluster.update_metadata(MetadataResponse_v0([(1, "127.0.0.1", 1)], led))

    async def send(self, node_id: int, request: Any, **_options: object) -> Any:  # noqa: ANN401 - aiokafka's own
        assert node_id == 1
        if not isinstance(request, Produce):
            self.asked_for_producer_id.set()
            await self.producer_id_given.wait()
            self.producer_id += 1
            return SimpleNamespace(error_code=0, producer_id=self.producer_id, producer_epoch=0)
        body: Any = ProduceRequest_v7.decode(request.prepare({0: (7, 7)}).encode())
        batches = {(topic, partition): batch for topic, parts in body.topics for partition, batch in parts}
        self.sent.append(batches)
        answers = await self._answers(batches)
        if isinstance(answers, Exception):
            raise answers
        parts = [(*where, code, -1) for where, code in answers.items()]
        return SimpleNamespace(parts=parts, throttle_time_ms=self.throttle_ms)

    async def produce(self, node_id: int, request: Produce) -> Any:  # noqa: ANN401
        return await self.send(node_id, request)

    async def refresh(self) -> None:
        self._tell()

    def set_topics(self, _topics: object) -> None:
        """Take no notice: the script knows them."""

    def force_metadata_update(self) -> None:
        """Tell the topics again."""
        asyncio.get_running_loop().call_soon(self._tell)
