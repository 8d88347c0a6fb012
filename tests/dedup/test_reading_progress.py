"""How far the log was read into the index, as log and status page tell it."""

from math import inf

import pytest

from aurora_bridge.dedup import reading_progress
from aurora_bridge.dedup.reading_progress import Progress


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the progress."""
    clock = Clock()
    monkeypatch.setattr(reading_progress, "monotonic", clock)
    return clock


def test_what_is_left_takes_as_long_as_what_was_read(clock: Clock) -> None:
    progress = Progress()
    clock.now += 2
    progress.note(40_000, 120_000)
    assert (progress.read, progress.to_read, progress.seconds_left()) == (40_000, 120_000, 6)


def test_waiting_for_kafka_does_not_count_as_reading(clock: Clock) -> None:
    progress = Progress()
    clock.now += 3600
    progress.resume()
    clock.now += 2
    progress.note(40_000, 120_000)
    assert progress.seconds_left() == 6


def test_nobody_knows_how_long_it_takes_before_anything_was_read_and_while_nothing_moves(clock: Clock) -> None:
    progress = Progress()
    assert progress.seconds_left() == inf
    clock.now += 2
    progress.note(40_000, 120_000)
    clock.now += 11
    assert progress.seconds_left() == inf


def test_a_line_every_few_seconds_says_how_far_it_is(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    progress = Progress()
    for to_read in (500_000, 400_000, 300_000, 200_000):
        clock.now += 2
        progress.note(100_000, to_read)
    (line,) = caplog.records
    assert line.__dict__["fields"] == {"read": 300_000, "to_read": 300_000, "seconds_left": 6}


def test_records_that_are_none_of_ours_are_no_reason_to_fail(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    progress = Progress()
    clock.now += 6
    progress.note(0, 100_000)
    assert (progress.seconds_left(), caplog.records) == (inf, [])


def test_what_comes_after_the_end_is_no_progress(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What other replicas publish is read as it comes, and told by the metrics."""
    caplog.set_level("INFO")
    progress = Progress()
    progress.note(10, 0)
    progress.end()
    clock.now += 6
    progress.note(5, 3)
    assert (progress.read, progress.to_read, caplog.records) == (10, 0, [])
