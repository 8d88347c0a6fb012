"""What a living daemon can be asked to do."""

from collections.abc import Awaitable, Callable

from aurora_bridge.control.address import MAX_ROWS
from aurora_bridge.control.server import Command, Request
from aurora_bridge.kafka.cluster_guard import ClusterGuard
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.replay import Replay
from aurora_bridge.webhook.dead_letter import read_dead_letter

RETRY = "set_aside.retry"
DISCARD = "set_aside.discard"
ACCEPT_CLUSTER = "cluster.accept"
REPLAY = "dead_letters.replay"


def commands(
    spool: Spool | None,
    publisher: Publisher,
    guard: ClusterGuard,
    recreate_index: Callable[[], Awaitable[None]],
    replay: Replay,
) -> dict[str, Command]:
    """Return what can be asked of a daemon, by name.

    About the spool, if there is one: `seq` are rows, and in the answer those found. About the cluster: the answer is
    an `Accepted`. About a dead letter: `event` is its CloudEvent, and the answer a `Result`.
    """

    async def accept(_request: Request) -> dict[str, object]:
        return (await guard.accept(recreate_index))._asdict()

    async def replay_one(request: Request) -> dict[str, object]:
        letter = read_dead_letter(request.get("event") or {})
        if letter is None:
            msg = "event must be the CloudEvent of a dead letter"
            raise ValueError(msg)
        return (await replay(letter, dry_run=request.get("dry_run") is not False))._asdict()

    found: dict[str, Command] = {ACCEPT_CLUSTER: accept, REPLAY: replay_one}
    if spool is None:
        return found

    async def retry(request: Request) -> dict[str, object]:
        return {"seq": await publisher.restore(_rows(request))}

    async def discard(request: Request) -> dict[str, object]:
        return {"seq": [seq for seq, _ in await spool.discard(_rows(request))]}

    return found | {RETRY: retry, DISCARD: discard}


def _rows(request: Request) -> list[int]:
    rows = request.get("seq")
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(type(row) is int for row in rows):
        msg = f"seq must be a list of at most {MAX_ROWS} numbers"
        raise ValueError(msg)
    return rows
