"""The wall clock jumps under load. Spans are those at scale 1."""

from email.utils import parsedate_to_datetime
from functools import partial
from time import time
from typing import Final

from tests.faults.clock import WallClock
from tests.faults.hand import Webhook
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.support import http
from tests.support.broker import KafkaCluster
from tests.support.topics import ANY_TIME

HOUR: Final = 3600
MONTH: Final = 31 * 24 * 3600
"""Longer than the index and the topics keep anything."""
OLD: Final = 200
"""Webhooks that are known before the first jump, and come again after each."""
ROUNDING: Final = 2.0


def jumps(stage: Stage) -> None:
    """The wall clock jumps an hour and 31 days, forward and back, while all brokers are frozen for a moment."""
    clock = WallClock(stage.folder)
    stage.daemon.surroundings |= clock.surroundings
    with stage.load():
        known = {webhook: stage.hand.send(webhook, stage.daemon.url).id for webhook in _some(stage)}
        for seconds in (HOUR, 0, -HOUR, 0, MONTH, 0, -MONTH, 0):
            stage.wait(15)
            for node in stage.cluster.nodes:
                node.pause()
            stage.wait(5)
            clock.jump_to(seconds)
            _expect_clock(stage, seconds)
            again = {webhook: stage.hand.send(webhook, stage.daemon.url) for webhook in known}
            anew = sum((one.id, one.outcome) != (known[webhook], "duplicate") for webhook, one in again.items())
            stage.expect(not anew, f"{anew} of {len(known)} known events are new when the clock is {seconds:+d} s off")
            for node in stage.cluster.nodes:
                node.resume()
            stage.cluster.wait_until_ready()
            known |= {webhook: stage.hand.send(webhook, stage.daemon.url).id for webhook in _some(stage, 10)}
        stage.wait(15)
    aside = stage.daemon.metrics().value("aurora_bridge_spool_set_aside_events")
    stage.expect(not aside, f"{aside:g} events are set aside")


def _some(stage: Stage, count: int = OLD) -> list[Webhook]:
    return [stage.hand.new(kind) for kind in ("state", "once") for _ in range(count // 2)]


def _expect_clock(stage: Stage, seconds: int) -> None:
    """See to it that the daemon has the time it should have: else nothing is tried here."""
    date = parsedate_to_datetime(http.get(stage.daemon.url, "/-/healthy").headers["date"]).timestamp()
    stage.expect(abs(date - time() - seconds) < ROUNDING, f"the daemon's clock is {date - time():+.0f} s off")


SCENARIOS = [
    Scenario(
        "13-wall-clock-jumps",
        jumps,
        cluster=partial(KafkaCluster, properties={f"log.{name}": value for name, value in ANY_TIME.items()}),
        settings={"kafka__retention_days": 36_500},
    ),
]
