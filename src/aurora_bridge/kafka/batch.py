"""A batch of records on its way to one partition: which go into it, and where it stands, one of four named states."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from aurora_bridge.kafka.record import Record

_OVERHEAD_BYTES = 250
"""Of a record in a batch, with its headers."""


class State(Enum):
    """Where a batch stands."""

    READY = auto()
    """Never on the wire: its sequence is free."""
    SENT = auto()
    """Under way for the first time."""
    DOUBTFUL = auto()
    """It was on the wire, and nobody knows whether it is in the log."""
    RESENT = auto()
    """Under way again, and still doubtful: what this answer says holds for this copy alone."""


@dataclass(slots=True, eq=False)
class Batch:
    """Records that go together, or in parts."""

    records: list[Record]
    state: State = State.READY
    data: bytes | None = None
    """Its bytes, under the epoch and sequence of its partition; None: not encoded yet."""
    suspected: int = 0
    """How often it got an answer that blames nothing."""
    suspected_at: float = 0.0
    """Monotonic time of the first of these, those of the batch that it is a part of among them."""


def take(waiting: deque[Record], max_bytes: int) -> list[Record]:
    """Take the next records out of a queue: about `max_bytes` of them, and one at least."""
    size = 0
    records: list[Record] = []
    while waiting:
        size += len(waiting[0].value) + len(waiting[0].key) + _OVERHEAD_BYTES
        if records and size > max_bytes:
            break
        records.append(waiting.popleft())
    return records
