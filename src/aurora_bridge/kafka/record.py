"""A record on its way to Kafka, and the ways a send of it can end."""

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aurora_bridge.refusal import Outcome
from aurora_bridge.webhook.event import Headers


class End(StrEnum):
    """How a send ended, or where it stands."""

    ACKNOWLEDGED = "acknowledged"
    """In the log of all in-sync replicas."""
    RECORD_REFUSED = "record_refused"
    """Kafka refuses this record for itself; sending it again is no use."""
    TOPIC_REFUSED = "topic_refused"
    """Kafka refuses the topic to us; it was not stored."""
    STALLED = "stalled"
    """Not sent, since its broker is away; still queued."""
    IN_DOUBT = "in_doubt"
    """Sent, without an answer; still queued, and sent again until Kafka answers."""


class Result(NamedTuple):
    """What the sender says of records of one partition."""

    end: End
    reason: str = ""
    """Kafka's error in lower snake_case, where there is one."""
    offset: int = -1
    """Offset of the first, the others following; -1 where Kafka recognised a copy it had."""


@dataclass(eq=False)
class Record:
    """One Kafka record, and where it stands.

    Without slots, so that what has a default costs nothing to make.
    """

    event: str
    """Its topic's name without the prefix."""
    key: bytes
    value: bytes
    headers: Headers
    partition_key: bytes
    """What murmur2 chooses the partition by: the event's subject, or its id where there is none."""
    timestamp_ms: int
    fingerprint: str = ""
    received: float = 0.0
    """Monotonic time of the delivery's receipt: deadlines count from here."""
    late: Callable[[], None] | None = field(default=None, repr=False)
    """Called when the record is acknowledged after its delivery was refused."""
    seq: int | None = None
    """Its row in the spool, once committed."""
    in_sender: bool = field(default=False, init=False)
    in_doubt: bool = field(default=False, init=False)
    """Whether it was sent once without an answer, and may be in the log whatever is said of it later."""
    submitted: float = field(default=0.0, init=False)
    ended: bool = field(default=False, init=False)
    """Whether Kafka acknowledged it."""
    answer: "Future[Outcome] | None" = field(default=None, init=False, repr=False)
    """Resolved when the delivery can be answered."""
    drained: "Future[End] | None" = field(default=None, init=False, repr=False)
    """Resolved when a send of the drainer ended."""
