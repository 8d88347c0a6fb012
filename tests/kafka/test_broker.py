"""How large a request may be, and when: by what the line carried, and what a quota asks for."""

import pytest

from aurora_bridge.kafka.broker import CARRYING_SECONDS, FIRST_REQUEST_BYTES, MAX_REQUEST_BYTES, Broker
from aurora_bridge.metrics import Metrics

TIMEOUT_SECONDS = 2.5


def draining(bytes_a_second: float, round_trip: float, requests: int) -> list[float]:
    """Return how long each of many full requests takes over a line."""
    broker = Broker(1, Metrics())
    broker.answered(100, round_trip, 0.0, 0.0)
    seconds = []
    for _ in range(requests):
        seconds.append(round_trip + broker.limit_bytes / bytes_a_second)
        broker.answered(broker.limit_bytes, seconds[-1], 0.0, 0.0)
    return seconds


def test_a_slow_line_whose_first_request_is_large_is_not_taken_for_a_long_one() -> None:
    broker, rate = Broker(1, Metrics()), 50_000
    for _ in range(20):
        size = broker.limit_bytes
        broker.answered(size, size / rate, 0.0, 0.0)
        assert broker.limit_bytes / rate < TIMEOUT_SECONDS


@pytest.mark.parametrize("rate", [30_000, 200_000, 1_500_000])
@pytest.mark.parametrize("round_trip", [0.0005, 0.3])
def test_a_slow_line_gets_requests_that_it_carries_in_time(rate: float, round_trip: float) -> None:
    longest = max(draining(rate, round_trip, 1000)) - round_trip
    assert longest <= max(2 * CARRYING_SECONDS, FIRST_REQUEST_BYTES / rate)
    assert longest < TIMEOUT_SECONDS


@pytest.mark.parametrize("round_trip", [0.0005, 0.3])
def test_a_fast_line_gets_large_requests_soon_however_long_it_is(round_trip: float) -> None:
    broker = Broker(1, Metrics())
    for _ in range(3):
        broker.answered(broker.limit_bytes, round_trip + broker.limit_bytes / 100e6, 0.0, 0.0)
    assert broker.limit_bytes == MAX_REQUEST_BYTES


def test_small_requests_say_nothing_of_what_a_line_carries() -> None:
    broker = Broker(1, Metrics())
    for _ in range(100):
        broker.answered(1000, 0.001, 0.0, 0.0)
    assert broker.limit_bytes == FIRST_REQUEST_BYTES


def test_a_stall_of_a_small_request_makes_the_next_ones_no_smaller() -> None:
    broker = Broker(1, Metrics())
    for _ in range(3):
        broker.answered(broker.limit_bytes, 0.001, 0.0, 0.0)
    broker.answered(5000, 2.0, 0.0, 0.0)
    assert broker.limit_bytes == MAX_REQUEST_BYTES


def test_after_a_lost_connection_requests_begin_small_again() -> None:
    broker = Broker(1, Metrics())
    for _ in range(3):
        broker.answered(broker.limit_bytes, 0.001, 0.0, 0.0)
    assert broker.limit_bytes > FIRST_REQUEST_BYTES
    broker.lost()
    assert broker.limit_bytes == FIRST_REQUEST_BYTES


def test_a_quota_closes_a_broker_for_a_while_and_is_measured() -> None:
    metrics = Metrics()
    broker = Broker(7, metrics)
    broker.answered(1000, 0.5, 20.0, 3.0)
    assert broker.open_at == 23.0
    assert metrics.kafka_throttled_seconds["7"].sum == 3.0
    assert (metrics.kafka_request_bytes["7"], metrics.kafka_request_seconds["7"].sum) == (1000, 0.5)


def test_what_a_quota_is_paid_for_with_pauses_makes_requests_small() -> None:
    """Else one request of a backlog closes the broker for seconds, and live events miss their deadline."""
    broker, quota = Broker(1, Metrics()), 200_000
    for _ in range(20):
        size = broker.limit_bytes
        broker.answered(size, 0.002, 0.0, size / quota)
    assert broker.limit_bytes / quota <= 2 * CARRYING_SECONDS


def test_of_very_many_brokers_the_series_are_bounded() -> None:
    metrics = Metrics()
    for node in range(150):
        Broker(node, metrics).answered(1, 0.1, 0.0, 0.0)
    assert len(metrics.kafka_request_seconds) == 101
    assert metrics.kafka_request_bytes["other"] == 50
