"""A batch of records on its way to one partition, and where it stands: one of four named states."""

from dataclasses import dataclass
from enum import Enum, auto

from aurora_bridge.kafka.record import Record


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
