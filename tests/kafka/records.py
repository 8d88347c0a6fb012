"""Records for tests, told apart by their keys."""

import time
from collections.abc import Iterable

from aurora_bridge.kafka.record import Record


def make_record(  # noqa: PLR0913 - whoever wants a record says what matters about it
    key: str = "1",
    event: str = "lead_changed",
    *,
    subject: str = "lead/1",
    size: int = 0,
    received: float = 0.0,
    timestamp_ms: int | None = None,
) -> Record:
    """Return a record; `size` bytes of padding make it large, one `subject` keeps records in one partition.

    It is of now unless `timestamp_ms` says otherwise: a broker deletes records, and forgets their producer, by the
    time that they carry.
    """
    return Record(
        event,
        key.encode(),
        f'{{"id":"{key}","padding":"{"x" * size}"}}'.encode(),
        [("content-type", b"application/cloudevents+json; charset=UTF-8"), ("aurora-bridge-event", event.encode())],
        subject.encode(),
        time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms,
        f"fingerprint of {key}",
        received,
    )


def keys(records: Iterable[Record]) -> list[str]:
    """Return the records' keys."""
    return [record.key.decode() for record in records]
