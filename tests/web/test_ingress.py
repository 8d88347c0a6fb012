"""From a request to a delivery, and from what is no HTTP to an answer that repeats nothing of it."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic, time

import pytest

from aurora_bridge.access_log import AccessLog
from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.bridge import Answer
from aurora_bridge.metrics import BUDGET_SECONDS, Metrics
from aurora_bridge.outcomes import Outcome, Reason
from aurora_bridge.settings import IngressSettings
from aurora_bridge.web.ingress import Ingress, make_server
from tests.support.http import Connection, Response, request
from tests.support.ports import HOST
from tests.web.serving import PATIENCE, BridgeDouble, listening, talk

SETTINGS = IngressSettings()
EVENT = "lead_changed"


class Serving:
    """An ingress before a double of the bridge."""

    def __init__(self) -> None:
        self.url = ""
        self.bridge = BridgeDouble()
        self.ready = True
        self.metrics = Metrics(events=[EVENT])
        self.attempts = Attempts()

    def ingress(self, settings: IngressSettings = SETTINGS) -> Ingress:
        access_log = AccessLog(self.metrics, self.attempts, log_deliveries=False)
        return Ingress(self.bridge, lambda: self.ready, access_log, settings)

    def failed_attempts(self) -> int:
        """Return how many attempts failed for Aurora."""
        return sum(subscription.failures for subscription in self.attempts.evaluate(int(time() * 1e6)))

    def refusals(self) -> dict[str, int]:
        return {str(reason): count for reason, count in self.metrics.refusals.items() if count}


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    async with listening(make_server(serving.ingress(), SETTINGS)) as serving.url:
        yield serving


async def say(url: str, data: bytes) -> tuple[Response, bool]:
    """Send bytes; return the answer, and whether the connection ended behind it."""

    def converse(connection: Connection) -> tuple[Response, bool]:
        connection.send(data)
        return connection.receive(), connection.ended()

    return await talk(url, converse)


# Deliveries


async def test_a_delivery_carries_method_target_and_headers_as_they_came_and_both_clocks(serving: Serving) -> None:
    wall, running = time(), monotonic()
    target = b"/a/../b//c%2F?x=%ff&y=a+b&z=<Z>;'\"|"
    await talk(serving.url, lambda connection: connection.get(target, [("X-Token", "caf\u00e9")], method="PUT"))
    (delivery,) = serving.bridge.deliveries
    assert (delivery.method, delivery.target) == ("PUT", target)
    assert list(delivery.headers) == [(b"Host", b"bridge.example"), (b"X-Token", b"caf\xe9")]
    assert wall - 1 <= delivery.received_us / 1e6 <= time()
    assert running <= delivery.received <= monotonic()


@pytest.mark.parametrize(
    "target",
    [
        b"http://bridge.example/a?b=c",
        b"https://user:word@bridge.example:8443/a",
        b"//a",
        b"/a?b?c=d",
        b"*",
        b"/" * 9000,
    ],
    ids=lambda target: target[:40].decode(),
)
async def test_the_target_is_not_read_by_the_server(serving: Serving, target: bytes) -> None:
    method = "OPTIONS" if target == b"*" else "GET"
    await talk(serving.url, lambda connection: connection.get(target, method=method))
    assert [delivery.target for delivery in serving.bridge.deliveries] == [target]


async def test_the_bridges_answer_is_given_told_and_counted(serving: Serving) -> None:
    response = await talk(serving.url, lambda connection: connection.get("/a"))
    assert (response.status, response.json) == (200, {"id": "the-id", "outcome": "published"})
    assert (serving.bridge.in_time, serving.failed_attempts()) == ([True], 0)
    assert serving.metrics.deliveries[EVENT, "published"] == 1


async def test_a_delivery_goes_on_when_its_client_is_gone_and_that_is_told(serving: Serving) -> None:
    serving.bridge.may_answer.clear()
    _, writer = await asyncio.open_connection(*serving.url.removeprefix("http://").split(":"))
    writer.write(request("/a"))
    await serving.bridge.asked.wait()
    writer.transport.abort()
    await talk(serving.url, lambda connection: connection.get("/-/healthy"))
    serving.bridge.may_answer.set()
    async with asyncio.timeout(PATIENCE):
        await serving.bridge.told.wait()
    assert (serving.bridge.in_time, serving.failed_attempts()) == ([False], 1)


async def test_an_answer_that_comes_later_than_aurora_waits_is_told_as_such(serving: Serving) -> None:
    serving.bridge.seconds = BUDGET_SECONDS
    assert (await talk(serving.url, lambda connection: connection.get("/a"))).status == 200
    assert (serving.bridge.in_time, serving.failed_attempts()) == ([False], 1)


@pytest.mark.proves("No secret comes out: not in a traceback")
async def test_a_mistake_of_ours_is_a_500_that_tells_nothing_and_the_next_delivery_is_served(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.bridge.answer = ZeroDivisionError("canary")
    response = await talk(serving.url, lambda connection: connection.get("/a"))
    assert (response.status, response.json["reason"]) == (500, "internal_error")
    assert b"canary" not in response.head + response.body
    assert "a delivery failed unexpectedly" in caplog.text
    assert "canary" not in caplog.text  # the text of an exception can quote the delivery
    found = vars(caplog.records[0])["fields"]
    assert found["type"] == "ZeroDivisionError"
    assert re.match(r"serving\.py:\d+ accept", found["at"])
    assert serving.refusals() == {"internal_error": 1}
    serving.bridge.answer = Answer(200, Outcome.SPOOLED, EVENT, "1")
    assert (await talk(serving.url, lambda connection: connection.get("/a"))).json["outcome"] == "spooled"


@pytest.mark.proves("An attacker cannot: fill the log by a flood")
async def test_a_flood_of_mistakes_of_ours_does_not_flood_the_log(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.bridge.answer = ZeroDivisionError("canary")
    await talk(serving.url, lambda connection: [connection.get("/a") for _ in range(50)])
    assert caplog.text.count("a delivery failed unexpectedly") == 20
    assert serving.refusals() == {"internal_error": 50}


# The load balancers' question


@pytest.mark.parametrize("base_path", ["/", "/hooks/aurora"])
async def test_below_the_base_path_load_balancers_can_ask_without_counting_as_a_delivery(base_path: str) -> None:
    serving, settings = Serving(), IngressSettings(base_path=base_path)
    path = base_path.rstrip("/") + "/-/healthy"
    async with listening(make_server(serving.ingress(settings), settings)) as url:
        response = await talk(url, lambda connection: connection.get(path))
        head = await talk(url, lambda connection: connection.get(path, method="HEAD"))
    assert (response.status, response.json, head.status, head.body) == (200, {"status": "ok"}, 200, b"")
    assert serving.bridge.deliveries == []
    assert sum(serving.metrics.deliveries.values()) == 0


@pytest.mark.parametrize("base_path", ["/", "/hooks/aurora"])
@pytest.mark.parametrize(
    "path", ["/-/healthy?cb=1", "/-/healthy/", "/-/healthy/?cb=1", "/-/healthy//?", "/-/healthy?a=//"]
)
async def test_a_query_or_a_slash_more_is_the_same_question(base_path: str, path: str) -> None:
    serving, settings = Serving(), IngressSettings(base_path=base_path)
    async with listening(make_server(serving.ingress(settings), settings)) as url:
        response = await talk(url, lambda connection: connection.get(base_path.rstrip("/") + path))
    assert (response.status, response.json) == (200, {"status": "ok"})
    assert serving.bridge.deliveries == []


@pytest.mark.parametrize(
    "path", ["/-/healthyx", "/-/healthy/x", "/x/-/healthy", "/lead_changed?next=/-/healthy", "/-/healthy%2F"]
)
async def test_what_only_has_it_in_it_is_a_delivery(serving: Serving, path: str) -> None:
    await talk(serving.url, lambda connection: connection.get(path))
    assert [delivery.target for delivery in serving.bridge.deliveries] == [path.encode()]


NO_ROUTE = Answer(404, Outcome.REFUSED, "none", None, Reason.NO_ROUTE)


@pytest.mark.parametrize("path", ["//-/healthy", "/-//healthy/?cb=1"])
async def test_where_no_route_has_it_so_is_one_with_slashes_in_front(serving: Serving, path: str) -> None:
    serving.bridge.answer = NO_ROUTE
    assert (await talk(serving.url, lambda connection: connection.get(path))).json == {"status": "ok"}
    assert serving.refusals() == {}


@pytest.mark.parametrize(("base_path", "path"), [("/", "/"), ("/", "//"), ("/hooks", "/"), ("/hooks", "/hooks/")])
async def test_the_root_answers_a_load_balancer_where_no_route_has_it(base_path: str, path: str) -> None:
    """Those of Google ask there unless they are told another path."""
    serving, settings = Serving(), IngressSettings(base_path=base_path)
    serving.bridge.answer = NO_ROUTE
    async with listening(make_server(serving.ingress(settings), settings)) as url:
        response = await talk(url, lambda connection: connection.get(path))
        serving.ready = False
        not_ready = await talk(url, lambda connection: connection.get(path))
    assert (response.status, response.json, not_ready.status) == (200, {"status": "ok"}, 503)
    assert serving.refusals() == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/?cb=1"), ("GET", "/?"), ("GET", "/x"), ("GET", "http://x"), ("POST", "/")],
)
async def test_nothing_else_that_no_route_has_is_healthy(serving: Serving, method: str, path: str) -> None:
    serving.bridge.answer = NO_ROUTE
    assert (await talk(serving.url, lambda connection: connection.get(path, method=method))).status == 404
    assert serving.refusals() == {"no_route": 1}


async def test_a_delivery_to_the_root_is_one_where_a_route_has_it(serving: Serving) -> None:
    assert (await talk(serving.url, lambda connection: connection.get("/"))).json["id"] == "the-id"


# For caches


@pytest.mark.proves("An attacker cannot: have an answer kept by a cache")
@pytest.mark.parametrize(
    "data",
    [
        request("/a"),
        request("/-/healthy"),
        request("/", method="HEAD"),
        b"canary\r\n\r\n",
        request(b"/" + b"a" * 100_000),
    ],
    ids=lambda data: ascii(data)[:20],
)
@pytest.mark.parametrize("reason", [None, *Reason])
async def test_no_answer_may_be_kept_by_a_cache(serving: Serving, data: bytes, reason: Reason | None) -> None:
    """A proxy that keeps one answers the next webhook with the same URL itself."""
    if reason is not None:
        serving.bridge.answer = Answer(reason.status, Outcome.REFUSED, "none", None, reason)

    def converse(connection: Connection) -> str | None:
        connection.send(data)
        return connection.receive(to="HEAD").headers.get("cache-control")

    assert await talk(serving.url, converse) == "no-store"


async def test_an_instance_that_is_not_ready_says_so(serving: Serving) -> None:
    serving.ready = False
    response = await talk(serving.url, lambda connection: connection.get("/-/healthy"))
    assert (response.status, response.json) == (503, {"status": "not ready"})


# What is no HTTP


@pytest.mark.parametrize(
    "data",
    [
        b"canary\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfccanary",
        b"GET /canary HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /can\nary HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /can ary HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\ncanary\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Token: canary\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nCan\xffary: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: canary\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nX: canary\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Token: " + b"canary" * 2000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: canary\r\n" * 200 + b"\r\n",
        b"can\xc3\xa9ary / HTTP/1.1\r\n\r\n",
    ],
    ids=lambda data: ascii(data)[:40],
)
async def test_what_is_no_http_is_a_400_that_repeats_nothing_is_counted_and_ends_the_connection(
    serving: Serving, data: bytes
) -> None:
    response, ended = await say(serving.url, data)
    assert (response.status, response.json) == (
        400,
        {"id": None, "outcome": "refused", "reason": "malformed_http"},
    )
    assert b"canary" not in response.head + response.body
    assert (response.headers["connection"], ended) == ("close", True)
    assert serving.refusals() == {"malformed_http": 1}
    assert serving.bridge.deliveries == []


async def test_what_is_no_http_and_carries_a_valid_credential_has_a_reason_of_its_own_and_its_mistake_is_logged(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.bridge.known = b"canary"
    good = b"GET /a HTTP/1.1\r\nX-Token: canary\r\nHost: h\r\n\r\n"
    bad = b"GET /a?b=canary HTTP/1.1\r\nX-Token: %b\r\nX-Bad\r\n\r\n"
    response, _ = await say(serving.url, bad % b"canary")
    assert response.json == {"id": None, "outcome": "refused", "reason": "malformed_with_credential"}
    for sent in (bad % b"wrong", bad % b"wrong" + good, good.replace(b"Host: h", b"X-Bad\r\nHost: h")):
        await say(serving.url, sent)
    assert serving.refusals() == {"malformed_with_credential": 2, "malformed_http": 2}
    assert serving.bridge.deliveries == []
    told = [vars(record)["fields"] for record in caplog.records]
    assert Counter((of["reason"], of["error"], of["client"]) for of in told) == {
        ("malformed_with_credential", "BadHttpMessage", HOST): 2,
        ("malformed_http", "BadHttpMessage", HOST): 2,
    }
    assert all("canary" not in str(of) for of in told)


async def test_a_flood_of_it_does_not_flood_the_log(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    serving.bridge.known = b"canary"
    for _ in range(25):
        await say(serving.url, b"GET /a HTTP/1.1\r\nX-Token: canary\r\n\r\n")
    assert sum("delivery refused" in record.message for record in caplog.records) == 20


@pytest.mark.proves("Where one request ends: It is the last request of its connection")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_target_that_nobody_escaped_is_a_delivery_whose_connection_ends(serving: Serving, version: str) -> None:
    sent = request("/a?b=K\u00e4u fer\u00ff".encode("latin-1"), [("Connection", "keep-alive")], version=version)
    response, ended = await say(serving.url, sent + request("/behind"))
    assert (response.status, response.headers["connection"], ended) == (200, "close", True)
    assert [delivery.target for delivery in serving.bridge.deliveries] == [b"/a?b=K%E4u%20fer%FF"]
    assert serving.refusals() == {}


async def test_its_body_is_read_over_however_it_comes(serving: Serving) -> None:
    head = request("/a?b=c d", [("Content-Length", "70000")])

    def converse(connection: Connection) -> tuple[int, bool]:
        connection.send(head[:20])
        connection.send(head[20:] + b"G" * 30_000)
        status = connection.receive().status
        connection.send(b"G" * 40_000)
        return status, connection.ended()

    assert await talk(serving.url, converse) == (200, True)


async def test_what_comes_in_one_packet_with_something_that_is_no_http_is_served(serving: Serving) -> None:
    def converse(connection: Connection) -> list[int]:
        connection.send(request("/a") + request("/b") + b"canary\r\n\r\n")
        return [connection.receive().status for _ in range(3)]

    assert await talk(serving.url, converse) == [200, 200, 400]
    assert [delivery.target for delivery in serving.bridge.deliveries] == [b"/a", b"/b"]


@pytest.mark.parametrize("length", [2 * SETTINGS.max_target_bytes + 2, 100_000])
async def test_a_target_too_long_for_the_server_is_a_414_that_repeats_nothing_and_is_counted(
    serving: Serving, length: int
) -> None:
    target = b"/canary?" + b"canary" * (length // 6)
    response, ended = await say(serving.url, request(target))
    assert (response.status, response.json) == (
        414,
        {"id": None, "outcome": "refused", "reason": Reason.TARGET_TOO_LONG.value},
    )
    assert b"canary" not in response.head + response.body
    assert (response.headers["connection"], ended) == ("close", True)
    assert serving.refusals() == {"target_too_long": 1}


async def test_a_target_the_bridge_can_refuse_itself_gets_to_it(serving: Serving) -> None:
    """So that a long target outside every route is a 404, and one without credentials a 401."""
    target = b"/" + b"a" * (SETTINGS.max_target_bytes + 100)
    await talk(serving.url, lambda connection: connection.get(target))
    assert [delivery.target for delivery in serving.bridge.deliveries] == [target]
