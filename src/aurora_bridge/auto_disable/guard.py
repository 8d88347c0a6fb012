"""Keeps `attempts` across restarts, exports them as metrics, and warns when a subscription comes to be at risk.

They also tell, after a restart, when each event last came: a silent event must not disappear from sight at a rollout.

The file is written every few seconds, and a crash loses what came since. The daemon works without it, so a file that
cannot be read or written does not stop anything.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import isfinite
from pathlib import Path
from time import time_ns

from aurora_bridge.auto_disable.attempts import NO_ROUTE, Attempts, Subscription
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.os_errors import reason
from aurora_bridge.remedies import AUTO_DISABLE
from aurora_bridge.state.directory import write_durably
from aurora_bridge.state.thread import on_thread
from aurora_bridge.tasks import helper

log = logging.getLogger(__name__)

FILE = "attempts"
_SECONDS = 5.0
_LAST_WRITE_SECONDS = 2.0


class AutoDisableGuard:
    """Checks the attempts, and saves them in a state directory. Not thread-safe: call it from the event loop only."""

    def __init__(self, directory: Path, metrics: Metrics, tenants: Mapping[str, str]) -> None:
        """Continue with the attempts in a directory that the caller has locked. `tenants`: by the names of routes."""
        self.path = directory / FILE
        """The file they are saved in."""
        self._metrics = metrics
        self._tenants = tenants
        self._at_risk: set[tuple[str, str]] = set()
        self._unwritable = False
        self._lock = threading.Lock()
        self.attempts = Attempts()
        """Enter attempts here."""
        try:
            self.attempts.load(self.path.read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else "damaged content"
            log.warning("%s cannot be read (%s); counting Aurora's attempts from now on", self.path, why)
        self._written = self.attempts.dump()
        for event, time_us in self.attempts.last_accepted().items():
            if event in metrics.event_last_received:  # another version may know other events
                metrics.event_last_received[event] = time_us / 1e6

    def update(self, now_us: int) -> None:
        """Update the metrics, and log each subscription that came to be at risk."""
        metrics, found = self._metrics, self.attempts.evaluate(now_us)
        for subscription in found:
            key = self._tenants.get(subscription.route, NO_ROUTE), subscription.route, subscription.event
            metrics.attempts[key] = subscription.attempts
            metrics.failed_attempts[key] = subscription.failures
            metrics.failed_in_a_row[key] = subscription.in_a_row
            metrics.auto_disable_risk[key] = subscription.at_risk
            if subscription.at_risk and key[1:] not in self._at_risk:
                _warn(subscription)
        self._at_risk = {(one.route, one.event) for one in found if one.at_risk}

    async def run(self, now_us: Callable[[], int] = lambda: time_ns() // 1000) -> None:
        """Check every few seconds, until cancelled."""
        while True:
            self.update(now_us())
            await asyncio.sleep(_SECONDS)

    async def keep(self) -> None:
        """Save every few seconds, until cancelled. Apart from `run`, because the disk may hang."""
        while True:
            await self.write()
            await asyncio.sleep(_SECONDS)

    async def write(self) -> None:
        """Save the attempts if they changed."""
        line = self.attempts.dump()
        if line == self._written:
            return

        def write() -> None:
            with self._lock:  # the last write may start while another one hangs
                write_durably(self.path, line)

        try:
            await on_thread("attempts", write)
        except OSError as error:
            if not self._unwritable:
                log.warning("%s cannot be written (%s); a restart loses Aurora's attempts", self.path, reason(error))
            self._unwritable = True
        else:
            self._written, self._unwritable = line, False


@asynccontextmanager
async def guarding(directory: Path, metrics: Metrics, tenants: Mapping[str, str]) -> AsyncIterator[Attempts]:
    """Guard the attempts that are entered in this context, and save them once more at its end."""
    guard = AutoDisableGuard(directory, metrics, tenants)
    try:
        async with (
            helper("evaluating Aurora's attempts", guard.run),
            helper("saving Aurora's attempts", guard.keep),
        ):
            yield guard.attempts
    finally:
        try:
            await asyncio.wait_for(guard.write(), _LAST_WRITE_SECONDS)
        except TimeoutError:
            log.warning("%s cannot be written in time; the last of Aurora's attempts are lost", guard.path)


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
