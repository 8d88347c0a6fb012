"""Background tasks: if an essential one fails, the daemon stops; a helper that fails is logged and restarted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic

from aurora_bridge.logs import Quota, fields

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
LINES_A_MINUTE = 5


class Failure(Exception):  # noqa: N818 - what ended the daemon
    """The daemon cannot go on and has to be restarted. What was acknowledged is safe."""


@asynccontextmanager
async def essential(work: Coroutine[None, None, object], stop: Callable[[str], None]) -> AsyncIterator[None]:
    """Run `work`, without which no event gets on its way: if it fails, the daemon stops, to be restarted.

    These are the sender, the drainer, the index, and those that watch the deadlines. All else is a `helper`.
    """
    task = asyncio.create_task(work)

    def ended(task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("a part of the daemon failed; stopping", exc_info=task.exception())
            stop("a part of the daemon failed")

    task.add_done_callback(ended)
    try:
        yield
    finally:
        failed = task.done() and not task.cancelled() and task.exception() is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if failed:
        msg = "a part of the daemon failed; the log has the cause"
        raise Failure(msg)


@asynccontextmanager
async def helper(name: str, work: Callable[[], Coroutine[None, None, object]]) -> AsyncIterator[None]:
    """Run `work`, which only helps: what it raises is logged, and it is started again."""
    task = asyncio.create_task(keep_running(name, work))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def keep_running(name: str, work: Callable[[], Coroutine[None, None, object]]) -> None:
    """Run `work` until it returns, restarting it each time it raises. `name` says in the log what failed."""
    quota = Quota(LINES_A_MINUTE, monotonic)
    while True:
        try:
            await work()
        except Exception:
            if (left_out := quota.take()) is not None:
                more = {"left_out": left_out} if left_out else {}
                log.exception("%s failed; trying again", name, extra=fields(**more))
        else:
            return
        await asyncio.sleep(AGAIN_SECONDS)
