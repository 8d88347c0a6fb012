"""Polls Aurora's subscriptions, since Aurora switches them off without notice.

Every replica polls, with jitter, and changes nothing: switching on takes an operator, `aurora-bridge subscriptions
reenable`. Problems (`inspection`) become metrics, lines on the status page, and a log line when they appear and when
they are solved. While Aurora does not answer, the last good result remains.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import random
from time import monotonic, time
from typing import Final, NamedTuple

from aurora_bridge.aurora.checks import Finding
from aurora_bridge.aurora.client import connected
from aurora_bridge.aurora.errors import AuroraError
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES, Inspection, inspect
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import Settings
from aurora_bridge.tasks import helper
from aurora_bridge.webhook.routes import Routes

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS: Final = 30.0
"""After a failure; doubled after each further one, up to the usual interval."""
_JITTER: Final = 0.25
"""Share of the interval that is added or subtracted at random, so that replicas do not poll together."""
_LINES_A_MINUTE: Final = 20


class Seen(NamedTuple):
    """Aurora's subscriptions as the status page shows them."""

    time: float = 0.0
    """When they were last listed, in seconds since the epoch; 0: not since start."""
    inspection: Inspection = Inspection({}, ())
    """The result at that time."""
    error: AuroraError | None = None
    """Why they cannot be listed now."""


class SubscriptionWatch:
    """Polls the subscriptions. All methods belong to the event loop."""

    def __init__(  # noqa: PLR0913 - time and chance are parameters
        self,
        fetch: Callable[[], Awaitable[Sequence[Subscription]]],
        inspect: Callable[[Sequence[Subscription]], Inspection],
        metrics: Metrics,
        poll_seconds: float,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random,
    ) -> None:
        """About every `poll_seconds`, pass what `fetch` returns to `inspect`, on another thread."""
        self._fetch = fetch
        self._inspect = inspect
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._sleep = sleep
        self._clock = clock
        self._chance = chance
        self._quota = Quota(_LINES_A_MINUTE, clock)
        self._due = clock()
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self.seen = Seen()
        """The result of the last poll."""

    async def run(self) -> None:
        """Poll until cancelled: at once, then every `poll_seconds` or so, sooner after a failure."""
        while True:
            await self._sleep(max(0.0, self._due - self._clock()))
            self._due = self._clock() + self._jittered(self._poll_seconds)  # even if `poll` raises
            await self.poll()

    async def poll(self) -> None:
        """List and check the subscriptions once."""
        try:
            subscriptions = await self._fetch()
        except AuroraError as error:
            self._failed(error)
            return
        inspection = await asyncio.to_thread(self._inspect, subscriptions)  # it reads secret files
        if self.seen.error is not None:
            log.info("Aurora's subscriptions can be listed again")
        self._retry_seconds = _FIRST_RETRY_SECONDS
        before, self.seen = self.seen, Seen(time(), inspection)
        self._measure(inspection)
        self._log_changes(before.inspection.findings, inspection.findings)

    def _failed(self, error: AuroraError) -> None:
        self._metrics.api_errors[error.reason] += 1
        retry = min(self._poll_seconds, self._retry_seconds)
        self._due = self._clock() + self._jittered(retry)
        self._retry_seconds = 2 * retry
        if self.seen.error is None or self.seen.error.reason != error.reason:
            more = fields(reason=error.reason.value, error=str(error), remedy=error.remedy)
            log.warning("Aurora's subscriptions cannot be listed", extra=more)
        self.seen = self.seen._replace(error=error)

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - _JITTER + 2 * _JITTER * self._chance())

    def _measure(self, inspection: Inspection) -> None:
        metrics = self._metrics
        for gauge, found in (
            (metrics.subscriptions, inspection.counts),
            (metrics.subscription_problems, inspection.problems),
        ):
            gauge.update(dict.fromkeys(gauge, 0.0))
            for key, count in found.items():
                gauge[key] = count
        metrics.api_last_success[()] = self.seen.time

    def _log_changes(self, before: Sequence[Finding], now: Sequence[Finding]) -> None:
        known, found = ({(one.check, one.where, one.what): one for one in findings} for findings in (before, now))
        for key, one in found.items():
            if key not in known:
                remedy = SUBSCRIPTION_REMEDIES[one.check]
                self._log(logging.WARNING, "problem with Aurora's subscriptions", one, remedy=remedy)
        for key, one in known.items():
            if key not in found:
                self._log(logging.INFO, "solved: problem with Aurora's subscriptions", one)

    def _log(self, level: int, message: str, finding: Finding, **more: str) -> None:
        if (left_out := self._quota.take()) is not None:
            about = {"problem": finding.check.value, "subscription": finding.where, "what": finding.what, **more}
            log.log(level, message, extra=fields(**about, **({"left_out": left_out} if left_out else {})))


@asynccontextmanager
async def watching(settings: Settings, routes: Routes, metrics: Metrics) -> AsyncIterator[SubscriptionWatch | None]:
    """Watch the subscriptions, and try them on `routes`; yield None if the settings have no key for Aurora's API."""
    if not settings.aurora.polled:
        yield None
        return
    check = partial(inspect, tables=settings.subscriptions, receiver=Receiver(settings, routes))
    async with connected(settings) as client:
        watch = SubscriptionWatch(client.list, check, metrics, settings.aurora.poll_seconds)
        async with helper("polling Aurora's subscriptions", watch.run):
            yield watch
