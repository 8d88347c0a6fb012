"""What clients do to a daemon: they say nothing, they go too early, they come in floods. Spans are those at scale 1."""

from math import inf
from time import monotonic
from typing import Final

from tests.faults.aurora import LEFT
from tests.faults.flood import pour
from tests.faults.journal import p99
from tests.faults.process_stats import resident_bytes
from tests.faults.scenario import Scenario
from tests.faults.slow_clients import SlowClients
from tests.faults.stage import EVENTS, Stage

SLOW_CLIENTS: Final = 2000
HEAD_SECONDS: Final = 8
"""The header deadline of their daemon: short, so that every connection meets it in a short scenario."""
FLOOD: Final = 100_000
MORE_MEMORY: Final = 20_000_000
MORE_LOG: Final = 100_000
"""Bytes: 20 lines a minute for each reason and library, over minutes."""
CLOSED_SECONDS: Final = {
    "silent": HEAD_SECONDS,
    "half a head": HEAD_SECONDS,
    "half a second head": HEAD_SECONDS,
    "half a body": 10,
    "deaf": 2 * HEAD_SECONDS,
}
"""After which each kind of them is closed. A body may linger as long as aiohttp has it; who reads nothing has the
deadline once to send something new, and once for what is unread."""
NOISE_SECONDS: Final = 3.0
"""That a busy machine adds to these, 2,000 at a time."""
KNOWN_SHARE: Final = 0.95
"""Of the retries of those who left. The rest were never received: their connection broke before the daemon read it."""
_GRACE_SECONDS: Final = 60.0
"""What a busy machine adds. A connection that is not looked after stays for ever."""


def slow_clients(stage: Stage) -> None:
    """2,000 connections are silent, slow or never read, next to the load; each is closed in time."""
    with stage.load():
        stage.wait_until_usual()
        calm = _p99_of_a_minute(stage)
        with SlowClients(stage.daemon.url, SLOW_CLIENTS) as clients:
            stage.expect(clients.complete.wait(_GRACE_SECONDS), f"{SLOW_CLIENTS} connections were never open at once")
            crowded = _p99_of_a_minute(stage)
            left = clients.dwindle(_GRACE_SECONDS)
    stage.expect(not left, f"{_GRACE_SECONDS:g} s later the daemon still has such connections: {dict(left)}")
    stage.measured["p99 without them, ms"] = round(calm * 1000, 1)
    stage.measured["p99 with them, ms"] = round(crowded * 1000, 1)
    stage.wish(
        crowded <= 2 * calm, f"p99 is {crowded / calm:.1f} times as long with them, and meant to be twice at most"
    )
    for kind, bound in CLOSED_SECONDS.items():
        longest = max(clients.ended[kind], default=inf)
        stage.measured[f"{kind}: closed after at most, s"] = round(longest, 1)
        stage.expect(longest <= bound + NOISE_SECONDS, f"{kind}: closed after {longest:.1f} s, and not {bound} s")


def gone_clients(stage: Stage) -> None:
    """One client in five is gone before its answer; the retry, which is expected, is known for one."""
    with stage.load(leaving=0.2):
        stage.wait(60)
    signals = {line["answered"] for line in stage.answers_by_event(0)[EVENTS["signal"]]}  # each is a new event
    left = {line["answered"] for line in stage.answers() if line["body"] == LEFT}
    duplicates = {line["answered"] for line in stage.answers() if '"duplicate"' in line["body"] and not line["copy"]}
    known = len(duplicates & left - signals) / max(1, len(left - signals))
    expected = stage.daemon.metrics().value("aurora_bridge_expected_retries_total")
    stage.measured["left before the answer"] = len(left)
    stage.measured["expected"] = expected
    stage.measured["retries known as duplicates, %"] = round(100 * known, 1)
    stage.expect(left - signals, "nobody left")
    stage.expect(known > KNOWN_SHARE, f"only {known:.0%} of the retries are known as duplicates")
    stage.expect(expected > 0.9 * len(left), f"{len(left)} clients left, and only {expected:g} retries are expected")


def flood(stage: Stage) -> None:
    """100,000 requests with wrong credentials, on random paths, of other methods, or not in HTTP, next to the load."""
    with stage.load():
        stage.wait(100)
        daemon = stage.daemon
        series, memory, log = set(daemon.metrics()), resident_bytes(daemon), daemon.log.stat().st_size
        statuses = pour(daemon.url, FLOOD, stage.random)
        grown = resident_bytes(daemon) - memory
        written = daemon.log.stat().st_size - log
        more = set(daemon.metrics()) - series
    stage.measured |= {f"answered {status}": count for status, count in sorted(statuses.items())}
    stage.measured["more memory, MB"] = round(grown / 1e6, 1)
    stage.measured["more log, kB"] = round(written / 1e3, 1)
    stage.measured["more metric series"] = len(more)
    stage.expect(set(statuses) <= {400, 401, 404, 405}, f"it was answered {dict(statuses)}")
    stage.expect(sum(statuses.values()) == FLOOD, f"{sum(statuses.values())} of {FLOOD} were answered")
    stage.expect(not more, f"more metric series: {sorted(more)[:3]}")
    stage.expect(grown < MORE_MEMORY, f"{grown / 1e6:.1f} MB more memory")
    stage.expect(written < MORE_LOG, f"{written / 1e3:.0f} kB more log")


def _p99_of_a_minute(stage: Stage) -> float:
    began = monotonic()
    stage.wait(60)
    return p99([line["seconds"] for line in stage.answers(began) if line["status"]])


SCENARIOS = [
    Scenario("15-clients-gone", gone_clients),
    Scenario("15-slow-clients", slow_clients, settings={"ingress__keepalive_seconds": HEAD_SECONDS}),
    Scenario("17-flood", flood, nodes=1),
]
