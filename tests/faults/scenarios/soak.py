"""A long time, in which nothing may grow. Spans are those at scale 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Final

from tests.faults.process_stats import bytes_of, descriptors, remembered, resident_bytes, threads
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.faults.trend import Trend, trend
from tests.support.daemon import Daemon

OUTAGES: Final = 3
DAYS: Final = 8
"""Of the index, which remembers one day."""
_SHORTEST_DAY: Final = 10.0
"""Seconds: longer than Aurora's clock needs for the retries of a webhook that was answered."""
_SHORTEST_OUTAGE: Final = 4.0
"""Seconds: longer than the publish deadline, so that the spool is used."""
_LEAK: Final = 20.0
"""Bytes for each webhook. A claim that is never let go takes 600, a fingerprint alone 80."""
_LEAKED_BLOCKS: Final = 0.25
"""Of memory, for each webhook: a claim takes five, a fingerprint alone one."""
_BLOCKS: Final = 10_000
"""What a calm moment may have more than another: idle connections, claims that are being learned."""
_DAYS_KEPT: Final = 1.5
"""The day itself, and rounds of expiry ..."""
_ROUNDS: Final = 30.0
"""... and seconds that a busy machine adds to them."""
_CACHES_SECONDS: Final = 1800.0
"""In which what only fills is full: pages of the index, shapes of queries, the allocator's own. Until then it hides any
leak of bytes, and looks like one."""
_ENOUGH: Final = {"bytes": 100_000, "blocks": 5_000}
"""Webhooks, without which a leak cannot be told from noise: of memory after the caches are full, and of its blocks."""
_DRAINERS: Final = 40
"""Tasks: one for each topic, soon after an outage."""
_MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the daemon at one moment."""

    at: float
    webhooks: float
    events: float
    """Of these, those that were no duplicates."""
    resident: int
    descriptors: int
    """Without the connections of clients, which come and go."""
    threads: int
    blocks: float
    """Of memory, that Python's objects take."""
    tasks: float
    """Without those of connections."""
    index_used: float
    remembered: int
    index_files: int
    spool_files: int


class Watch:
    """Looks at a daemon every second, in a thread of its own, until `stop`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._over = Event()
        self.looks: list[Look] = []
        self._thread = Thread(target=self._run, name="watch")
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1):
            metrics = self._daemon.metrics()
            accepted = ("published", "spooled")
            self.looks.append(
                Look(
                    monotonic(),
                    metrics.value("aurora_bridge_deliveries_total"),
                    sum(metrics.value("aurora_bridge_deliveries_total", outcome=outcome) for outcome in accepted),
                    resident_bytes(self._daemon),
                    descriptors(self._daemon),
                    threads(self._daemon),
                    metrics.value("faults_blocks"),
                    metrics.value("faults_tasks"),
                    metrics.value("aurora_bridge_index_bytes"),
                    remembered(self._daemon),
                    bytes_of(self._daemon, "index"),
                    bytes_of(self._daemon, "spool"),
                )
            )


def soak(stage: Stage) -> None:
    """An hour of load with clients that leave and outages of Kafka, in which days pass for the index."""
    day = max(stage.span(3600 / DAYS), _SHORTEST_DAY)
    stage.daemon.surroundings["FAULTS_DAY_SECONDS"] = str(day)
    with stage.load(leaving=0.02):
        began = monotonic()
        watch = Watch(stage.daemon)
        try:
            for _ in range(OUTAGES):
                stage.wait(3600 / OUTAGES - 60)
                for node in stage.cluster.nodes:
                    node.pause()
                Event().wait(max(stage.span(60), _SHORTEST_OUTAGE))
                for node in stage.cluster.nodes:
                    node.resume()
            stage.daemon.wait_until_drained()
            stage.wait(60)
        finally:
            watch.stop()
        days = (monotonic() - began) / day
    stage.measured["days of the index"] = round(days, 1)
    _judge(stage, watch.looks, days)


def leaking(looks: Sequence[Look]) -> list[str]:
    """Return how memory grows that should not, in words: by all that the process has, and by what objects have."""
    found = []
    memory = _memory(looks)
    if not too_short_for("bytes", looks) and memory.surely_above(_LEAK):
        found.append(f"memory grows by {memory.slope:.0f} bytes with each webhook")
    before, then = _calmest(looks)
    blocks, webhooks = then.blocks - before.blocks, then.webhooks - before.webhooks
    if not too_short_for("blocks", looks) and blocks > _BLOCKS + _LEAKED_BLOCKS * webhooks:
        found.append(f"{webhooks:g} webhooks leave {blocks:g} blocks of memory behind")
    return found


def too_short_for(what: str, looks: Sequence[Look]) -> bool:
    """Whether so few webhooks say nothing about the "bytes" of memory that they may leak, or about its "blocks"."""
    first, last = (_full(looks)[0], looks[-1]) if what == "bytes" else _calmest(looks)
    return last.webhooks - first.webhooks < _ENOUGH[what]


def _full(looks: Sequence[Look]) -> Sequence[Look]:
    """Return the looks at a daemon whose caches are full; the last at least."""
    return [look for look in looks if look.at - looks[0].at >= _CACHES_SECONDS] or looks[-1:]


def _calmest(looks: Sequence[Look]) -> tuple[Look, Look]:
    """Return the looks with the fewest blocks, of the second and of the last third."""
    third = len(looks) // 3
    before, then = (min(part, key=lambda look: look.blocks) for part in (looks[third:-third], looks[-third:]))
    return before, then


def _memory(looks: Sequence[Look]) -> Trend:
    return trend([(look.webhooks, look.resident) for look in _full(looks)])


def _judge(stage: Stage, looks: list[Look], days: float) -> None:
    third = len(looks) // 3
    first, middle, last = looks[:third], looks[third:-third], looks[-third:]
    memory = _memory(looks)
    stage.measured["memory, bytes a webhook"] = round(memory.slope, 1)
    stage.measured["give or take, bytes a webhook"] = round(memory.error, 1)
    stage.complaints += leaking(looks)
    for what in _ENOUGH:
        stage.wish(not too_short_for(what, looks), f"the soak is too short to tell whether {what} of memory leak")
    for when, part in (("half-way", middle), ("at the end", last)):
        stage.measured[f"blocks of memory {when}"] = min(look.blocks for look in part)
    stage.measured["memory at the end, MiB"] = round(looks[-1].resident / _MEBIBYTE, 1)
    for what, spare in {"descriptors": 5, "threads": 2, "tasks": _DRAINERS}.items():
        least, then = (min(getattr(look, what) for look in part) for part in (first, last))
        stage.measured[f"{what} at first"], stage.measured[f"{what} at last"] = least, then
        stage.expect(then <= least + spare, f"{what} grow from {least:g} to {then:g}")
    remembered = looks[-1].remembered / looks[-1].events * days
    stage.measured["days of events remembered at the end"] = round(remembered, 2)
    kept = _DAYS_KEPT + _ROUNDS * days / (looks[-1].at - looks[0].at)
    stage.expect(remembered < kept, f"the index is to remember one day, and remembers {remembered:.1f}")
    for what, spare in (("index_used", 1), ("index_files", 33), ("spool_files", 5)):
        before, then = (max(getattr(look, what) for look in part) for part in (middle, last))
        stage.measured[f"{what}, MiB at most"] = round(then / _MEBIBYTE, 1)
        stage.expect(then <= 1.5 * before + spare * _MEBIBYTE, f"{what} grows from {before:g} to {then:g} bytes")


SCENARIOS = [Scenario("18-soak", soak, nodes=1, settings={"index__window_days": 1})]
