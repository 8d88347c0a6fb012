"""How long a request waits for company."""

import pytest

from aurora_bridge.kafka.linger import LONGEST_SECONDS, Linger


def at(rate: float, records: int) -> Linger:
    """Return the linger time of a steady load whose requests carry so many records."""
    linger = Linger()
    for _ in range(100):
        linger.note(records, records / rate)
    return linger


@pytest.mark.parametrize("rate", [1, 100, 200])
def test_nothing_waits_for_company_that_does_not_come(rate: float) -> None:
    assert at(rate, 1).gap_seconds == 0.0


@pytest.mark.parametrize("rate", [500, 2000, 5000])
def test_under_load_records_share_a_request(rate: float) -> None:
    assert at(rate, 2).gap_seconds == LONGEST_SECONDS


def test_where_records_come_fast_a_request_is_full_enough_soon() -> None:
    assert at(30_000, 30).gap_seconds == pytest.approx(0.0005, rel=0.01)


def test_a_pause_ends_the_gap() -> None:
    linger = at(2000, 2)
    for _ in range(30):
        linger.note(1, 60.0)
    assert linger.gap_seconds == 0.0
