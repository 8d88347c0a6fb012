"""What the figures are held against, as rows of the table in docs/performance.md.

`python -m bench.targets FILE...` makes them of what `--json` wrote; what several files have, the last one says.
"""

from __future__ import annotations

import json
import operator
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.peers.catalogue import PEERS
from bench.runs import Record
from bench.servers import COMPILED, DAEMON_NAME, HELLO, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GO = PEERS["go"].title
BUILDS = {"compiled": COMPILED, "interpreted": DAEMON_NAME}
AIMS = {"at most": operator.le, "below": operator.lt, "at least": operator.ge}
DIGITS = 100
"""From here on a figure is written without decimals."""
TIMES_HELLO = "times the hello-world"

Figures = list[dict[str, Any]]
"""Of one measurement, as JSON has them."""
Read = Callable[[Figures], float]
"""Returns one figure. Raises `KeyError` if it was not measured."""


class Target(NamedTuple):
    """One row."""

    what: str
    measurement: str
    aim: str
    bound: float
    unit: str
    read: Read

    def row(self, figures: Mapping[str, Figures]) -> str:
        """Return it in Markdown."""
        try:
            value = self.read(figures[self.measurement])
        except KeyError:
            measured = "not measured"
        else:
            measured = f"{value:,.0f}" if abs(value) >= DIGITS else f"{value:.3g}"
            measured += "" if AIMS[self.aim](value, self.bound) else ", **missed**"
        return f"| {self.what} | {self.aim} {self.bound:,g} {self.unit} | {measured} | `bench {self.measurement}` |"


def ratio(server: str, other: str, figure: str = "cpu_per_webhook") -> Read:
    """Read a scenario: a server's figure in units of another's."""
    return lambda figures: _record(figures, server).ratio(_record(figures, other), figure)


def milliseconds(server: str, figure: str) -> Read:
    """Read a scenario: the median of a time."""
    return lambda figures: 1e3 * _record(figures, server).median(figure)


def index(figure: Callable[[Record, Record], float]) -> Read:
    """Read what is made of the records of an index that knows much and of an empty one."""

    def read(figures: Figures) -> float:
        empty, filled = (Record.read(each["record"]) for each in figures)
        return figure(filled, empty)

    return read


def of(server: str, figure: Callable[[dict[str, Any]], float]) -> Read:
    """Read what has an object for each daemon."""
    return lambda figures: figure({each["server"]: each for each in figures}[server])


def _record(figures: Figures, server: str) -> Record:
    return Record.read({each["server"]: each for each in figures}[server])


def _variant(server: str, name: str) -> str:
    return f"{server}, {VARIANTS[name].title}"


def _compiled() -> Iterator[Target]:
    for what, figure, bound in (("p50", "p50", 3), ("p99", "p99", 8), ("p99.9", "p999", 30)):
        yield Target(f"{what} at 2,000/s, compiled", "2000/s", "below", bound, "ms", milliseconds(COMPILED, figure))
    cpu = "CPU a webhook at 2,000/s, compiled"
    yield Target(cpu, "2000/s", "below", 0.75, "times Go's", ratio(COMPILED, GO))
    yield Target(cpu, "2000/s", "below", 1.55, TIMES_HELLO, ratio(COMPILED, HELLO))


def _each(build: str, server: str) -> Iterator[Target]:
    bound = {COMPILED: 1.35, DAEMON_NAME: 1.8}[server]
    for name in ("64", "256"):
        what = f"CPU a webhook, {name} connections, {build}"
        yield Target(what, name, "at most", bound, TIMES_HELLO, ratio(server, HELLO))
    yield Target(f"p50 at 100/s, {build}", "100/s", "below", 1.5, "ms", milliseconds(server, "p50"))
    burst, again, spool = (_variant(server, name) for name in ("burst", "duplicates", "spool"))
    one = f"one event type, one partition, {build}"
    yield Target(f"{one}: CPU", "burst-64", "at most", 1.15, "times the mixed load", ratio(burst, server))
    faster = ratio(burst, server, "per_second")
    yield Target(f"{one}: answers a second", "burst-64", "at least", 0.85, "times the mixed load", faster)
    faster = ratio(spool, server, "per_second")
    what = f"spool, {build}: answers a second"
    yield Target(what, "spool-64", "at least", 0.7, "times the direct path", faster)
    yield Target(f"spool, {build}: p99", "spool-2000/s", "below", 25, "ms", milliseconds(spool, "p99"))
    what = f"duplicates only, {build}: CPU"
    yield Target(what, "duplicates-64", "at most", 1.3, "times new events", ratio(again, server))
    rate = of(server, lambda drained: drained["backlog"] / drained["seconds"])
    yield Target(f"draining a backlog, {build}", "drain", "at least", 20_000, "events/s", rate)
    p99 = of(server, lambda drained: 1e3 * drained["p99"])
    yield Target(f"... p99 of live traffic at 500/s, {build}", "drain", "below", 50, "ms", p99)
    seconds = of(server, lambda times: statistics.median(times["seconds"]))
    yield Target(f"start to listening, {build}", "start", "below", 0.5, "s", seconds)
    yield Target(f"import, {build}", "import", "below", 0.3, "s", seconds)
    yield Target(f"idle, {build}: memory", "idle", "below", 60, "MB", of(server, lambda idle: idle["megabytes"]))
    yield Target(f"idle, {build}: CPU", "idle", "below", 0.5, "%", of(server, lambda idle: 100 * idle["cpu"]))
    surely = of(server, lambda soak: soak["slope"] - soak["margin"])
    speeds = {"soak-1000/s": "1,000/s", "soak-full-1000/s": "1,000/s with a full index", "soak": "50/s"}
    for name, speed in speeds.items():
        what = f"memory slope at {speed}, {build}: lower end of its 95 % interval"
        yield Target(what, name, "at most", 0, "bytes a webhook", surely)


def _others() -> Iterator[Target]:
    memory = index(lambda filled, empty: filled.megabytes - empty.megabytes)
    yield Target("ten million fingerprints: memory", "index", "at most", 40, "MB more than empty", memory)
    yield Target("... CPU", "index", "at most", 1.1, "times an empty index", index(Record.ratio))
    lag = index(lambda filled, _empty: 1e3 * max(filled.values("lag")))
    yield Target("... delay of the event loop", "index", "at most", 5, "ms", lag)
    speed = of(DAEMON_NAME, lambda follow: follow["records"] / follow["seconds"])
    yield Target("rebuilding the index", "follow", "at least", 50_000, "records/s", speed)


TARGETS = (*_compiled(), *(target for build in BUILDS.items() for target in _each(*build)), *_others())


def table(figures: Mapping[str, Figures]) -> str:
    """Return the rows of what was measured."""
    rows = [target.row(figures) for target in TARGETS if target.measurement in figures]
    return "\n".join(["| what | target | measured | command |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    found: dict[str, Figures] = {}
    for name in sys.argv[1:]:
        found |= json.loads(Path(name).read_text())["figures"]
    print(table(found))
