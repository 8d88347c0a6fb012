"""A token is obtained once for all connections, renewed before it ends, and used as long as it is valid."""

import asyncio
from collections.abc import Callable
from math import inf
from unittest.mock import Mock

import pytest
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaError

from aurora_bridge.kafka.tokens import CachedToken, FileToken, Token, TokenError

AWAY = TokenError("token_endpoint_failed", "https://identity.example/token", "it answered 503")


class Endpoint:
    """Gives tokens of 100 s, numbered. The cache has its clock and its timer, which rings only when a test lets it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.error: KafkaError | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.told: list[KafkaError | None] = []
        self.rings_in = inf
        self.renew: Callable[[], object] = lambda: None
        self.cache = CachedToken(self.obtain, self.told.append, {}, lambda: self.now, self.call_later)

    def call_later(self, delay: float, renew: Callable[[], object]) -> asyncio.TimerHandle:
        self.rings_in, self.renew = delay, renew
        return Mock()

    async def obtain(self) -> Token:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Token(f"canary-{self.asked}", 100)

    async def outcome(self) -> str:
        try:
            return await self.cache.token()
        except KafkaError as error:
            return str(error)

    async def renewed(self) -> None:
        """Let the timer ring; return when the renewal has ended."""
        ended = len(self.told) + 1
        self.renew()
        while len(self.told) < ended:  # noqa: ASYNC110 - it is the loop's next turns
            await asyncio.sleep(0)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


async def test_connections_at_the_same_time_and_later_ones_share_one_token(endpoint: Endpoint) -> None:
    endpoint.open.clear()
    waiting = [asyncio.create_task(endpoint.outcome()) for _ in range(5)]
    await asyncio.sleep(0)
    endpoint.open.set()
    assert await asyncio.gather(*waiting) == ["canary-1"] * 5
    endpoint.now += 99
    assert await endpoint.outcome() == "canary-1"
    assert (endpoint.asked, endpoint.told) == (1, [None])


async def test_a_connection_that_is_given_up_takes_the_token_from_no_other(endpoint: Endpoint) -> None:
    endpoint.open.clear()
    first, second = (asyncio.create_task(endpoint.outcome()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    endpoint.open.set()
    assert await second == "canary-1"
    assert endpoint.asked == 1


async def test_a_renewal_is_due_when_a_fifth_of_the_lifetime_is_left(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    assert endpoint.rings_in == 80
    endpoint.now += 80
    await endpoint.renewed()
    assert await endpoint.outcome() == "canary-2"


async def test_the_timer_is_the_event_loops(endpoint: Endpoint) -> None:
    told: asyncio.Queue[KafkaError | None] = asyncio.Queue()
    cache = CachedToken(endpoint.obtain, told.put_nowait, {}, lambda: endpoint.now)
    assert await cache.token() == "canary-1"
    endpoint.now += 80
    cache.refused()  # it is due now
    async with asyncio.timeout(30):
        assert [await told.get(), await told.get()] == [None, None]
    assert await cache.token() == "canary-2"


async def test_the_old_token_is_used_while_it_is_valid_and_none_after_it(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    endpoint.error = AWAY
    endpoint.now += 80
    await endpoint.renewed()
    endpoint.now += 19
    assert await endpoint.outcome() == "canary-1"
    endpoint.now += 1
    assert await endpoint.outcome() == str(AWAY)
    assert endpoint.told == [None, AWAY, AWAY]


async def test_a_renewal_under_way_is_not_waited_for_while_the_old_token_is_valid(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    endpoint.open.clear()
    endpoint.now += 80
    renewal = asyncio.create_task(endpoint.renewed())
    await asyncio.sleep(0)
    assert await endpoint.outcome() == "canary-1"
    endpoint.open.set()
    await renewal
    assert await endpoint.outcome() == "canary-2"


async def test_after_a_failure_attempts_are_paused_for_longer_and_longer_up_to_half_a_minute(
    endpoint: Endpoint,
) -> None:
    endpoint.error = AWAY
    pauses = []
    for _ in range(7):
        assert await endpoint.outcome() == str(AWAY)
        asked = endpoint.asked
        assert await endpoint.outcome() == str(AWAY)
        assert endpoint.asked == asked  # the endpoint is left alone
        pauses.append(endpoint.rings_in)
        endpoint.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    endpoint.error = None
    assert await endpoint.outcome() == "canary-8"


async def test_the_pause_ends_when_the_secret_has_changed(endpoint: Endpoint) -> None:
    endpoint.error = AWAY
    await endpoint.outcome()
    endpoint.error = None
    endpoint.cache.retry()
    assert endpoint.rings_in == 0
    assert await endpoint.outcome() == "canary-2"


async def test_a_changed_secret_renews_no_token_that_is_valid(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    endpoint.cache.retry()
    assert await endpoint.outcome() == "canary-1"


async def test_a_token_that_a_broker_refuses_is_renewed_but_not_each_time(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    for _ in range(3):
        endpoint.cache.refused()
        assert endpoint.rings_in == 10
    endpoint.now += 11
    endpoint.cache.refused()
    assert endpoint.rings_in == 0
    await endpoint.renewed()
    assert await endpoint.outcome() == "canary-2"


async def test_a_token_that_a_broker_refuses_ends_no_pause_of_an_endpoint_that_is_away(endpoint: Endpoint) -> None:
    await endpoint.outcome()
    endpoint.error = AWAY
    endpoint.now += 80
    for _ in range(6):
        await endpoint.renewed()
    endpoint.cache.refused()
    assert endpoint.rings_in == 30


async def test_an_outage_leaves_no_trace_in_its_error(endpoint: Endpoint) -> None:
    """It is one object, raised for each attempt to connect; with each, its traceback would grow."""
    endpoint.error = AWAY
    depths = set()
    for _ in range(5):
        with pytest.raises(TokenError) as raised:
            await endpoint.cache.token()
        depths.add(len(raised.traceback))
    assert len(depths) <= 2


async def test_extensions_are_sent_beside_the_token() -> None:
    source = FileToken("canary", {"logicalCluster": "lkc-1", "identityPoolId": "pool=1"})
    authenticator = OAuthAuthenticator(sasl_oauth_token_provider=source)
    sent, _ = await authenticator.step(None)
    assert (
        sent == b"n,,\x01auth=Bearer canary\x01logicalCluster=lkc-1\x01identityPoolId=pool=1\x01\x01"
    )  # RFC 7628, 3.1


@pytest.mark.proves("Where each secret lives: the tokens that these give")
def test_no_repr_has_a_token_in_it() -> None:
    assert "canary" not in repr([Token("canary", 1), FileToken("canary", {})])
