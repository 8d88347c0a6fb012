"""Records for tests, told apart by their keys."""

from collections.abc import Iterable

from aurora_bridge.kafka.record import Record


def make_record(key: str = "1", event: str = "lead_changed", *, subject: str = "lead/1", size: int = 0) -> Record:
    """Return a record; `size` bytes of padding make it large, one `subject` keeps records in one partition."""
    return Record(
        event,
        key.encode(),
        f'{{"id":"{key}","padding":"{"x" * size}"}}'.encode(),
        [("content-type", b"application/cloudevents+json; charset=UTF-8"), ("aurora-bridge-event", event.encode())],
        subject.encode(),
    )


def keys(records: Iterable[Record]) -> list[str]:
    """Return the records' keys."""
    return [record.key.decode() for record in records]
