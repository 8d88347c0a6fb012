"""What a living daemon can be asked to do."""

from aurora_bridge.control.address import MAX_ROWS
from aurora_bridge.control.server import Command, Request
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool

RETRY = "set_aside.retry"
DISCARD = "set_aside.discard"


def commands(spool: Spool, publisher: Publisher) -> dict[str, Command]:
    """Return what can be asked of a daemon with a spool, by name: `seq` are rows, and in the answer those found."""

    async def retry(request: Request) -> dict[str, object]:
        return {"seq": await publisher.restore(_rows(request))}

    async def discard(request: Request) -> dict[str, object]:
        return {"seq": [seq for seq, _ in await spool.discard(_rows(request))]}

    return {RETRY: retry, DISCARD: discard}


def _rows(request: Request) -> list[int]:
    rows = request.get("seq")
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(type(row) is int for row in rows):
        msg = f"seq must be a list of at most {MAX_ROWS} numbers"
        raise ValueError(msg)
    return rows
