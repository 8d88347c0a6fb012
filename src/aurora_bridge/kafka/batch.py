"""A batch of records on its way to one partition, and its state."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from aurora_bridge.kafka.record import Record

_OVERHEAD_BYTES = 250
"""Per record in a batch, headers included."""


class State(Enum):
    """State of a batch."""

    READY = auto()
    """Never sent: its sequence is unused."""
    SENT = auto()
    """Sent for the first time, response pending."""
    DOUBTFUL = auto()
    """Sent, but it is unknown whether it is in the log."""
    RESENT = auto()
    """Sent again, and still doubtful: the response is about this copy only."""


@dataclass(slots=True, eq=False)
class Batch:
    """Records that are sent together. A batch that is rejected is split."""

    records: list[Record]
    state: State = State.READY
    data: bytes | None = None
    """Its bytes, under the epoch and sequence of its partition; None: not encoded yet."""
    suspected: int = 0
    """Ambiguous responses in a row (`Action.SUSPECT`)."""
    suspected_at: float = 0.0
    """Monotonic time of the first of them, also if that was before a split; 0.0: none."""


def take(waiting: deque[Record], max_bytes: int) -> list[Record]:
    """Remove and return the next records of a queue: about `max_bytes`, at least one record."""
    if len(waiting) == 1:  # as nearly always
        return [waiting.popleft()]
    size = 0
    records: list[Record] = []
    while waiting:
        size += len(waiting[0].value) + len(waiting[0].key) + _OVERHEAD_BYTES
        if records and size > max_bytes:
            break
        records.append(waiting.popleft())
    return records
