"""Keeps `attempts` across restarts, shows them as metrics, and warns when a risk begins.

A start knows from them when each event last came: an event that is silent must not vanish from sight at a rollout.

The file is written behind, every few seconds: a crash forgets the attempts of the last ones. It is a help and no
journal, so a file that cannot be read or written holds nothing up.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import isfinite
from pathlib import Path
from time import time_ns

from aurora_bridge.attempts import Attempts, Subscription
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.os_errors import reason
from aurora_bridge.remedies import AUTO_DISABLE
from aurora_bridge.state.directory import write_durably
from aurora_bridge.state.thread import on_thread
from aurora_bridge.tasks import keep_running

log = logging.getLogger(__name__)

FILE = "attempts"
_SECONDS = 5.0
_LAST_WRITE_SECONDS = 2.0


class AutoDisableGuard:
    """Looks at the attempts, and keeps them in a state directory. All methods belong to the event loop."""

    def __init__(self, directory: Path, metrics: Metrics) -> None:
        """Go on with what the directory has, which the caller has locked."""
        self.path = directory / FILE
        """Where they are kept."""
        self._metrics = metrics
        self._at_risk: set[tuple[str, str]] = set()
        self._unwritable = False
        self._lock = threading.Lock()
        self.attempts = Attempts()
        """Where the attempts are entered."""
        try:
            self.attempts.load(self.path.read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else "not what was written"
            log.warning("%s cannot be read (%s): Aurora's attempts are counted from now on", self.path, why)
        self._written = self.attempts.dump()
        for event, time_us in self.attempts.last_accepted().items():
            if event in metrics.event_last_received:  # another version may have known others
                metrics.event_last_received[event] = time_us / 1e6

    def look(self, now_us: int) -> None:
        """Bring the metrics up to date, and log each subscription that came to be at risk."""
        metrics, found = self._metrics, self.attempts.look(now_us)
        for subscription in found:
            key = subscription.route, subscription.event
            metrics.attempts[key] = subscription.attempts
            metrics.failed_attempts[key] = subscription.failures
            metrics.failed_in_a_row[key] = subscription.in_a_row
            metrics.auto_disable_risk[key] = subscription.at_risk
            if subscription.at_risk and key not in self._at_risk:
                _warn(subscription)
        self._at_risk = {(one.route, one.event) for one in found if one.at_risk}

    async def run(self, now_us: Callable[[], int] = lambda: time_ns() // 1000) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            self.look(now_us())
            await asyncio.sleep(_SECONDS)

    async def keep(self) -> None:
        """Write every few seconds, until cancelled. The disk may hang."""
        while True:
            await self.write()
            await asyncio.sleep(_SECONDS)

    async def write(self) -> None:
        """Write what changed."""
        line = self.attempts.dump()
        if line == self._written:
            return

        def write() -> None:
            with self._lock:  # the last one may come while another hangs
                write_durably(self.path, line)

        try:
            await on_thread("attempts", write)
        except OSError as error:
            if not self._unwritable:
                log.warning("%s cannot be written (%s): a restart forgets Aurora's attempts", self.path, reason(error))
            self._unwritable = True
        else:
            self._written, self._unwritable = line, False


@asynccontextmanager
async def guarding(directory: Path, metrics: Metrics) -> AsyncIterator[Attempts]:
    """Guard the attempts that are entered meanwhile, and write the last of them at the end."""
    guard = AutoDisableGuard(directory, metrics)
    tasks = [
        asyncio.create_task(keep_running("looking at Aurora's attempts", guard.run)),
        asyncio.create_task(keep_running("keeping Aurora's attempts", guard.keep)),
    ]
    try:
        yield guard.attempts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(guard.write(), _LAST_WRITE_SECONDS)
        except TimeoutError:
            log.warning("%s cannot be written in time: the last of Aurora's attempts are forgotten", guard.path)


def _warn(subscription: Subscription) -> None:
    left = {"seconds_left": round(subscription.seconds_left)} if isfinite(subscription.seconds_left) else {}
    log.warning(
        "Aurora may switch a subscription off",
        extra=fields(
            route=subscription.route,
            event=subscription.event,
            attempts=subscription.attempts,
            failures=subscription.failures,
            in_a_row=subscription.in_a_row,
            **left,
            remedy=AUTO_DISABLE,
        ),
    )
