"""What a series of samples tells: the last minutes, growth, and since when Kafka is away."""

from math import inf
from types import SimpleNamespace
from typing import cast

import pytest

from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome
from aurora_bridge.web.history import SAMPLE_SECONDS, History, Window, kept_bound


class Past:
    """A daemon whose time is a number."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.missing: list[str] = []
        self.stats = SimpleNamespace(bytes=0)
        self.metrics = Metrics()
        self.history = History(
            self.metrics,
            cast("Sender", SimpleNamespace(missing=lambda: self.missing)),
            cast("Spool", SimpleNamespace(stats=self.stats)),
            monotonic=lambda: self.now,
            wall=lambda: self.now + 1_800_000_000,
        )

    def answer(self, outcome: Outcome, count: int, seconds: float) -> None:
        for _ in range(count):
            self.metrics.response_seconds[outcome].observe(seconds)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / SAMPLE_SECONDS)):
            self.now += SAMPLE_SECONDS
            self.history.sample()


def test_each_window_has_what_came_in_it_and_no_more() -> None:
    past = Past()
    past.answer(Outcome.PUBLISHED, 1000, 9.5)
    past.run(1200)
    past.answer(Outcome.PUBLISHED, 10, 0.4)
    past.run(240)
    past.answer(Outcome.PUBLISHED, 98, 0.0009)
    past.answer(Outcome.SPOOLED, 2, 0.019)
    past.answer(Outcome.REFUSED, 3, 9.0)
    past.run(30)
    assert list(past.history.windows()) == [
        Window(60.0, 100, 3, 0.001, 0.02),
        Window(300.0, 110, 3, 0.001, 0.5),
        Window(900.0, 110, 3, 0.001, 0.5),
    ]


def test_a_young_daemon_has_one_window() -> None:
    past = Past()
    assert list(past.history.windows()) == []
    past.answer(Outcome.DUPLICATE, 1, 0.0009)
    past.now += 20
    assert list(past.history.windows()) == [Window(20.0, 1, 0, 0.001, 0.001)]
    past.run(100)
    assert [window.seconds for window in past.history.windows()] == [60.0, 120.0]


def test_an_idle_minute_has_no_answer_times() -> None:
    past = Past()
    past.run(60)
    assert list(past.history.windows()) == [Window(60.0, 0, 0, inf, inf)]


@pytest.mark.parametrize(("share", "bound"), [(0.5, 1.0), (0.51, 2.0), (0.9, 2.0), (0.91, inf)])
def test_a_bound_is_kept_by_a_share(share: float, bound: float) -> None:
    assert kept_bound([1.0, 2.0, 3.0], [50, 90, 90, 100], share) == bound


def test_an_old_daemon_has_three_windows() -> None:
    past = Past()
    past.run(7200)
    assert [window.seconds for window in past.history.windows()] == [60.0, 300.0, 900.0]


def test_the_spool_grows_by_what_it_grew_in_the_last_five_minutes() -> None:
    past = Past()
    assert past.history.spool_growth() == 0.0
    past.stats.bytes = 10**9
    past.run(600)
    assert past.history.spool_growth() == 0.0
    past.stats.bytes += 3000
    assert past.history.spool_growth() == 10.0
    past.stats.bytes -= 6000
    assert past.history.spool_growth() == -10.0


def test_kafka_is_away_since_the_first_sample_or_look_without_all_topics_and_until_all_are_there() -> None:
    past = Past()
    assert past.history.away_since() == 0.0
    past.missing = ["lead_created"]
    past.run(5)
    since = past.now + 1_800_000_000
    past.missing = ["lead_created", "lead_changed"]
    past.run(60)
    assert past.history.away_since() == since
    past.missing = []
    assert past.history.away_since() == 0.0
    past.missing = ["lead_created"]
    past.now += 1
    assert past.history.away_since() == past.now + 1_800_000_000


def test_without_kafka_it_is_never_away() -> None:
    assert History(Metrics(), None, None).away_since() == 0.0
