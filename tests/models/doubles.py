"""What stands around the daemon's core in the model: threads that work when told to, and Kafka with its connections.

Everything in here moves only when the model says so, one step at a time; `instance` puts the daemon's core between.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Self

from aiokafka.structs import TopicPartition

from aurora_bridge.dedup import log_record
from aurora_bridge.kafka.delivery_report import SenderListener
from aurora_bridge.kafka.error_actions import NO_ANSWER, NO_CONNECTION, Action
from aurora_bridge.kafka.fetch import EARLIEST, LATEST, Fetched
from aurora_bridge.kafka.partition_queue import PartitionQueue
from aurora_bridge.kafka.produce_protocol import ProducerId
from aurora_bridge.kafka.record import Record
from aurora_bridge.state.worker import Worker
from aurora_bridge.webhook.event import Headers
from tests.models.clock import Clock

NUMBER: Final = "number"
"""Header by which the model tells one record from another of the same id."""

GROWING: Final = ("INSERT INTO events", "INSERT INTO seen", "INSERT INTO latest")
"""Statements that a full file has no room for."""


@dataclass(slots=True)
class Disk:
    """What is wrong with a file."""

    full: bool = False
    """Whether it has no room for more rows, until some are deleted."""
    error: int | None = None
    """SQLite's code of the error with which every transaction ends."""


