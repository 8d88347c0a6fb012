"""Aurora's attempts as she counts them, and what the daemon says before a subscription is switched off."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.auto_disable.attempts import WARNED_AT
from aurora_bridge.auto_disable.guard import FILE
from tests.ops.rules.process import still
from tests.support import http
from tests.support.daemon import Daemon

WRONG: Final = [("X-Aurora-Webhook-Token", "wrong")]
GOOD: Final = [("X-Aurora-Webhook-Token", "good-token")]
RISK: Final = "aurora_bridge_auto_disable_risk"
FAILED: Final = WARNED_AT + 5


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on the embedded log that wants a token, with a route of its own, too."""
    (tmp_path / "tokens").write_text("good-token\n")
    (tmp_path / "settings.toml").write_text(
        '[[routes]]\nevent = "project_status_changed"\ntenant = "sunny"\n'
        'template = "/hooks/sold?project_id=<PROJECT_ID>&status=<STATUS>"\n'
    )
    with Daemon(
        tmp_path,
        auth__tokens_file=tmp_path / "tokens",
        config=tmp_path / "settings.toml",
        ingress__malformed_status=422,
    ) as daemon:
        yield daemon


def kept(daemon: Daemon) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Return what the state directory has: attempts, failures, and those in a row."""
    path = daemon.state / FILE
    rows = json.loads(path.read_text()) if path.exists() else []
    return {
        (route, event): (sum(bucket[1] for bucket in buckets), sum(bucket[2] for bucket in buckets), in_a_row)
        for route, event, in_a_row, _, buckets, _ in rows
    }


def risk(daemon: Daemon) -> float | None:
    try:
        return daemon.metrics().value(RISK, event="lead_created", route="default")
    except KeyError:
        return None


def test_a_wrong_token_is_a_risk_in_metrics_log_and_page_across_a_crash_until_one_success(daemon: Daemon) -> None:
    assert daemon.get("/lead_changed?lead_id=1", GOOD).status == 200
    assert {daemon.get(f"/lead_created?lead_id={number}").status for number in range(FAILED)} == {401}
    expected = {("default", "lead_changed"): (1, 0, 0), ("default", "lead_created"): (FAILED, FAILED, FAILED)}
    daemon.wait_until("it is written", lambda daemon: kept(daemon) == expected)
    for _ in range(2):
        daemon.wait_until("the risk is told", lambda daemon: risk(daemon) == 1)
        metrics = daemon.metrics()
        for name in ("attempts", "failed_attempts", "failed_attempts_in_a_row"):
            assert metrics.value(f"aurora_bridge_{name}", event="lead_created") == FAILED
        assert metrics.value(RISK, event="lead_changed") == 0
        page = http.get(daemon.admin_url, "/").body.decode()
        assert re.search(r"<title>Bad: Aurora may switch off the subscription of lead_created, at this rate in ", page)
        daemon.kill()
        daemon.start()
    said = [line for line in daemon.log_lines() if line["message"] == "Aurora may switch a subscription off"]
    assert [(line["event"], line["route"], line["in_a_row"]) for line in said[:2]] == [
        ("lead_created", "default", FAILED)
    ] * 2
    assert "one success ends the risk" in said[0]["remedy"]

    assert daemon.get("/lead_created?lead_id=0", GOOD).status == 200
    daemon.wait_until("the risk is over", lambda daemon: risk(daemon) == 0)
    page = http.get(daemon.admin_url, "/").body.decode()
    assert "may switch off" not in page
    assert "Of Aurora's attempts in the last 48 h" in page.replace("&#x27;", "'")


def test_a_restart_forgets_not_when_an_event_last_came(daemon: Daemon) -> None:
    last = "aurora_bridge_event_last_received_timestamp_seconds"
    assert daemon.get("/lead_changed?lead_id=1", GOOD).status == 200
    came = daemon.metrics().value(last, event="lead_changed")
    assert came > 0
    daemon.terminate()
    daemon.start()
    assert daemon.metrics().value(last, event="lead_changed") == pytest.approx(came, abs=1e-3)
    assert daemon.metrics().value(last, event="lead_created") == 0


def test_what_counts_as_auroras_attempt(daemon: Daemon) -> None:
    attempts = [
        ("/lead_created?lead_id=1", GOOD, 200),
        ("/lead_created?lead_id=1", GOOD, 200),  # the same again
        ("/lead_created?lead_id=%FF", GOOD, 422),  # a dead letter is its event's, too
        ("/hooks/sold?project_id=1&status=Sold", GOOD, 200),
        ("/hooks/sold?project_id=1&status=Sold", WRONG, 401),
        ("/something_new?a=1", GOOD, 200),
        ("/elsewhere/lead_changed?lead_id=1", GOOD, 404),
        ("/no/route?lead_id=1", GOOD, 404),
    ]
    others: list[tuple[str, http.Headers, int]] = [
        ("/wp-login.php", [], 404),
        ("/admin", [], 401),
        ("/hooks/sold?project_id=1&status=Sold", [], 401),  # where Aurora sends a credential
        ("/-/healthy", [], 200),
    ]
    for target, headers, status in attempts + others:
        assert daemon.get(target, headers).status == status
    assert daemon.get("/lead_created?lead_id=1", GOOD, method="POST").status == 405
    daemon.terminate()
    assert kept(daemon) == {
        ("default", "lead_created"): (3, 1, 1),
        ("/hooks/sold", "project_status_changed"): (2, 1, 1),
        ("default", "unrecognized"): (1, 0, 0),
        ("none", "lead_changed"): (1, 1, 1),
        ("none", "none"): (1, 1, 1),
    }


def test_attempts_have_the_tenant_of_their_route(daemon: Daemon) -> None:
    targets = ("/hooks/sold?project_id=1&status=Sold", "/lead_created?lead_id=1", "/elsewhere/lead_changed?lead_id=1")
    for target in targets:
        daemon.get(target, GOOD)

    def by_tenant(daemon: Daemon) -> dict[str, float]:
        series = daemon.metrics().items()
        return {dict(labels)["tenant"]: value for (name, labels), value in series if name == "aurora_bridge_attempts"}

    daemon.wait_until("each is told", lambda daemon: by_tenant(daemon) == {"sunny": 1, "default": 1, "none": 1})


def test_a_client_that_left_before_its_200_is_a_failure(daemon: Daemon) -> None:
    with http.Connection(daemon.url) as connection:
        with still(daemon.process):
            connection.send(http.request("/lead_created?lead_id=1", GOOD))
            connection.end()
        connection.receive()
    daemon.terminate()
    assert kept(daemon) == {("default", "lead_created"): (1, 1, 1)}
