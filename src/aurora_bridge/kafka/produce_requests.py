"""Sends produce requests: decides what goes into one, and applies the response to its batches.

A request ends with a response for each of its batches, or with none: then they are in doubt, unless there was no
connection to send them over. Reports are returned for the caller to deliver.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NodeNotReadyError

from aurora_bridge.kafka.batch import State
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, NO_ANSWER, NO_CONNECTION, NOT_ENCODED, Action
from aurora_bridge.kafka.partition_queue import PartitionQueue, Report
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.produce_protocol import Part, Produce, ProducerId
from aurora_bridge.kafka.producer_client import ProducerClient
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_REPLICAS_TIMEOUT_MS = 2000
"""How long a broker waits for replicas. It must answer before our request times out, or every batch of the request is
in doubt, not only those that wait."""
_DOUBTFUL_TIMEOUT_MS = 200
"""The same with batches in doubt: a broker recognises a copy at once if the first is replicated. Others wait behind it.
"""
_DOUBTFUL = State.DOUBTFUL  # in Python 3.11, each access to an enum member is a call
_ACKNOWLEDGE = Action.ACKNOWLEDGE
_NOTHING_SENT = (NodeNotReadyError, IncompatibleBrokerVersion)
_LOOK_FOR_LEADER = {Action.RETRY, Action.RETRY_DOUBTFUL, Action.STALL_DOUBTFUL}
_BACKLOG = attrgetter("backlog")

Sent = dict[tuple[str, int], PartitionQueue]
"""The queues of the batches in a request, by topic and partition."""
OnEnd = Callable[[Iterable[PartitionQueue], list[Report], Broker | None], None]
"""Called at the end of a request with its queues, the reports to deliver, and the broker if it did not answer."""


class Requests:
    """Sends requests, one at a time per broker."""

    def __init__(
        self, client: ProducerClient, compression: int, on_end: OnEnd, *, problems: Problems, metrics: Metrics
    ) -> None:
        """Send over `client`, compressed by a number of `produce_protocol.CODECS`; call `on_end` after each request."""
        self._client = client
        self._compression = compression
        self._on_end = on_end
        self._problems = problems
        self._metrics = metrics
        self._tasks: set[asyncio.Task[Any]] = set()

    def send(
        self, client: Client, producer: ProducerId, broker: Broker, queues: list[PartitionQueue], now: float
    ) -> list[Report]:
        """Send an idle broker one request with as many of `queues` as it takes, at monotonic time `now`.

        Doubtful batches get requests of their own, in turn with the others, so as not to put these in doubt too. Live
        events go before a backlog. Returns the reports on batches that could not be encoded.
        """
        doubtful = [queue for queue in queues if queue.state is _DOUBTFUL]
        again = bool(doubtful) and (not broker.doubtful_last or len(doubtful) == len(queues))
        broker.doubtful_last = again
        if doubtful:
            queues = doubtful if again else [queue for queue in queues if queue.state is not _DOUBTFUL]
        reports: list[Report] = []
        batches: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        sent: Sent = {}
        size = 0
        for queue in sorted(queues, key=_BACKLOG):
            if size >= broker.limit_bytes:
                break
            try:
                data = queue.load(producer, self._compression, broker.limit_bytes - size)
            except Exception:
                log.exception("%s-%d: records cannot be encoded", queue.topic, queue.partition)
                reports += self._apply(queue, *NOT_ENCODED, now)
                continue
            if sent and again and size + len(data) > broker.limit_bytes:
                continue  # its bytes must not change: it goes in another request
            size += len(data)
            batches[queue.topic].append((queue.partition, data))
            sent[queue.topic, queue.partition] = queue
        if sent:
            timeout_ms = _DOUBTFUL_TIMEOUT_MS if again else _REPLICAS_TIMEOUT_MS
            task = asyncio.create_task(client.produce(broker.node, Produce(batches, timeout_ms)))
            if again:
                self._metrics.kafka_resent_batches[()] += len(sent)
            for queue in sent.values():
                queue.sent()
            broker.busy = True
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, broker, sent, size, now))
        return reports

    async def cancel(self) -> None:
        """Cancel the requests in flight; their batches are in doubt."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, broker: Broker, sent: Sent, size: int, began: float, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        broker.busy = False
        now = monotonic()
        reports: list[Report] = []
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._client.heard_at = now
            answer = task.result()
            broker.answered(size, now - began, now, answer.throttle_time_ms / 1000)
            reports += self._settle(broker, sent, answer.parts, now)
        else:
            broker.lost()
            self._client.ask()
            if not isinstance(error, KafkaError | OSError | TimeoutError | asyncio.CancelledError):
                log.error("aiokafka failed unexpectedly; sending the records again", exc_info=error)
        without_answer = NO_CONNECTION if isinstance(error, _NOTHING_SENT) else NO_ANSWER
        for queue in sent.values():
            if queue.under_way:
                reports += self._apply(queue, *without_answer, now)
        self._on_end(sent.values(), reports, None if error is None else broker)

    def _settle(self, broker: Broker, sent: Sent, parts: list[Part], now: float) -> list[Report]:
        """Apply the response to each batch; return the reports to deliver."""
        reports: list[Report] = []
        refused = self._problems.refused_topics
        for topic, partition, code, offset in parts:
            queue = sent.get((topic, partition))
            action, reason = ACTIONS.get(code, ANY_OTHER)
            if queue is None or not queue.under_way:
                log.warning("%s-%d: a response for a batch that was not sent", topic, partition)
            elif action is _ACKNOWLEDGE:
                broker.acknowledged_at = now
                reports += queue.apply(action, reason, now, offset)
                if topic in refused:
                    self._problems.accepted(topic)
            else:
                reports += self._apply(queue, action, reason, now)
        return reports

    def _apply(self, queue: PartitionQueue, action: Action, reason: str, now: float) -> list[Report]:
        """Apply an error to a batch; return the reports to deliver."""
        self._metrics.publish_errors[reason] += 1
        before = queue.producer
        reports = queue.apply(action, reason, now)
        if queue.producer != before:
            log.warning("%s-%d: %s; beginning a new producer epoch", queue.topic, queue.partition, reason)
            self._metrics.producer_ids[()] += 1
            if queue.producer is None:  # after 32,766 epochs
                self._client.producer = None
        if action is Action.REFUSE:
            self._problems.refused(queue.topic, reason)
        if action in _LOOK_FOR_LEADER:
            self._client.ask()
        return reports
