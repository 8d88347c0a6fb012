"""The API's rate limit."""

from aurora_bridge.simulator.rate_limit import RateLimit


def test_90_requests_a_minute_pass_and_the_next_is_told_when() -> None:
    limit = RateLimit()
    assert [limit.take(second / 3) for second in range(90)] == [None] * 90
    assert limit.take(30.5) == 30
    assert limit.take(59.9) == 1
    assert limit.take(60.0) is None
