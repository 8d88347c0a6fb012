"""Spools as a daemon leaves them behind."""

import asyncio
from pathlib import Path

from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool


def fill(state: Path, *records: OutboxRecord, set_aside: str | None = None) -> None:
    """Append records to the spool of a state directory; with a reason, as what Kafka refused."""

    async def append() -> None:
        spool = Spool(state, 2**26)
        spool.start()
        committed = asyncio.Event()
        spool.append(records, lambda *_: committed.set(), quarantined=set_aside)
        await committed.wait()
        assert await spool.stop(10)

    state.mkdir(exist_ok=True)
    asyncio.run(append())
