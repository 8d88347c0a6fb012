"""States that are refused, since they can be stored nowhere, and those that come back. Spans are those at scale 1.

A is stored, B is refused, and A is back before the retry of B: it must be published, or the topic would end with B and
Aurora with A. Of half the states that are refused, a copy of the state before comes first.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from tests.faults.histories import came_back_behind_refused
from tests.faults.scenario import Scenario
from tests.faults.scenarios.disk import CAP_BYTES, end_kafka, expect_empty_and_whole, fill_spool
from tests.faults.stage import Stage, Turns

TURNS: Final = Turns(stale=0.5)
OUTAGES: Final = 2
SOON_SECONDS: Final = 5.0
"""After an outage, in which what was under way at its end may still be refused."""


def without_a_spool(stage: Stage) -> None:
    """Without a spool, Kafka is away for a minute, twice; states go from A to B to A, and copies of the older come."""
    _play(stage, end_kafka)


def with_a_full_spool(stage: Stage) -> None:
    """Kafka is away until the spool is full, and for a minute more, twice; states go from A to B to A, with copies."""
    _play(stage, fill_spool)
    expect_empty_and_whole(stage)


def _play(stage: Stage, begin: Callable[[Stage], None]) -> None:
    outages = []
    with stage.load(turns=TURNS):
        for _ in range(OUTAGES):
            stage.wait_until_usual()
            began = monotonic()
            begin(stage)
            stage.wait(60)
            stage.cluster.restore()
            stage.daemon.wait_until_connected()
            outages.append((began, monotonic() + SOON_SECONDS))
        stage.wait(20)
    stage.expect_no_refusal(outages)
    back = came_back_behind_refused(stage.told())
    stage.measured["states that came back behind a refused one"] = back
    stage.expect(back, "no state came back behind a refused one: nothing was tried")


SCENARIOS = [
    Scenario("19-states-refused-no-spool", without_a_spool, nodes=1, settings={"spool__enabled": False}),
    Scenario("19-states-refused-spool-full", with_a_full_spool, nodes=1, settings={"spool__max_bytes": CAP_BYTES}),
]
"""Played with one broker, since it is away."""
