"""What stands around the daemon's core in the model: threads that work when told to, and Kafka with its wire.

Everything in here moves only when the model says so, one step at a time; `instance` puts the daemon's core between.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aurora_bridge.kafka.lane import BROKER_AWAY, CONNECTION_LOST, Lane
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import DeliveryReport, SenderListener
from aurora_bridge.kafka.wire import ProducerId
from aurora_bridge.state.worker import Connect, Worker

NUMBER: Final = "number"
"""Header by which the model tells one record from another of the same id."""


class SteppedConnection:
    """A connection whose file can be full for new events."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.full = False

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Execute a statement. Raises `sqlite3.OperationalError` for a new event while the file is full."""
        if self.full and sql.startswith("INSERT INTO events"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(sql, parameters)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class SteppedWorker(Worker):
    """The thread of one SQLite file, without a thread: `work` commits what is queued, `answer` tells the loop."""

    def __init__(self, name: str, connect: Connect) -> None:
        super().__init__(name, connect)
        self._open()
        assert self._connection is not None, self._broken
        self._connection.execute("PRAGMA synchronous=OFF")  # the model kills processes, not machines
        self.connection = SteppedConnection(self._connection)
        self._connection = self.connection  # type: ignore[assignment]
        self._answers: list[Any] = []

    def start(self) -> None:
        """Start no thread."""

    async def stop(self, patience: float) -> bool:
        """Run what is queued and close the file."""
        del patience
        self.work()
        self.connection.close()
        return True

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._answers) or not self._jobs.empty()

    def work(self) -> None:
        """Commit all queued jobs as one group."""
        group = []
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                group.append(job)
        if group:
            self._answers += self._commit(group)

    def answer(self) -> None:
        """Give the answers of what was committed, in order."""
        answers, self._answers = self._answers, []
        for done, result, error in answers:
            done(result, error)


@dataclass(slots=True)
class Kafka:
    """What the brokers hold: it outlives every daemon."""

    log: defaultdict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    """By topic: id and number of each record, in order."""
    producers: int = 0
    """Producer ids given out so far."""
    batches: set[bytes] = field(default_factory=set)
    """Every batch that was stored: producer id and sequence are part of its bytes."""

    def new_producer(self) -> ProducerId:
        """Give out a producer id."""
        self.producers += 1
        return ProducerId(self.producers, 0)

    def store(self, topic: str, records: Iterable[Record], data: bytes) -> None:
        """Append a batch, unless it was stored before under the same producer id and sequence."""
        if data not in self.batches:
            self.batches.add(data)
            self.log[topic] += [(record.key.decode(), number_of(record)) for record in records]


class Wire:
    """The sender's place: real lanes, one a topic, whose batches go where the model wants."""

    def __init__(self, kafka: Kafka, topics: Iterable[str]) -> None:
        self.lanes = {topic: Lane(topic, 0, self._listen) for topic in topics}
        self.up = True
        """Whether Kafka's metadata can be had."""
        self._kafka = kafka
        self._producer = kafka.new_producer()

    def heard_by(self, listener: SenderListener) -> Self:
        """Be the sender of a publisher."""
        self._listener = listener
        return self

    def _listen(self, records: Sequence[Record], report: DeliveryReport) -> None:
        self._listener.on_delivery(records, report)

    # What the publisher and the drainer call.

    def writable(self, event: str) -> bool:
        """Whether the topic has a leader."""
        return self.up and event in self.lanes

    def submit(self, record: Record) -> bool:
        """Queue a record."""
        if self.up:
            self.lanes[record.event].waiting.append(record)
        return self.up

    def withdraw(self, records: Iterable[Record]) -> set[Record]:
        """Take back what was certainly not sent."""
        wanted = set(records)
        return set().union(*(lane.withdraw(wanted) for lane in self.lanes.values()))

    # What the model does.

    def connect(self, *, up: bool) -> None:
        """Let Kafka come or go."""
        self.up = up
        self._listener.on_metadata()

    def acknowledge(self, topic: str) -> None:
        """Store what the topic has to send, and say so."""
        self._store(topic).acknowledge(0)

    def forget(self, topic: str) -> None:
        """Store it, and lose the answer."""
        lane = self._store(topic)
        lane.in_doubt(sent=True)
        lane.stall(CONNECTION_LOST)

    def lose(self, topic: str) -> None:
        """Lose it on the way, and nobody knows that."""
        lane = self._load(topic)
        lane.in_doubt(sent=True)
        lane.stall(CONNECTION_LOST)

    def stall(self, topic: str) -> None:
        """Let the broker be away when a batch is due."""
        lane = self._load(topic)
        lane.in_doubt(sent=False)
        lane.stall(BROKER_AWAY)

    def refuse(self, topic: str) -> None:
        """Refuse the topic."""
        self._load(topic).refuse("topic_authorization_failed")

    def renumber(self, topic: str) -> None:
        """Forget the sequence of a partition: what is in doubt comes again under a new producer id, as a copy."""
        self._producer = self._kafka.new_producer()
        self.lanes[topic].renumber(self._producer, 0)

    def _load(self, topic: str) -> Lane:
        lane = self.lanes[topic]
        lane.load(self._producer, 0)
        return lane

    def _store(self, topic: str) -> Lane:
        lane = self.lanes[topic]
        data = lane.load(self._producer, 0)
        if lane.head is not None:
            self._kafka.store(topic, lane.head.records, data)
        return lane


def number_of(record: Record) -> int:
    """Return a record's number."""
    return int(dict(record.headers)[NUMBER] or b"")
