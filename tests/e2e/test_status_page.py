"""The status page of a real daemon in the states in which people look at it."""

import re
from collections.abc import Iterator

import pytest

from aurora_bridge.webhook.catalogue import EVENTS
from tests.support import http
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.html import Page
from tests.support.states import states
from tests.support.topics import delete_topics, topic_names, unique_prefix


@pytest.fixture(scope="module")
def pages(kafka1: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, http.Response]]:
    """The page in each state, by the state's name."""
    prefix = unique_prefix()
    found = states(tmp_path_factory.mktemp("status"), kafka1.nodes[0], prefix)
    pages = {state: http.get(daemon.admin_url, "/") for state, daemon in found}
    kafka1.restore()
    yield pages
    delete_topics(kafka1.bootstrap, *topic_names(kafka1.bootstrap, prefix))


@pytest.mark.proves("Admin port and control socket: its page runs no script and loads nothing from elsewhere")
@pytest.mark.parametrize("state", ["fresh", "busy", "kafka-down", "spool-full"])
def test_it_is_plain_html_with_a_strict_policy_in_every_state(pages: dict[str, http.Response], state: str) -> None:
    response = pages[state]
    read = Page(response.body.decode())
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert len(read.of("code")) > 15


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("fresh", "Good: Nothing is being lost."),
        ("fresh", f"State connected Topics with leaders {len(EVENTS)} of {len(EVENTS)}"),
        ("fresh", "Not received since the start: 38"),
        ("busy", "Look: Nothing that was let in is being lost, but requests are refused that may be Aurora's."),
        ("busy", "lead_changed 0 s ago has leaders 0 41 0"),
        ("busy", "project_created 0 s ago has leaders 0 42 1"),
        ("busy", "published acknowledged by Kafka 123"),
        ("busy", "unauthorized 1 0 s ago No credential, or a wrong one."),
        ("busy", "unfilled_placeholder 21 Aurora does not know a placeholder"),
        ("busy", "A delivery became a dead letter: conflicting_values, 0 s ago."),
        ("busy", "The last 20"),
        ("busy", "conflicting_values default"),
        ("busy", "https://hooks.example.com/acme/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&token=***"),
        ("busy", "tokens, header, 2 1"),
        ("kafka-down", "Look: Nothing is lost: events wait in the spool while Kafka is away."),
        ("kafka-down", "unreachable. No connection; is it up"),
        ("kafka-down", f"State not connected Topics with leaders 0 of {len(EVENTS)}"),
        ("kafka-down", "Waiting for Kafka 12 events"),
        ("kafka-down", "project_status_changed 0 s ago no leader 12 12 0"),
        ("spool-full", "Bad: Webhooks are being refused: the spool is full, and Kafka is away."),
        ("spool-full", "Bring Kafka back, make room on the volume, or raise SPOOL__MAX_BYTES and restart the daemon."),
        ("spool-full", "State full"),
        ("spool-full", "spool_full 10 0 s ago"),
    ],
)
def test_it_says_what_is_so(pages: dict[str, http.Response], state: str, said: str) -> None:
    text = re.sub(r"\b\d+ s ago", "0 s ago", Page(pages[state].body.decode()).text)
    assert said in text


@pytest.mark.proves("An attacker cannot: put markup into the status page")
def test_no_secret_is_on_it_and_nothing_of_a_request_is_markup(pages: dict[str, http.Response]) -> None:
    for response in pages.values():
        assert b"canary" not in response.body.lower()
        assert b"<script" not in response.body
        assert b"alert(" not in response.body


def test_it_is_there_on_the_embedded_log_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Daemon(tmp_path_factory.mktemp("embedded")) as daemon:
        daemon.get("/lead_changed?lead_id=1")
        text = Page(http.get(daemon.admin_url, "/?still").body.decode()).text
    assert "Good: Nothing is being lost: without a Kafka, events are kept in the embedded log." in text
    assert "Kept 1 event" in text
