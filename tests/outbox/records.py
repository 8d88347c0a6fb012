"""Records of the outbox for tests, told apart by their keys."""

import time

from aurora_bridge.outbox.record import OutboxRecord
from tests.kafka import records


def make_record(
    key: str = "1", event: str = "lead_changed", *, size: int = 0, time_ms: int | None = None
) -> OutboxRecord:
    """Return a record that was received at monotonic time 0; `size` bytes of padding make it large.

    Its event's time is now unless `time_ms` says otherwise.
    """
    record = records.make_record(key, event, size=size)
    return OutboxRecord(
        record.event,
        record.key,
        record.value,
        record.headers,
        record.partition_key,
        time.time_ns() // 1_000_000 if time_ms is None else time_ms,
        f"fingerprint of {key}",
    )
