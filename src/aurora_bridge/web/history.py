"""The daemon's last 15 minutes: rates and answer times, how fast the spool grows, since when Kafka is away.

A sample is taken every 5 s: at most 181 samples, 100 kB.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import inf
from operator import sub
from time import monotonic, time
from typing import NamedTuple

from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome

SAMPLE_SECONDS = 5.0
WINDOWS_SECONDS = (60, 300, 900)
_SAMPLES = int(WINDOWS_SECONDS[-1] / SAMPLE_SECONDS) + 1
_TAKEN = tuple(outcome for outcome in Outcome if outcome is not Outcome.REFUSED)


class _Sample(NamedTuple):
    time: float
    """Monotonic, in seconds."""
    taken: tuple[int, ...]
    """Deliveries accepted since the start, by bucket of the response-time histogram."""
    refused: int
    spool_bytes: int


class Window(NamedTuple):
    """The deliveries of the last `seconds`."""

    seconds: float
    taken: int
    refused: int
    half: float
    """Median answer time of those accepted, in seconds: its bucket's bound, infinity above the last or without any."""
    most: float
    """The 99th percentile, likewise."""


class History:
    """Samples of the last 15 minutes."""

    def __init__(
        self,
        metrics: Metrics,
        sender: Sender | None,
        spool: Spool | None,
        *,
        monotonic: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        """Take the first sample."""
        self._metrics = metrics
        self._sender = sender
        self._spool = spool
        self._monotonic = monotonic
        self._wall = wall
        self._samples = deque([self._snapshot()], maxlen=_SAMPLES)
        self._away_since = 0.0

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Take a sample."""
        self._samples.append(self._snapshot())
        self.away_since()

    def away_since(self) -> float:
        """Return since when any topic cannot be written, in seconds since the epoch; 0 if all can, or without Kafka."""
        if self._sender is None or not self._sender.missing():
            self._away_since = 0.0
        elif not self._away_since:
            self._away_since = self._wall()
        return self._away_since

    def windows(self) -> Iterator[Window]:
        """Yield the last 1, 5 and 15 minutes. The first that exceeds the uptime is cut to it, and ends the series."""
        now, told = self._snapshot(), None
        bounds = self._metrics.response_seconds[Outcome.PUBLISHED].bounds
        for seconds in WINDOWS_SECONDS:
            then = self._before(now.time - seconds)
            if then is not told and then.time < now.time:
                told = then
                running = list(accumulate(map(sub, now.taken, then.taken)))
                half, most = (kept_bound(bounds, running, share) for share in (0.5, 0.99))
                yield Window(now.time - then.time, running[-1], now.refused - then.refused, half, most)

    def spool_growth(self) -> float:
        """Return the growth of the spool over the last 5 minutes in bytes per second, negative if it shrank."""
        now = self._snapshot()
        then = self._before(now.time - WINDOWS_SECONDS[1])
        seconds = now.time - then.time
        return (now.spool_bytes - then.spool_bytes) / seconds if seconds else 0.0

    def _before(self, moment: float) -> _Sample:
        """Return the last sample not later than `moment`, or the oldest there is."""
        return self._samples[max(0, bisect_right(self._samples, moment, key=lambda sample: sample.time) - 1)]

    def _snapshot(self) -> _Sample:
        series = self._metrics.response_seconds
        taken = tuple(map(sum, zip(*(series[outcome].counts for outcome in _TAKEN), strict=True)))
        spool_bytes = self._spool.stats.bytes if self._spool else 0
        return _Sample(self._monotonic(), taken, sum(series[Outcome.REFUSED].counts), spool_bytes)


def kept_bound(bounds: Sequence[float], running: Sequence[int], share: float) -> float:
    """Return the lowest bound that holds this share of the observations; infinity above the last, or without any.

    `running` has the cumulative counts of `bounds`.
    """
    if not running[-1]:
        return inf
    return next((bound for bound, kept in zip(bounds, running, strict=False) if kept >= share * running[-1]), inf)
