"""A record as it goes to Kafka."""

from dataclasses import dataclass, field

from aurora_bridge.webhook.event import Headers


@dataclass(eq=False)
class Record:
    """One Kafka record. Without slots, so that what has a default costs nothing to make."""

    event: str
    """Its topic's name without the prefix."""
    key: bytes
    value: bytes
    headers: Headers
    partition_key: bytes
    """What murmur2 chooses the partition by: the event's subject, or its id where there is none."""
    timestamp_ms: int = field(default=0, init=False)
    """When it was handed to the sender. Kafka's retention counts from it: what is drained late must not be deleted
    unread."""
