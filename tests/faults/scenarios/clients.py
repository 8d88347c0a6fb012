"""What clients do to a daemon: they say nothing, they go too early, they come in floods. Spans are those at scale 1."""

from time import monotonic
from typing import Final

from tests.faults.crowd import Crowd
from tests.faults.ledger import p99
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage

CROWD: Final = 2000
HEAD_SECONDS: Final = 3
"""The header deadline of the crowd's daemon: short, so that every connection meets it in a short scenario."""
_GRACE_SECONDS: Final = 60.0
"""What a busy machine adds. A connection that is not looked after stays for ever."""


def slow_clients(stage: Stage) -> None:
    """2,000 connections are silent, slow or never read, next to the load; each is closed in time."""
    with stage.load():
        stage.wait(20)
        calm = _p99_of_a_minute(stage)
        with Crowd(stage.daemon.url, CROWD) as crowd:
            stage.expect(crowd.complete.wait(_GRACE_SECONDS), f"{CROWD} connections were never open at once")
            crowded = _p99_of_a_minute(stage)
            left = crowd.dwindle(_GRACE_SECONDS)
    stage.expect(not left, f"{_GRACE_SECONDS:g} s later the daemon still has such connections: {dict(left)}")
    stage.measured["p99 without them, ms"] = round(calm * 1000, 1)
    stage.measured["p99 with them, ms"] = round(crowded * 1000, 1)
    for kind, seconds in crowd.ended.items():
        stage.measured[f"{kind}: closed after at most, s"] = round(max(seconds), 1)


def _p99_of_a_minute(stage: Stage) -> float:
    began = monotonic()
    stage.wait(60)
    return p99([line["seconds"] for line in stage.answers(began) if line["status"]])


SCENARIOS = [
    Scenario("15-slow-clients", slow_clients, nodes=1, settings={"ingress__keepalive_seconds": HEAD_SECONDS}),
]
