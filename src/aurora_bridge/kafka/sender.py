"""The idempotent sender: sends records to their partitions, in order, many per request.

One request per broker is in flight. Records that arrive meanwhile, or within a short gap after the previous request,
form the next one (`produce_requests`). The rules are elsewhere: `partition_queue` and `error_actions` for the state of
a batch, `broker` for how much a broker gets, `metadata` for the partitions, `producer_client` for the client. Deadlines
are the publisher's.

Queues outlive their client: a batch in doubt still goes first. Reports are collected first and delivered afterwards,
because the listener then submits and withdraws records.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import monotonic, time_ns

from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.delivery_report import SenderListener
from aurora_bridge.kafka.linger import Linger
from aurora_bridge.kafka.metadata import Metadata
from aurora_bridge.kafka.partition_queue import PartitionQueue, Report
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.produce_protocol import CODECS, murmur2
from aurora_bridge.kafka.produce_requests import Requests
from aurora_bridge.kafka.producer_client import Connect, ProducerClient
from aurora_bridge.kafka.queues import Queues
from aurora_bridge.kafka.record import Record
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings

log = logging.getLogger(__name__)

_FLUSH_POLL_SECONDS = 0.002


class Sender:
    """Sends records over one client, and keeps that client alive."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        settings: KafkaSettings,
        connect: Connect,
        events: Iterable[str],
        listener: SenderListener,
        *,
        problems: Problems,
        metrics: Metrics,
    ) -> None:
        """Send to the topics of `events`, over clients that `connect` makes.

        `listener` gets the delivery reports. `problems` collects what is wrong between us and Kafka.
        """
        prefix = settings.topic_prefix
        self._events = tuple(events)
        self._listener = listener
        metrics.kafka_configured[()] = 1
        self._metadata = metadata = Metadata([prefix + event for event in self._events], problems, metrics)
        self._client = ProducerClient(
            connect, self, metadata, prefix=prefix, idempotent=settings.idempotence, problems=problems, metrics=metrics
        )
        self._queues = Queues(prefix, self._events, metadata, metrics)
        self._ready: dict[PartitionQueue, None] = {}
        """Queues with something to send and no request in flight."""
        self._requests = Requests(
            self._client, CODECS[settings.compression], self._on_end, problems=problems, metrics=metrics
        )
        self._flush_handle: asyncio.Handle | None = None
        """The next flush, which comes within milliseconds."""
        self._wake_handle: asyncio.Handle | None = None
        """The flush at the end of a pause. Queues that need not pause do not wait for it."""
        self._flushed_at = 0.0
        self._submitted = 0
        """Records submitted since the last flush."""
        self._linger = Linger()
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time
        self.problems = problems

    # What the publisher and the drainer call.

    def writable(self, event: str) -> bool:
        """Whether every partition of an event's topic has a leader, as far as we know."""
        return self._queues.writable(event)

    def missing(self) -> list[str]:
        """Return the topics that cannot be written to now."""
        return self._queues.missing()

    def submit(self, record: Record, *, backlog: bool = False) -> bool:
        """Append a record to its partition's queue. Returns False if Kafka does not have its topic now.

        If not everything fits into a request, records of a `backlog` go last.
        """
        queues = self._queues.by_event.get(record.event)
        if queues is None:
            return False
        record.timestamp_ms = time_ns() // 1_000_000
        queue = queues[murmur2(record.partition_key) % len(queues)]
        queue.waiting.append(record)
        queue.backlog = backlog
        self._ready[queue] = None
        self._submitted += 1
        if self._flush_handle is None:
            self._schedule()
        return True

    def withdraw(self, records: Iterable[Record]) -> set[Record]:
        """Remove the records that were certainly not sent; return them. The others stay in doubt."""
        return self._queues.withdraw(set(records))

    def take_stored(self) -> Iterator[tuple[TopicPartition, int, int]]:
        """Yield where our records were stored since the last call: partition, first offset, end offset."""
        return self._queues.take_stored()

    def reconnect(self) -> None:
        """Replace the client, because another cluster was accepted."""
        self._client.replace()

    async def flush(self, seconds: float) -> None:
        """Wait until nothing is queued or in flight, `seconds` at most; return at once if there is no client."""
        end = monotonic() + seconds
        while self._client.client is not None and not self.idle and monotonic() < end:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_FLUSH_POLL_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self._queues.idle

    # Requests.

    def _schedule(self) -> None:
        wait = self._flushed_at + self._linger.gap_seconds - monotonic()
        loop = self._loop
        self._flush_handle = loop.call_later(wait, self._flush) if wait > 0 else loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send each broker a request with what is due, unless it has one in flight."""
        self._flush_handle = None
        client, producer = self._client.client, self._client.producer
        if client is None or producer is None:
            return
        now = monotonic()
        reports: list[Report] = []
        due, wake = self._due(now)
        if due:
            self._linger.note(self._submitted, now - self._flushed_at)
            self._flushed_at, self._submitted = now, 0
        for broker, queues in due.items():
            reports += self._requests.send(client, producer, broker, queues, now)
            for queue in queues:
                if queue.under_way:
                    del self._ready[queue]
                elif not broker.busy:  # nothing could be encoded
                    wake = min(wake, max(now, queue.retry_at))
        if self._wake_handle is not None:
            self._wake_handle.cancel()
        self._wake_handle = self._loop.call_later(wake - now, self._wake) if wake < inf else None
        self._deliver(reports)

    def _wake(self) -> None:
        if self._flush_handle is None:
            self._flush()

    def _due(self, now: float) -> tuple[dict[Broker, list[PartitionQueue]], float]:
        """Return what each broker can be sent at monotonic time `now`, and when there is more to send."""
        due: defaultdict[Broker, list[PartitionQueue]] = defaultdict(list)
        wake = inf
        for queue in list(self._ready):
            broker = queue.broker
            if not queue:
                del self._ready[queue]
            elif broker is None or broker.busy or queue.under_way:
                pass  # a flush follows when that changes
            elif queue.retry_at > now or broker.open_at > now:
                wake = min(wake, max(queue.retry_at, broker.open_at))
            else:
                due[broker].append(queue)
        return due, wake

    def _on_end(self, queues: Iterable[PartitionQueue], reports: list[Report], lost: Broker | None) -> None:
        """Make the queues of a request ready again. Partitions of a lost broker have no leader until new metadata."""
        if lost is not None:
            self._queues.lose(lost)
        if self._queues.leaving:
            self.on_metadata()
        self._ready.update(dict.fromkeys(queue for queue in queues if queue))
        if self._ready and self._flush_handle is None:
            self._schedule()
        self._deliver(reports)

    def _deliver(self, reports: list[Report]) -> None:
        for records, report in reports:
            try:
                self._listener.on_delivery(records, report)
            except Exception:
                log.exception("the listener failed to handle a delivery report; its records will time out")

    def _notify(self, hear: Callable[..., None], *about: str) -> None:
        """Call the listener; whatever it raises ends neither client nor sender."""
        try:
            hear(*about)
        except Exception:
            log.exception("the sender's listener failed; going on")

    # The client, and what it reports (`ClientUser`).

    async def run(self) -> None:
        """Keep a client connected until cancelled."""
        try:
            await self._client.run()
        finally:
            await self._requests.cancel()

    def on_metadata(self) -> None:
        """Take over the current partitions and brokers."""
        routed = self._queues.route()
        for record, backlog in routed.moved:
            self.submit(record, backlog=backlog)
        self._deliver(routed.reports)
        for event in routed.unreachable:
            self._notify(self._listener.on_unreachable, event)
        self._notify(self._listener.on_metadata)
        if self._ready and self._flush_handle is None:
            self._schedule()

    def on_other_cluster(self) -> None:
        """Give all records back. Those in doubt may be in the former cluster, and get a copy in this one."""
        self._ready.clear()
        self._deliver(self._queues.refuse_all("cluster_replaced"))

    async def on_lost(self) -> None:
        """Report every event as unreachable, so that nothing waits for a lost client until its deadline.

        If the task that keeps the client has failed as well, the end of the daemon would have to wait, too.
        """
        await self._requests.cancel()
        self.on_metadata()
        for event in self._events:
            self._notify(self._listener.on_unreachable, event)
