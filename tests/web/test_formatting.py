"""Times and sizes, in words."""

import pytest

from aurora_bridge.web.formatting import answer_time, counted, duration, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86_400, "1 day"),
        (200_000, "2 days"),
    ],
)
def test_a_time_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (4096, "4 KiB"), (2**20, "1 MiB"), (3 * 2**29, "1.5 GiB")],
)
def test_a_size_is_said_in_its_largest_unit(count: int, said: str) -> None:
    assert size(count) == said


def test_what_is_counted_has_its_plural() -> None:
    assert [counted(1, "event"), counted(12_345, "event")] == ["1 event", "12,345 events"]


def test_answers_are_timed_in_milliseconds_below_a_second() -> None:
    assert [answer_time(0.0075), answer_time(2.0)] == ["7.5 ms", "2 s"]
