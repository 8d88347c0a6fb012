"""Spools as a daemon leaves them behind, and the values of records."""

import asyncio
import json
from pathlib import Path

from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.webhook.event import rfc3339

RECEIVED = 1_795_489_511_454
"""2026-11-24T03:05:11.454Z in milliseconds."""


def value_of(id_: str, time_ms: int = RECEIVED) -> bytes:
    """Return the value of the record of an event with this id, as far as it identifies it."""
    event = {"id": id_, "fingerprint": id_.partition(".")[0], "time": rfc3339(time_ms * 1000)}
    return json.dumps(event).encode()


def fill(state: Path, *records: OutboxRecord, quarantined: str | None = None) -> None:
    """Append records to the spool of a state directory; with a reason, as what Kafka refused."""

    async def append() -> None:
        spool = Spool(state, 2**26)
        spool.start()
        committed = asyncio.Event()
        spool.append(records, lambda *_: committed.set(), quarantined=quarantined)
        await committed.wait()
        assert await spool.stop(10)

    state.mkdir(exist_ok=True)
    asyncio.run(append())