class SteppedConnection:
    """A connection to a file of a disk that can be full, or fail."""

    def __init__(self, connection: sqlite3.Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement. Raises `sqlite3.OperationalError` as SQLite would."""
        disk = self._disk
        if disk.error is not None and sql.startswith("BEGIN"):
            msg = "the disk fails"
            raise _error(msg, disk.error)
        if disk.full and sql.startswith(GROWING):
            msg = "database or disk is full"
            raise _error(msg, sqlite3.SQLITE_FULL)
        cursor = self._connection.execute(sql, parameters)
        if sql.startswith("DROP TABLE") or (sql.startswith("DELETE") and cursor.rowcount > 0):
            disk.full = False
        return cursor

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        """Execute a statement for each row."""
        return self._connection.executemany(sql, rows)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class SteppedWorker(Worker):
    """The thread of one SQLite file, without a thread: `work` does what is queued, `answer` tells the loop."""

    _connection: Any
    _answers: list[Any]

    def start(self) -> None:
        """Start no thread; the file is opened by the first `work`."""
        self.disk = Disk()
        self._answers = []
        self._jobs.put(self._connect)
        self._opened = False

    async def stop(self, patience: float) -> bool:
        """Run what is queued and close the file."""
        del patience
        self.work()
        self.close()
        return True

    @property
    def connection(self) -> SteppedConnection:
        """The connection that is open now."""
        assert isinstance(self._connection, SteppedConnection)
        return self._connection

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._answers) or not self._jobs.empty()

    def work(self) -> None:
        """Do what is queued; jobs that stand next to each other are committed as one group."""
        while not self._jobs.empty():
            posted, then = self._next()
            if posted:
                self._answers += self._commit(posted)
            if callable(then):
                self.close()
                self._connect = then
                self._open()

    def _open(self) -> None:
        self._opened = True
        if self.disk.error == sqlite3.SQLITE_CORRUPT:
            self.disk.error = None  # a file that is damaged, and not its disk: it is recreated
        super()._open()
        if self._connection is not None:
            self._connection.execute("PRAGMA synchronous=OFF")  # the model kills processes, not machines
            self._connection = SteppedConnection(self._connection, self.disk)

    def close(self) -> None:
        """Close the file: what was not committed is lost."""
        self._close()

    def close_unopened(self) -> None:
        """Close a file that was handed over open, to a thread that died before its first step."""
        if not self._opened:
            self._open()
            self._close()

    def answer(self) -> None:
        """Give the answers of what was committed, in order."""
        answers, self._answers = self._answers, []
        for done, result, error in answers:
            done(result, error)


class Stored(NamedTuple):
    """A record in Kafka's log."""

    id: str
    number: int
    value: bytes
    headers: Headers
    timestamp_ms: int


@dataclass(slots=True)
class Kafka:
    """What the brokers hold: it outlives every daemon."""

    log: defaultdict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    """By topic, which has one partition, the records in order."""
    producers: int = 0
    """Producer ids given out so far."""
    batches: set[bytes] = field(default_factory=set)
    """Every batch that was stored: producer id and sequence are part of its bytes."""

    def new_producer(self) -> ProducerId:
        """Give out a producer id."""
        self.producers += 1
        return ProducerId(self.producers, 0)

    def store(self, topic: str, records: Iterable[Record], data: bytes) -> int:
        """Append a batch and return its offset; -1 if it was stored before under the same producer id and sequence."""
        if data in self.batches:
            return -1
        self.batches.add(data)
        offset = len(self.log[topic])
        self.log[topic] += [
            Stored(record.key.decode(), number_of(record), record.value, list(record.headers), record.timestamp_ms)
            for record in records
        ]
        return offset


class Wire:
    """The sender's place: real partition queues, one a topic, whose batches go where the model wants."""

    def __init__(self, kafka: Kafka, topics: Iterable[str], clock: Clock) -> None:
        self.queues = {topic: PartitionQueue(topic, 0) for topic in topics}
        self.up = True
        """Whether Kafka's metadata can be had."""
        self._kafka = kafka
        self._clock = clock
        self._producer = kafka.new_producer()

    def heard_by(self, listener: SenderListener) -> Self:
        """Be the sender of a publisher."""
        self._listener = listener
        return self

    # What publisher, drainer and follower call.

    def writable(self, event: str) -> bool:
        """Whether the topic has a leader."""
        return self.up and event in self.queues

    def submit(self, record: Record, *, backlog: bool = False) -> bool:
        """Queue a record."""
        del backlog  # everything goes out alone here
        if self.up:
            record.timestamp_ms = self._clock.us // 1000
            self.queues[record.event].waiting.append(record)
        return self.up

    def withdraw(self, records: Iterable[Record]) -> set[Record]:
        """Take back what was certainly not sent."""
        wanted = set(records)
        return set().union(*(queue.withdraw(wanted) for queue in self.queues.values()))

    def take_stored(self) -> Iterator[tuple[TopicPartition, int, int]]:
        """Yield where records of ours were stored since the last call."""
        for topic, queue in self.queues.items():
            for first, end in queue.stored.take():
                yield TopicPartition(topic, 0), first, end

    # What the model does.

    def connect(self, *, up: bool) -> None:
        """Let Kafka come or go."""
        self.up = up
        self._listener.on_metadata()

    def acknowledge(self, topic: str) -> None:
        """Store what the topic has to send, and say so."""
        self._answer(topic, Action.ACKNOWLEDGE, "none", self._store(topic))

    def forget(self, topic: str) -> None:
        """Store it, and lose the answer."""
        self._store(topic)
        self._answer(topic, *NO_ANSWER)

    def lose(self, topic: str) -> None:
        """Lose it on the way, and nobody knows that."""
        self._send(topic)
        self._answer(topic, *NO_ANSWER)

    def resign(self, topic: str) -> None:
        """Store it, and lose leadership."""
        self._store(topic)
        self._answer(topic, Action.RETRY_DOUBTFUL, "not_leader_or_follower")

    def stall(self, topic: str) -> None:
        """Let the broker be away when a batch is due."""
        self._send(topic)
        self._answer(topic, *NO_CONNECTION)

    def refuse(self, topic: str) -> None:
        """Refuse the topic."""
        self._send(topic)
        self._answer(topic, Action.REFUSE, "topic_authorization_failed")

    def renumber(self, topic: str) -> None:
        """Forget the sequence of a partition: what is in doubt comes again in a new epoch, as a copy."""
        self._send(topic)
        self._answer(topic, Action.NEW_EPOCH, "out_of_order_sequence_number")

    def _send(self, topic: str) -> bytes:
        queue = self.queues[topic]
        data = queue.load(self._producer, 0)
        queue.sent()
        return data

    def _store(self, topic: str) -> int:
        data = self._send(topic)
        return self._kafka.store(topic, self.queues[topic].in_flight, data)

    def _answer(self, topic: str, action: Action, reason: str, offset: int = -1) -> None:
        for records, report in self.queues[topic].apply(action, reason, self._clock.monotonic(), offset):
            self._listener.on_delivery(records, report)


class Reading:
    """The follower's client, and what it reads; as slow as the model wants."""

    cluster_id: Final = "cluster"
    cluster: Final = SimpleNamespace(unauthorized_topics=frozenset())
    alive: Final = True

    def __init__(self, kafka: Kafka, topics: Iterable[str], wire: Wire) -> None:
        self.kafka = kafka
        self.nodes = {TopicPartition(topic, 0): 0 for topic in topics}
        self._wire = wire
        self.answers = asyncio.Event()
        """Set while Kafka answers at once."""
        self.answers.set()

    async def bootstrap(self) -> None:
        """Connect."""
        await self.answer()

    async def refresh(self) -> None:
        """Ask for metadata."""
        await self.answer()

    async def close(self) -> None:
        """End."""

    def set_topics(self, topics: Iterable[str]) -> None:
        """Be told of which topics."""

    def force_metadata_update(self) -> None:
        """Be told to ask for metadata."""

    # In place of the functions of `kafka.fetch`.

    @staticmethod
    def leaders(client: "Reading", _topics: object) -> tuple[dict[TopicPartition, int], set[str], set[str]]:
        """Return every partition, with its node."""
        return client.nodes, set(), set()

    @staticmethod
    async def offsets(client: "Reading", nodes: Mapping[TopicPartition, int], when: int) -> dict[TopicPartition, int]:
        """Return an offset of each partition."""
        found = {place: client.offset(place, when) for place in nodes}
        await client.answer()
        return found

    @staticmethod
    async def fetch(
        client: "Reading", nodes: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int], _max_bytes: int
    ) -> list[Fetched]:
        """Return what lies behind these offsets."""
        fetched = []
        for place in nodes:
            stored = client.kafka.log[place.topic]
            told = (log_record.read(one.value, one.headers, one.timestamp_ms) for one in stored[begins[place] :])
            fetched.append(Fetched(place, None, [record for record in told if record is not None], len(stored)))
        await client.answer()
        return fetched

    def offset(self, place: TopicPartition, when: int) -> int:
        """Return an offset, or where a time begins."""
        stored = self.kafka.log[place.topic]
        if when == LATEST:
            return len(stored)
        if when == EARLIEST:
            return 0
        return next((offset for offset, one in enumerate(stored) if one.timestamp_ms >= when), -1)

    async def answer(self) -> None:
        """Return once Kafka answers. Raises `OSError`."""
        await self.answers.wait()
        if not self._wire.up:
            msg = "Kafka is away"
            raise OSError(msg)


def number_of(record: Record) -> int:
    """Return a record's number."""
    return int(dict(record.headers)[NUMBER] or b"")
