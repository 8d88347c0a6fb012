"""Delivery reports: what the sender reports on records, and to whom."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from aurora_bridge.kafka.record import Record


class DeliveryStatus(StrEnum):
    """How sending a record ended, or its current state."""

    ACKNOWLEDGED = "acknowledged"
    """In the log of all in-sync replicas."""
    RECORD_REFUSED = "record_refused"
    """Kafka rejected the record; sending it again would not help."""
    TOPIC_REFUSED = "topic_refused"
    """Kafka rejected the topic or our user, or another cluster was accepted; this attempt was not stored."""
    STALLED = "stalled"
    """Not sent, because its broker is away; still queued."""
    IN_DOUBT = "in_doubt"
    """Sent, without an answer; still queued, and sent again until Kafka answers."""


class DeliveryReport(NamedTuple):
    """What the sender reports on records of one partition."""

    status: DeliveryStatus
    reason: str = ""
    """Kafka's error in lower snake_case, if any."""
    offset: int = -1
    """Offset of the first record, followed by the others; -1 if Kafka recognised a copy, and did not report it."""


class SenderListener(Protocol):
    """Submits records to the sender, and hears what becomes of them."""

    def on_delivery(self, records: Sequence[Record], report: DeliveryReport) -> None:
        """Handle a report on records of one partition. A record's last report is an acknowledgement or a refusal."""

    def on_metadata(self) -> None:
        """Handle topic metadata that may have changed."""

    def on_unreachable(self, event: str) -> None:
        """Handle that a partition of this event's topic has an unreachable leader.

        Called for every event when the client is lost.
        """
