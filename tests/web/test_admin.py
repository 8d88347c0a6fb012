"""The operators' port: status page, probes and metrics."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from aurora_bridge.build import BUILD
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import AdminSettings
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.server import admin
from aurora_bridge.webhook.catalogue import EVENTS
from tests.support.html import Page
from tests.support.http import Connection, Response, request
from tests.web.serving import BridgeDouble, talk
from tests.web.statuses import QUIET

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL")
OF_THE_PROCESS = (b"process_", b"python_")
"""Lines of the metrics that change by themselves."""


class Operating:
    """The admin port, over a Kafka that may be away and no spool."""

    def __init__(self) -> None:
        self.url = ""
        self.missing: list[str] = []
        self.metrics = Metrics(version="1.2.3")
        kafka = cast("Sender", SimpleNamespace(missing=lambda: self.missing, problems=()))
        self.readiness = Readiness(BridgeDouble(), kafka, None)


@pytest.fixture
async def operating() -> AsyncIterator[Operating]:
    operating = Operating()
    async with admin(operating.readiness, operating.metrics, lambda: QUIET, AdminSettings(port=0)) as operating.url:
        yield operating


async def test_the_status_page_is_at_the_root_and_stands_still_when_asked(operating: Operating) -> None:
    pages = await talk(operating.url, lambda connection: [connection.get(target) for target in ("/", "/?still")])
    assert [page.headers["content-type"] for page in pages] == ["text/html; charset=utf-8"] * 2
    refreshing = [{"http-equiv": "refresh", "content": "15"} in Page(page.body.decode()).of("meta") for page in pages]
    assert refreshing == [True, False]


async def test_livez_says_that_the_event_loop_is_alive(operating: Operating) -> None:
    response = await talk(operating.url, lambda connection: connection.get("/livez"))
    assert (response.status, response.json) == (200, {"alive": True})


async def test_readyz_says_whether_events_can_be_accepted_and_why_not(operating: Operating) -> None:
    ready = await talk(operating.url, lambda connection: connection.get("/readyz"))
    operating.missing += [f"aurora.{event}" for event in EVENTS]
    not_ready = await talk(operating.url, lambda connection: connection.get("/readyz"))
    assert (ready.status, ready.json["ready"]) == (200, True)
    assert (not_ready.status, not_ready.json["ready"]) == (503, False)
    assert f"aurora.{EVENTS[0]}" in not_ready.json["reasons"][0]


async def test_a_metric_says_the_same_as_readyz(operating: Operating) -> None:
    for missing in ([], [f"aurora.{event}" for event in EVENTS]):
        operating.missing[:] = missing
        ready, metrics = await talk(
            operating.url, lambda connection: [connection.get(path) for path in ("/readyz", "/metrics")]
        )
        assert f"\naurora_bridge_ready {1.0 if ready.status == 200 else 0.0}\n" in metrics.body.decode()
        assert ready.status == (503 if missing else 200)


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        (None, "text/plain", parse_text),
        ("*/*", "text/plain", parse_text),
        ("text/plain", "text/plain", parse_text),
        (OPENMETRICS, "application/openmetrics-text", parse_openmetrics),
        (f"{OPENMETRICS};q=0.9, text/plain;q=0.1", "application/openmetrics-text", parse_openmetrics),
    ],
)
async def test_metrics_come_in_the_format_that_was_asked_for(
    operating: Operating,
    accept: str | None,
    content_type: str,
    parse: Any,  # noqa: ANN401 - either of two parsers
) -> None:
    headers = [] if accept is None else [("Accept", accept)]
    response = await talk(operating.url, lambda connection: connection.get("/metrics", headers))
    assert (response.status, response.headers["content-type"].partition(";")[0]) == (200, content_type)
    families = {family.name: family for family in parse(response.body.decode())}
    (build,) = families["aurora_bridge_build_info"].samples
    assert (build.labels, build.value) == ({"version": "1.2.3", "build": BUILD}, 1)


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/livez", "//livez"),
        ("/livez", "/livez/?a"),
        ("/readyz", "http://bridge.example/readyz"),
        ("/?still", "//?still"),
    ],
)
async def test_a_slash_more_or_a_scheme_and_a_host_make_no_difference(
    operating: Operating, path: str, other: str
) -> None:
    bodies = await talk(operating.url, lambda connection: [connection.get(target).body for target in (path, other)])
    assert bodies[0] == bodies[1]


@pytest.mark.proves("An attacker cannot: have an answer kept by a cache")
@pytest.mark.parametrize(
    "data",
    [
        *(request(path) for path in ("/", "/livez", "/readyz", "/metrics", "/none")),
        request("/livez", method="POST"),
        b"canary\r\n\r\n",
    ],
    ids=lambda data: ascii(data)[:20],
)
async def test_no_answer_may_be_kept_by_a_cache(operating: Operating, data: bytes) -> None:
    def converse(connection: Connection) -> str | None:
        connection.send(data)
        return connection.receive().headers.get("cache-control")

    assert await talk(operating.url, converse) == "no-store"


async def test_what_is_no_http_is_a_400_that_repeats_nothing_of_it(operating: Operating) -> None:
    def converse(connection: Connection) -> Response:
        connection.send(b"GET /can ary HTTP/1.1\r\n\r\n")
        return connection.receive()

    response = await talk(operating.url, converse)
    assert (response.status, response.json) == (400, {"reason": "malformed_http"})


async def test_a_fault_of_ours_is_a_500_and_the_other_pages_are_there(operating: Operating) -> None:
    operating.metrics.ready.source = None
    with patch.object(Readiness, "report", side_effect=ZeroDivisionError("canary")):
        answers = await talk(
            operating.url, lambda connection: [connection.get(path) for path in ("/readyz", "/livez", "/metrics")]
        )
    assert [answer.status for answer in answers] == [500, 200, 200]
    assert b"canary" not in answers[0].body


async def test_a_scrape_that_is_read_slowly_comes_whole(operating: Operating) -> None:
    """It is larger than what a client may leave unread of answers before."""
    for number in range(3000):
        operating.metrics.secret_file_reloads[f"file-{number}"] = 0

    def converse(connection: Connection) -> int:
        connection.send(request("/metrics"))
        return len(connection.receive().body)

    assert await talk(operating.url, converse) > 200_000


async def test_silent_connections_keep_no_probe_out(operating: Operating) -> None:
    clients = [await asyncio.open_connection(*operating.url.removeprefix("http://").split(":")) for _ in range(200)]
    assert (await talk(operating.url, lambda connection: connection.get("/livez"))).status == 200
    assert operating.metrics.connections_dropped["admin", "limit"] > 100
    for _, writer in clients:
        writer.close()


@pytest.mark.proves("Admin port and control socket: it changes nothing by any method")
async def test_nothing_else_is_there(operating: Operating) -> None:
    paths = ("/status", "/lead_changed", "/livez/x", "/metrics/x", "/debug", "/config", "/-/reload", "/-/quit", "/%2F")
    statuses = await talk(
        operating.url,
        lambda connection: [connection.get(path, method=method).status for path in paths for method in METHODS],
    )
    assert set(statuses) == {404}


@pytest.mark.proves("Admin port and control socket: it changes nothing by any method")
@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics"])
async def test_nothing_but_a_look_can_be_asked_for(operating: Operating, path: str) -> None:
    answers = await talk(
        operating.url,
        lambda connection: {method: connection.get(path, method=method) for method in METHODS},
    )
    looks = {method for method, answer in answers.items() if answer.status == 200}
    others = {(answer.status, answer.headers["allow"]) for method, answer in answers.items() if method not in looks}
    assert (looks, others) == ({"GET", "HEAD"}, {(405, "GET,HEAD")})


@pytest.mark.proves("Admin port and control socket: it changes nothing by any method")
async def test_a_look_changes_nothing(operating: Operating) -> None:
    """Not what the next one is told, however it is asked, and whatever it brings along."""
    body = b"ready=false&stopping=true"
    asked = [
        request(path + query, [("Content-Length", str(len(body)))]) + body
        for path in ("/", "/livez", "/readyz", "/metrics")
        for query in ("", "?still", "?ready=false", "?name[]=x&_method=DELETE")
    ]

    def looks(connection: Connection) -> list[bytes]:
        documents = [connection.get(path).body for path in ("/", "/readyz", "/metrics")]
        return [line for text in documents for line in text.splitlines() if not line.startswith(OF_THE_PROCESS)]

    def converse(connection: Connection) -> tuple[list[bytes], list[bytes]]:
        before = looks(connection)
        for data in asked:
            connection.send(data)
            assert connection.receive().status == 200
        return before, looks(connection)

    before, after = await talk(operating.url, converse)
    assert before == after
    assert any(b"aurora_bridge_refusals_total" in line for line in after)
