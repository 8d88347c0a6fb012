"""A record in the outbox: what goes to Kafka, and its state until it is there."""

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from aurora_bridge.kafka.delivery_report import DeliveryStatus
from aurora_bridge.kafka.record import Record
from aurora_bridge.outcomes import Outcome, Refusal
from aurora_bridge.webhook.event import structured


@dataclass(eq=False)
class OutboxRecord(Record):
    """One record of the outbox. Fields that few records need have a default on the class, which costs nothing."""

    time_ms: int
    """The event's time: the receipt of its first attempt."""
    fingerprint: str = ""
    received: float = 0.0
    """Monotonic time of the delivery's receipt. Deadlines count from it."""
    late: Callable[[], None] | None = field(default=None, repr=False)
    """Called when the record becomes durable after its delivery was refused."""

    # Its row in the spool, once committed.

    seq: int | None = field(default=None, init=False)
    stored_us: int = field(default=0, init=False)
    """Wall-clock time at which it was stored; set on records read from the spool."""
    quarantined: str | None = field(default=None, init=False)
    """Kafka's error if it is in quarantine; set on records read from the spool."""

    # Its state while it is being published.

    in_sender: bool = field(default=False, init=False)
    in_doubt: bool = field(default=False, init=False)
    """Whether a send of it was not answered: it may be in the log, whatever later reports say."""
    submitted: float = field(default=0.0, init=False)
    """Monotonic time at which it was submitted to the sender."""
    acknowledged: bool = field(default=False, init=False)
    answer: "Future[Outcome] | None" = field(default=None, init=False, repr=False)
    """Resolved when the delivery can be answered."""
    drained: "Future[DeliveryStatus] | None" = field(default=None, init=False, repr=False)
    """Resolved when the drainer's send of it has ended."""

    @property
    def id(self) -> str:
        """The event's id. The record's key may be something else (`KAFKA__KEY`)."""
        event_id: str = orjson.loads(structured(self.value, self.headers))["id"]
        return event_id

    def end_delivery(self, answer: Outcome | Refusal) -> bool:
        """Resolve the delivery's result. Returns False if that was done before, or nobody waits for it."""
        future = self.answer
        if future is None or future.done():
            return False
        if isinstance(answer, Refusal):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return True

    def end_drain(self, status: DeliveryStatus) -> None:
        """Tell the drainer, if it waits, how its send of the record ended."""
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(status)
