"""A record as it goes to Kafka."""

from dataclasses import dataclass, field

from aurora_bridge.webhook.event import Headers


@dataclass(eq=False)
class Record:
    """One Kafka record. Without slots, so that fields with a default cost nothing at creation."""

    event: str
    """Its topic's name without the prefix."""
    key: bytes
    value: bytes
    headers: Headers
    partition_key: bytes
    """Decides the partition, by murmur2: the event's subject, or its id if it has none."""
    timestamp_ms: int = field(default=0, init=False)
    """When it was submitted to the sender. Kafka's retention starts there, so that a record that is drained late is not
    deleted unread."""
