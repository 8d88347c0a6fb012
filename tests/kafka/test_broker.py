"""How large a request may be, and when: by what the line carried, and what a quota asks for."""

import pytest

from aurora_bridge.kafka.broker import FIRST_REQUEST_BYTES, MAX_REQUEST_BYTES, TRANSFER_SECONDS, Broker
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import DeadlinesSettings

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
    assert longest <= max(2 * TRANSFER_SECONDS, FIRST_REQUEST_BYTES / rate)
    assert longest < TIMEOUT_SECONDS


@pytest.mark.parametrize("round_trip", [0.0005, 0.3])
def test_a_fast_line_gets_large_requests_soon_however_long_it_is(round_trip: float) -> None:
    broker, sent = Broker(1, Metrics()), 0
    while broker.limit_bytes < MAX_REQUEST_BYTES:
        sent += broker.limit_bytes
        broker.answered(broker.limit_bytes, round_trip + broker.limit_bytes / 100e6, 0.0, 0.0)
    assert sent < 9 * MAX_REQUEST_BYTES


def test_small_requests_say_nothing_of_what_a_line_carries() -> None:
    broker = Broker(1, Metrics())
    for _ in range(100):
        broker.answered(1000, 0.001, 0.0, 0.0)
    assert broker.limit_bytes == FIRST_REQUEST_BYTES


def test_a_stall_of_a_small_request_makes_the_next_ones_no_smaller() -> None:
    broker = Broker(1, Metrics())
    for _ in range(9):
        broker.answered(broker.limit_bytes, 0.001, 0.0, 0.0)
    before = broker.limit_bytes
    broker.answered(5000, 2.0, 0.0, 0.0)
    assert broker.limit_bytes == before > FIRST_REQUEST_BYTES


def test_after_a_lost_connection_requests_begin_small_again() -> None:
    broker = Broker(1, Metrics())
    for _ in range(9):
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
    assert broker.limit_bytes / quota <= 2 * TRANSFER_SECONDS


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 5_000_000])
def test_a_quota_that_pauses_us_a_little_each_time_is_used_up(rate: int) -> None:
    """The round trips between the pauses are time in which nothing is sent."""
    broker, sent, seconds = Broker(1, Metrics()), 0, 0.0
    while seconds < 10:
        sent += broker.limit_bytes
        pause = broker.limit_bytes / rate
        seconds += 0.002 + pause
        broker.answered(broker.limit_bytes, 0.002, seconds, pause)
    assert sent > 0.9 * seconds * rate


def test_of_very_many_brokers_the_series_are_bounded() -> None:
    metrics = Metrics()
    for node in range(150):
        Broker(node, metrics).answered(1, 0.1, 0.0, 0.0)
    assert len(metrics.kafka_request_seconds) == 101
    assert metrics.kafka_request_bytes["other"] == 50


class Quota:
    """A quota on bytes as Kafka counts it: over eleven samples of a second, as if ten had been empty before the first.

    `org.apache.kafka.common.metrics.stats.Rate.windowSize`, `kafka.server.ClientQuotaManager.throttleTime`.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._samples: list[tuple[float, int]] = []
        """When each began, and its bytes."""

    def pause(self, size: int, now: float) -> float:
        """Take a request; return for how long its client is not heard."""
        self._samples = [sample for sample in self._samples if now - sample[0] < 11]
        if not self._samples or now - self._samples[-1][0] >= 1:
            self._samples.append((now, 0))
        began, before = self._samples[-1]
        self._samples[-1] = began, before + size
        elapsed = now - self._samples[0][0]
        window = elapsed + max(0, 10 - int(elapsed))
        return max(0.0, sum(sample for _, sample in self._samples) / self.rate - window)


@pytest.mark.parametrize("rate", [200_000, 300_000, 1_000_000, 5_000_000])
def test_a_quota_never_closes_a_broker_for_longer_than_an_idle_topic_can_wait_and_is_used_up(rate: int) -> None:
    """Though Kafka lets ten seconds of it pass before it says a word, and holds them against us for ten seconds."""
    broker, quota, now, sent, longest = Broker(1, Metrics()), Quota(rate), 0.0, 0, 0.0
    while now < 60:
        size = broker.limit_bytes
        now += 0.002
        sent += size
        pause = quota.pause(size, now)
        broker.answered(size, 0.002, now, pause)
        longest = max(longest, pause)
        now += pause
    assert longest < DeadlinesSettings().publish_seconds / 2
    assert sent > 0.9 * 60 * rate
