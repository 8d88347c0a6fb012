"""A sender for the tests: running against a real broker, and with a journal of what it says of each record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from weakref import WeakKeyDictionary

from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection

from aurora_bridge.kafka.client import Client, OnConnection, make_client
from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus, SenderListener
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.producer_client import Connect
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings
from tests.support.ports import HOST
from tests.support.proxy import Proxy
from tests.support.topics import read_all

PATIENCE = 30.0
"""Bound of every wait, far above what any takes: it ends a test that would wait for ever."""

ENDED = {DeliveryStatus.ACKNOWLEDGED, DeliveryStatus.RECORD_REFUSED, DeliveryStatus.TOPIC_REFUSED}


EVENT = "lead_changed"
"""The event of a test that needs one only."""


def numbers(count: int, first: int = 0) -> list[str]:
    """Return keys whose order can be seen."""
    return [f"{number:04}" for number in range(first, first + count)]


class Journal:
    """Hears what becomes of records, in the order of telling."""

    def __init__(self) -> None:
        self.told: list[tuple[str, DeliveryReport]] = []
        self._changed = asyncio.Event()

    def hear(self, records: Iterable[Record]) -> list[Record]:
        """Listen for these records; return them."""
        heard = list(records)
        _JOURNALS.update(dict.fromkeys(heard, self))
        return heard

    def ends(self, key: str) -> list[DeliveryStatus]:
        """Return what was said of a record, without what was said again."""
        told = [report.status for name, report in self.told if name == key]
        return [end for index, end in enumerate(told) if index == 0 or end is not told[index - 1]]

    def acknowledged(self) -> list[str]:
        """Return the keys of the acknowledged records, in the order of acknowledgement."""
        return [key for key, report in self.told if report.status is DeliveryStatus.ACKNOWLEDGED]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something said of a record makes a condition true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ended(self, count: int) -> None:
        """Wait until `count` records were acknowledged or refused."""
        await self.until(lambda: sum(report.status in ENDED for _, report in self.told) >= count)

    def note(self, record: Record, report: DeliveryReport) -> None:
        """Note what was said of a record."""
        self.told.append((record.key.decode(), report))
        self._changed.set()


_JOURNALS: WeakKeyDictionary[Record, Journal] = WeakKeyDictionary()
"""Who listens for which record."""


def sender_of(  # noqa: PLR0913 - what it is made of
    connect: Connect,
    prefix: str,
    events: Iterable[str],
    listener: SenderListener,
    metrics: Metrics,
    *,
    idempotence: bool = True,
) -> Sender:
    """Return a sender to the topics of `events`."""
    settings = KafkaSettings(topic_prefix=prefix, idempotence=idempotence)
    return Sender(settings, connect, events, listener, problems=Problems(metrics), metrics=metrics)


def sender_metrics() -> Metrics:
    """Return metrics as a sender needs them."""
    return Metrics(publish_errors=ERROR_REASONS, kafka_problems=tuple(REASONS))


@asynccontextmanager
async def run(sender: Sender) -> AsyncIterator[None]:
    """Run a sender."""
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # raises what ended the sender, if it did not live to the end


class Running:
    """A sender, its metrics, and who listens to it: journals, and the tests that wait for metadata."""

    def __init__(self, connect: Connect, prefix: str, events: Iterable[str], *, idempotence: bool = True) -> None:
        self.metrics = sender_metrics()
        self.unreachable: list[str] = []
        """The events that were told as unreachable."""
        self.clients: list[Client] = []
        """Those that were made, the one in use last."""
        self._connect = connect
        self._changed = asyncio.Event()
        self.sender = sender_of(self._connected, prefix, events, self, self.metrics, idempotence=idempotence)

    def _connected(self, on_connection: OnConnection) -> Client:
        self.clients.append(self._connect(on_connection))
        return self.clients[-1]

    def on_delivery(self, records: Sequence[Record], report: DeliveryReport) -> None:
        """Tell the journals what became of records."""
        for record in records:
            if record in _JOURNALS:
                _JOURNALS[record].note(record, report)

    def on_metadata(self) -> None:
        """Wake the tests that wait for metadata."""
        self._changed.set()

    def on_unreachable(self, event: str) -> None:
        """Note the event."""
        self.unreachable.append(event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a change of metadata makes a condition true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def submit(self, *records: Record) -> None:
        """Hand over records whose topics must be known."""
        for record in records:
            assert self.sender.submit(record), record.event

    def errors(self) -> dict[str, int]:
        """Return the publish errors that were counted."""
        return {str(reason): count for reason, count in self.metrics.publish_errors.items() if count}


@asynccontextmanager
async def running(connect: Connect, prefix: str, *events: str, idempotence: bool = True) -> AsyncIterator[Running]:
    """Run a sender to the topics of `events`."""
    made = Running(connect, prefix, events, idempotence=idempotence)
    async with run(made.sender):
        yield made


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds whose changes nobody is told of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def client_of(bootstrap: str) -> "partial[Client]":
    """Return what makes a client as the daemon has it."""
    return partial(make_client, KafkaSettings(bootstrap_servers=bootstrap), None)


def end_metadata_task(client: Client | None) -> None:
    """End the task that keeps a client's metadata, as an error does that aiokafka does not expect."""
    assert client is not None
    assert client._sync_task is not None  # noqa: SLF001 - aiokafka's
    client._sync_task.cancel()  # noqa: SLF001 - aiokafka's


def connections_of(client: Client) -> list[AIOKafkaConnection]:
    """Return a client's connections; a test closes them as a broker does."""
    return list(client._conns.values())  # noqa: SLF001 - aiokafka's


class ThroughProxy(ClusterMetadata):
    """Metadata in which the one broker has the proxy's port."""

    port = 0

    def broker_metadata(self, broker_id: object) -> object:
        broker = ClusterMetadata.broker_metadata(self, broker_id)
        return broker and broker._replace(port=self.port)


def client_through(proxy: Proxy) -> Connect:
    """Return what makes a client that knows the broker by the proxy in front of it only."""

    def connect(on_connection: OnConnection) -> Client:
        client = client_of(f"{HOST}:{proxy.port}")(on_connection)
        client.cluster = metadata = ThroughProxy(metadata_max_age_ms=60_000)  # type: ignore[no-untyped-call]
        metadata.port = proxy.port
        return client

    return connect


async def stored(bootstrap: str, topic: str) -> list[str]:
    """Return the keys in a topic, by partition and offset, as a client that shares no code with ours sees them."""
    records = await asyncio.to_thread(read_all, bootstrap, [topic])
    return [(record.key or b"").decode() for record in records]


async def stored_at_last(bootstrap: str, topic: str, key: str) -> None:
    """Wait until a record lies in a topic."""
    async with asyncio.timeout(PATIENCE):
        while key not in await stored(bootstrap, topic):
            pass
