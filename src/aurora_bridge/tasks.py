"""Background tasks that only help: what they raise is logged, and never ends the daemon."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import monotonic

from aurora_bridge.logs import Quota, fields

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
LINES_A_MINUTE = 5


async def keep_running(name: str, work: Callable[[], Coroutine[None, None, object]]) -> None:
    """Run `work` until it returns, and again each time it raises; `name` says in the log what failed."""
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
