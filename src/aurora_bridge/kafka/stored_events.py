"""Decodes the events in a fetch response, and describes what is not an event.

Foreign data is skipped and never blocks reading: a record that is not an event, or a batch that aiokafka cannot decode
(a missing codec, a wrong checksum, a header name that is not UTF-8).
"""

from typing import Any, NamedTuple

import orjson
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.fetch import READ_COMMITTED, PartitionData
from aurora_bridge.webhook.event import Headers, Identity, identity_of, structured


class Stored(NamedTuple):
    """An event as stored in Kafka. Its identity does not depend on the key (`webhook.event.identity_of`)."""

    topic: str
    partition: int
    offset: int
    event: bytes
    """Its CloudEvents JSON, one line."""
    identity: Identity
    headers: Headers
    key: bytes | None
    value: bytes
    timestamp_ms: int
    """When it was submitted to the sender."""


class Decoded(NamedTuple):
    """What was decoded from one partition."""

    events: list[Stored]
    skipped: list[str]
    """Location and description of what is not an event."""
    undecodable: bool
    """Whether the last of these is a batch that cannot be decoded: it may hold events."""
    next: int
    """Offset to continue from."""


class _Batches:
    """Record batches, and the one taken last: if it cannot be decoded, reading continues after its end."""

    def __init__(self, data: bytes) -> None:
        self._batches = MemoryRecords(data)
        self.last: Any = None

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> object:
        self.last = self._batches.next_batch()
        return self.last


def decode(part: PartitionData, begin: int, end: float, since_ms: int) -> Decoded:
    """Return the events at offsets from `begin` to before `end`, with a timestamp not before `since_ms`.

    Records of aborted transactions are left out.
    """
    events: list[Stored] = []
    skipped: list[str] = []
    batches = _Batches(part.data or b"")
    records = PartitionRecords(
        tp=part.place,
        records=batches,
        aborted_transactions=part.aborted,
        fetch_offset=begin,
        key_deserializer=None,
        value_deserializer=None,
        check_crcs=True,
        isolation_level=READ_COMMITTED,
    )
    try:
        for record in records:
            if record.offset >= end or record.timestamp < since_ms:
                continue
            identity = identity_of(record.value, record.headers)
            try:
                if identity is None:
                    raise ValueError  # noqa: TRY301 - reported like what `structured` cannot read
                event = structured(record.value, record.headers)
            except ValueError:
                skipped.append(f"{at(part.place, record.offset)} {_oddity(record.value)}")
            else:
                stored = Stored(
                    *part.place,
                    record.offset,
                    event,
                    identity,
                    list(record.headers),
                    record.key,
                    record.value or b"",
                    record.timestamp,
                )
                events.append(stored)
    except Exception as error:  # noqa: BLE001 - whatever aiokafka raises
        begin = records.next_fetch_offset
        after = max(begin + 1, batches.last.next_offset if batches.last else 0)
        skipped.append(f"{at(part.place, begin, after)} cannot be decoded ({error or type(error).__name__})")
        return Decoded(events, skipped, undecodable=True, next=after)
    return Decoded(events, skipped, undecodable=False, next=records.next_fetch_offset)


def at(place: TopicPartition, begin: int, end: int = 0) -> str:
    """Return the location of a record, or of those before `end`, like `aurora.lead_created-0@17-19`."""
    return f"{place.topic}-{place.partition}@{begin}" + (f"-{end - 1}" if end > begin + 1 else "")


def _oddity(value: bytes | None) -> str:
    """Return why a record is not an event."""
    if not value:
        return "has no value"
    try:
        orjson.loads(value)
    except ValueError:
        return "is not JSON"
    return "is not an event of aurora-bridge"
