"""Copies a time window of a topic to another topic, for a consumer that lost its data: with keys, values and headers.

The next poll of the source waits until everything from the last one is acknowledged. If the copy is interrupted and run
again, it publishes the same events a second time, with the same ids.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import cast

import orjson

from aurora_bridge.kafka.client import CheckCluster, make_client
from aurora_bridge.kafka.delivery_report import DeliveryReport, DeliveryStatus
from aurora_bridge.kafka.describe_topics import describe_topics
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.kafka.topic_consumer import ReadError, Stored, read_topics
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings

_POLL_SECONDS = 0.1
_REFUSED = {DeliveryStatus.RECORD_REFUSED, DeliveryStatus.TOPIC_REFUSED}

Tell = Callable[[str], None]
Progress = Callable[[int], None]


class RepublishError(Exception):
    """Not everything was republished. The message says why."""


class _Republisher:
    """Publishes groups of records, as the sender's `SenderListener`."""

    def __init__(self, into: str, window: range, patience: float, progress: Progress) -> None:
        self._into = into
        self._window = window
        self._patience = patience
        self._progress = progress
        self._waiting = 0
        self._failure = ""
        self._changed = asyncio.Event()
        self.sender: Sender
        self.published = 0

    async def show(self, group: Sequence[Stored]) -> None:
        """Publish the records in the window; return once they are acknowledged. Raises `RepublishError`."""
        for stored in group:
            if stored.timestamp_ms in self._window:
                await self._submit(stored)
        await self._until(lambda: not self._waiting)
        self._progress(self.published)

    async def _submit(self, stored: Stored) -> None:
        event = orjson.loads(stored.event)
        partition_key = (event.get("subject") or stored.identity.id).encode()
        key = cast("bytes", stored.key)  # can be None: the copy has no key either
        record = Record(self._into, key, stored.value, stored.headers, partition_key)
        await self._until(lambda: self.sender.submit(record))
        self._waiting += 1

    async def _until(self, done: Callable[[], bool]) -> None:
        """Return once `done`. Raises `RepublishError`, also if Kafka accepts nothing for too long."""
        moved_at, published = monotonic(), self.published
        while not done():
            if self._failure:
                raise RepublishError(self._failure)
            if self.published != published:
                moved_at, published = monotonic(), self.published
            elif monotonic() - moved_at > self._patience:
                problems = "".join(f" {problem}." for problem in self.sender.problems)
                msg = f"Kafka accepted nothing for {self._patience:g} s.{problems}"
                raise RepublishError(msg)
            self._changed.clear()
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                """Check the clock."""

    def on_delivery(self, records: Sequence[Record], report: DeliveryReport) -> None:
        """Count the records of one partition."""
        if report.status is DeliveryStatus.ACKNOWLEDGED:
            self.published += len(records)
            self._waiting -= len(records)
        elif report.status in _REFUSED:
            self._failure = f"Kafka rejected a record for {self._into}: {report.reason}."
        self._changed.set()

    def on_metadata(self) -> None:
        """Check again whether the topic exists."""
        self._changed.set()

    def on_unreachable(self, event: str) -> None:
        """Do nothing: the broker may come back."""


async def republish(  # noqa: PLR0913 - source, target, and callbacks
    settings: KafkaSettings,
    topic: str,
    into: str,
    window: range,
    *,
    patience: float,
    tell: Tell,
    progress: Progress,
    check_cluster: CheckCluster,
) -> int:
    """Copy the events of `topic` with a timestamp in the `window` (ms since 1970) to the topic `into`; return how many.

    `progress` is called with the number so far. Raises `ReadError`, and `RepublishError`, also if Kafka accepts nothing
    for `patience` seconds.
    """
    settings = settings.model_copy(update={"topic_prefix": ""})
    source, target = await describe_topics(settings, [topic, into], check_cluster)
    for each in (source, target):
        if not each.exists:
            why = f"This user lacks the ACL {each.missing_acl} on" if each.missing_acl else "There is no topic"
            msg = f"{why} {each.name}. --topic and --into take full names, and create nothing."
            raise RepublishError(msg)
    metrics = Metrics(publish_errors=ERROR_REASONS, kafka_problems=tuple(REASONS))
    connect = partial(make_client, settings, Security(settings), check_cluster=check_cluster)
    republisher = _Republisher(into, window, patience, progress)
    republisher.sender = Sender(settings, connect, [into], republisher, problems=Problems(metrics), metrics=metrics)
    sending = asyncio.create_task(republisher.sender.run())
    try:
        await read_topics(
            settings, [topic], republisher.show, tell=tell, since_ms=window.start, check_cluster=check_cluster
        )
    except (ReadError, RepublishError) as error:
        msg = f"{error} {republisher.published} were republished."
        raise type(error)(msg) from error
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return republisher.published
