"""What a living daemon can be asked to do."""

from collections.abc import Awaitable, Callable

from aurora_bridge.control.address import MAX_ROWS
from aurora_bridge.control.server import Command, Request
from aurora_bridge.kafka.cluster_guard import ClusterGuard
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool

RETRY = "set_aside.retry"
DISCARD = "set_aside.discard"
ACCEPT_CLUSTER = "cluster.accept"


def commands(
    spool: Spool | None, publisher: Publisher, guard: ClusterGuard, recreate_index: Callable[[], Awaitable[None]]
) -> dict[str, Command]:
    """Return what can be asked of a daemon, by name.

    About the spool, if there is one: `seq` are rows, and in the answer those found. About the cluster: the answer is
    an `Accepted`.
    """

    async def accept(_request: Request) -> dict[str, object]:
        return (await guard.accept(recreate_index))._asdict()

    if spool is None:
        return {ACCEPT_CLUSTER: accept}

    async def retry(request: Request) -> dict[str, object]:
        return {"seq": await publisher.restore(_rows(request))}

    async def discard(request: Request) -> dict[str, object]:
        return {"seq": [seq for seq, _ in await spool.discard(_rows(request))]}

    return {ACCEPT_CLUSTER: accept, RETRY: retry, DISCARD: discard}


def _rows(request: Request) -> list[int]:
    rows = request.get("seq")
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(type(row) is int for row in rows):
        msg = f"seq must be a list of at most {MAX_ROWS} numbers"
        raise ValueError(msg)
    return rows
