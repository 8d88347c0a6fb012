"""Delivery reports: what the sender says of the records it was given, and who hears it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from aurora_bridge.kafka.record import Record


class DeliveryStatus(StrEnum):
    """How a send ended, or where it stands."""

    ACKNOWLEDGED = "acknowledged"
    """In the log of all in-sync replicas."""
    RECORD_REFUSED = "record_refused"
    """Kafka rejected the record; sending it again is no use."""
    TOPIC_REFUSED = "topic_refused"
    """Kafka rejected the topic, or us, or another cluster takes its place; this attempt was not stored."""
    STALLED = "stalled"
    """Not sent, since its broker is away; still queued."""
    IN_DOUBT = "in_doubt"
    """Sent, without an answer; still queued, and sent again until Kafka answers."""


class DeliveryReport(NamedTuple):
    """What the sender says of records of one partition."""

    status: DeliveryStatus
    reason: str = ""
    """Kafka's error in lower snake_case, where there is one."""
    offset: int = -1
    """Offset of the first, the others following; -1 where Kafka recognised a copy it had."""


class SenderListener(Protocol):
    """Who gives the sender its records, and hears what becomes of them."""

    def on_delivery(self, records: Sequence[Record], report: DeliveryReport) -> None:
        """Hear of records of one partition; the last report on a record is an acknowledgement or a refusal."""

    def on_metadata(self) -> None:
        """Hear that the metadata of the topics may have changed."""

    def on_unreachable(self, event: str) -> None:
        """Hear that a broker to which no connection can be made leads a part of this event's topic.

        When a client was lost, every event is told.
        """
