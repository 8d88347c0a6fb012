"""The commands that a running daemon accepts."""

import logging
from time import time

from aurora_bridge.control.address import MAX_ROWS
from aurora_bridge.control.server import Command, Request
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.kafka.cluster_guard import ClusterGuard
from aurora_bridge.logs import fields, origin
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Reason, Refusal
from aurora_bridge.replay import Replay, Result
from aurora_bridge.webhook.dead_letter import read_dead_letter

log = logging.getLogger(__name__)

RETRY = "quarantine.retry"
DISCARD = "quarantine.discard"
ACCEPT_CLUSTER = "cluster.accept"
REPLAY = "dead_letters.replay"
RESEND_BEGIN, RESEND_END, RESEND_STATUS = "resend.begin", "resend.end", "resend.status"


def commands(
    spool: Spool | None, publisher: Publisher, guard: ClusterGuard, dedup: Deduplicator, replay: Replay
) -> dict[str, Command]:
    """Return the commands by name.

    Quarantine commands, if there is a spool: `seq` lists rows, in the response those that were found. Cluster: the
    response is an `Accepted`. Dead letters: `event` is the CloudEvent of one, the response a `Result`. Re-sends: the
    response is a `Declaration`, with `others`, the number of other replicas that published within 24 h.
    """

    async def accept(_request: Request) -> dict[str, object]:
        return (await guard.accept(dedup.recreate))._asdict()

    async def replay_one(request: Request) -> dict[str, object]:
        letter = read_dead_letter(request.get("event") or {})
        if letter is None:
            msg = "event must be the CloudEvent of a dead letter"
            raise ValueError(msg)
        try:
            result = await replay(letter, dry_run=request.get("dry_run") is not False)
        except Refusal as refusal:
            result = Result(Outcome.REFUSED, refusal.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is; its text could quote the delivery
            found = {"type": type(error).__name__, "at": origin(error)}
            log.error("a dead letter cannot be replayed", extra=fields(dead_letter=letter.id, **found))  # noqa: TRY400
            result = Result(Outcome.REFUSED, Reason.INTERNAL_ERROR)
        return result._asdict()

    always: dict[str, Command] = {ACCEPT_CLUSTER: accept, REPLAY: replay_one}
    return always | _about_resend(dedup) | ({} if spool is None else _about_quarantine(spool, publisher))


def _about_resend(dedup: Deduplicator) -> dict[str, Command]:
    def declared() -> dict[str, object]:
        return {**dedup.resend.declared._asdict(), "others": len(dedup.log.recent_others())}

    async def begin(_request: Request) -> dict[str, object]:
        await dedup.resend.begin(_now_ms())
        return declared()

    async def end(_request: Request) -> dict[str, object]:
        await dedup.resend.end(_now_ms())
        return declared()

    async def status(_request: Request) -> dict[str, object]:
        return declared()

    return {RESEND_BEGIN: begin, RESEND_END: end, RESEND_STATUS: status}


def _about_quarantine(spool: Spool, publisher: Publisher) -> dict[str, Command]:
    async def retry(request: Request) -> dict[str, object]:
        return {"seq": await publisher.restore(_rows(request))}

    async def discard(request: Request) -> dict[str, object]:
        return {"seq": [seq for seq, _ in await spool.discard(_rows(request))]}

    return {RETRY: retry, DISCARD: discard}


def _now_ms() -> int:
    return int(time() * 1000)


def _rows(request: Request) -> list[int]:
    rows = request.get("seq")
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(type(row) is int for row in rows):
        msg = f"seq must be a list of at most {MAX_ROWS} numbers"
        raise ValueError(msg)
    return rows
