"""The wall clock jumps under load. Spans are those at scale 1.

Nothing is lost and no two events share an id; windows move by the jump, and what lies outside may be told again.
"""

from email.utils import parsedate_to_datetime
from functools import partial
from time import time
from typing import Final

from tests.faults.clock import WallClock
from tests.faults.manual_sender import Webhook
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
_WINDOWS: Final = {"state": 24 * HOUR, "once": 30 * 24 * HOUR}
"""By kind, seconds within which a copy is a duplicate."""


class _Known:
    """Webhooks that were told before, each with its id and by how much the clock was fast when it was published."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told: dict[Webhook, tuple[str, int]] = {}
        self._ids: set[str] = set()

    def tell(self, count: int, fast: int) -> None:
        """Tell new ones."""
        for webhook in [self._stage.manual.new(kind) for kind in ("state", "once") for _ in range(count // 2)]:
            self._told[webhook] = (self._stage.manual.send(webhook, self._stage.daemon.url).id, fast)

    def tell_again(self, fast: int) -> None:
        """Tell all of them again: a copy is a duplicate if by the clock it comes within the window of its kind.

        Else it may be an event of its own, whose id was never given before; one that happens once keeps its id.
        """
        self._ids |= {name for name, _ in self._told.values()}
        wrong = []
        for webhook, (name, fast_then) in self._told.items():
            answer = self._stage.manual.send(webhook, self._stage.daemon.url, copy=True)
            if (answer.id, answer.outcome) == (name, "duplicate"):
                continue
            right_id = answer.id == name if webhook.kind == "once" else answer.id not in self._ids
            if stays_within(_WINDOWS[webhook.kind], fast - fast_then) or not answer.accepted or not right_id:
                wrong.append((webhook.kind, answer))
            self._told[webhook] = (answer.id, fast)
            self._ids.add(answer.id)
        words = f"of {len(self._told)} known events, {len(wrong)} are told wrongly when the clock is {fast:+d} s off"
        self._stage.expect(not wrong, f"{words}: {wrong[:2]}")


def stays_within(window: int, jump: int) -> bool:
    """Whether what was just told is within its window after such a jump: a time in the future suppresses nothing."""
    return 0 <= jump < window - HOUR


def jumps(stage: Stage) -> None:
    """The wall clock jumps an hour and 31 days, forward and back, while all brokers are frozen for a moment."""
    clock = WallClock(stage.folder)
    stage.daemon.surroundings |= clock.surroundings
    with stage.load():
        known, fast = _Known(stage), 0
        known.tell(OLD, fast)
        for seconds in (HOUR, 0, -HOUR, 0, MONTH, 0, -MONTH, 0):
            stage.wait(15)
            for node in stage.cluster.nodes:
                node.pause()
            stage.wait(5)
            clock.jump_to(seconds)
            if not stays_within(_WINDOWS["state"], seconds - fast):
                stage.observer.clock_was_set()
            fast = seconds
            _expect_clock(stage, seconds)
            known.tell_again(fast)
            for node in stage.cluster.nodes:
                node.resume()
            stage.cluster.wait_until_ready()
            known.tell(10, fast)
        stage.wait(15)
    quarantined = stage.daemon.metrics().value("aurora_bridge_spool_quarantined_events")
    stage.expect(not quarantined, f"{quarantined:g} events are quarantined")


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
