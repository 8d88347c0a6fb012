"""A spool on a directory, and what its appends are told."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Reason
from tests.outbox.records import make_record

PATIENCE = 30.0
ROOM = 2**20


class Commit:
    """What an append was told, to be awaited."""

    def __init__(self) -> None:
        self._told: asyncio.Future[Reason | None] = asyncio.get_running_loop().create_future()
        self.records: Sequence[OutboxRecord] = ()

    def __call__(self, records: Sequence[OutboxRecord], failure: Reason | None, quarantined: str | None) -> None:
        del quarantined
        self.records = records
        self._told.set_result(failure)

    @property
    def ended(self) -> bool:
        return self._told.done()

    async def failure(self) -> Reason | None:
        async with asyncio.timeout(PATIENCE):
            return await self._told


class Running:
    """A spool on a directory, started and stopped; `begin` is false for one whose thread is to start later."""

    def __init__(self, directory: Path, max_bytes: int = ROOM, *, begin: bool = True) -> None:
        self._directory, self._max_bytes, self._begin = directory, max_bytes, begin

    async def __aenter__(self) -> Spool:
        self.spool = Spool(self._directory, self._max_bytes)
        if self._begin:
            self.spool.start()
        return self.spool

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert await self.spool.stop(PATIENCE)


async def append(spool: Spool, *records: OutboxRecord, quarantined: str | None = None) -> Reason | None:
    commit = Commit()
    spool.append(records, commit, quarantined=quarantined)
    return await commit.failure()


async def store(spool: Spool, names: Iterable[str], event: str = "lead_changed") -> None:
    assert await append(spool, *(make_record(name, event) for name in names)) is None


async def fill(spool: Spool) -> list[str]:
    """Append until the spool is full; return the keys that were taken."""
    taken: list[str] = []
    while True:
        record = make_record(f"fill-{len(taken)}", size=3000)
        failure = await append(spool, record)
        if failure is not None:
            assert failure is Reason.SPOOL_FULL
            return taken
        taken.append(record.key.decode())
