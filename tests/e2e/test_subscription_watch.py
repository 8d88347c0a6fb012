"""The daemon looks at Aurora's subscriptions, here those of the simulator, and says what is wrong with them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest

from aurora_bridge.simulator.in_thread import Simulator, running
from aurora_bridge.webhook.catalogue import CATALOGUE
from tests.support import http
from tests.support.daemon import Daemon

CORE: Final = [name for name, event_type in CATALOGUE.items() if event_type.core]
GOOD: Final = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary-token"}
PROBLEMS: Final = "aurora_bridge_subscription_problems"
OWNER: Final = "/tenants/simulated/webhooks"


@pytest.fixture
def aurora() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def daemon(aurora: Simulator, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on the embedded log that looks every second, at a subscription of each core event."""
    (tmp_path / "tokens").write_text("canary-token\n")
    (tmp_path / "api-token").write_text(f"{aurora.token}\n")
    with Daemon(
        tmp_path,
        auth__tokens_file=tmp_path / "tokens",
        aurora__api_url=aurora.url,
        aurora__api_token_file=tmp_path / "api-token",
        aurora__tenant_id="simulated",
        aurora__poll_seconds=1,
    ) as daemon:
        yield daemon


def call(aurora: Simulator, method: str, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
    headers = {"Authorization": f"Bearer {aurora.token}"}
    request = Request(aurora.url + path, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - http
    with urlopen(request) as response:  # noqa: S310 - likewise
        return json.loads(response.read() or "null")


def problems(daemon: Daemon) -> dict[tuple[str, str], float]:
    found = {}
    for (name, labels), count in daemon.metrics().items():
        if name == PROBLEMS and count:
            about = dict(labels)
            found[about["event"], about["problem"]] = count
    return found


def until(daemon: Daemon, expected: dict[tuple[str, str], float]) -> None:
    daemon.wait_until(f"the problems are {expected}", lambda daemon: problems(daemon) == expected)


def seen_at(daemon: Daemon) -> float:
    return daemon.metrics().value("aurora_bridge_aurora_api_last_success_timestamp_seconds")


def title(daemon: Daemon) -> str:
    page = http.get(daemon.admin_url, "/").body.decode()
    return page.partition("<title>")[2].partition("</title>")[0].replace("&#x27;", "'")


def said(daemon: Daemon, message: str) -> list[dict[str, Any]]:
    return [line for line in daemon.log_lines() if line["message"] == message]


def subscribe(daemon: Daemon, aurora: Simulator, event: str, **fields: str) -> str:
    return aurora.subscribe(event, daemon.url, **(fields or GOOD))


def subscribe_to_all(daemon: Daemon, aurora: Simulator) -> dict[str, str]:
    ids = {event: subscribe(daemon, aurora, event) for event in CORE}
    until(daemon, {})
    return ids


@pytest.mark.proves("To Aurora: the daemon changes nothing in Aurora")
def test_a_subscription_that_is_off_is_told_until_it_is_on_again(daemon: Daemon, aurora: Simulator) -> None:
    ids = subscribe_to_all(daemon, aurora)
    assert title(daemon).startswith("Good: ")
    daemon.wait_until(
        "all were seen",
        lambda daemon: daemon.metrics().value("aurora_bridge_subscriptions", state="enabled") == len(CORE),
    )

    one = f"{OWNER}/{ids['lead_created']}"
    call(aurora, "PUT", one, {"webhook": {"enabled": False}})
    until(daemon, {("lead_created", "switched_off"): 1})
    assert daemon.metrics().value("aurora_bridge_subscriptions", state="disabled", event="lead_created") == 1
    assert title(daemon).startswith("Bad: Aurora's subscription of lead_created is off: nothing arrives from it")
    (line,) = said(daemon, "problem with Aurora's subscriptions")[-1:]
    assert (line["problem"], line["subscription"]) == ("switched_off", f"{ids['lead_created']}, lead_created")
    assert "aurora-bridge subscriptions reenable" in line["remedy"]
    assert aurora.trigger("lead_created") == [], "the daemon switches nothing on by itself"

    call(aurora, "PUT", one, {"webhook": {"enabled": True}})
    until(daemon, {})
    assert title(daemon).startswith("Good: ")
    (line,) = said(daemon, "solved: problem with Aurora's subscriptions")[-1:]
    assert line["subscription"] == f"{ids['lead_created']}, lead_created"


@pytest.mark.proves("To Aurora: trying a subscription counts no use of a credential")
@pytest.mark.proves("To Aurora: neither the key nor a secret in a template is in the log")
def test_what_would_not_arrive_is_told_before_it_is_sent(daemon: Daemon, aurora: Simulator) -> None:
    ids = subscribe_to_all(daemon, aurora)
    for event, fields in {
        "lead_created": {"url_template": f"{daemon.url}/hooks/lead_created?lead_id=<LEAD_ID>&token=canary-parameter"},
        "lead_changed": {"url_template": f"{daemon.url}/lead_changed"},
        "project_created": {"header_auth_key": "X-Other", "header_auth_value": "canary-token"},
        "project_deleted": {"header_auth_key": "", "header_auth_value": ""},
        "project_status_changed": {"filters": {"<STATUS>": ["Sold"]}},
    }.items():
        call(aurora, "PUT", f"{OWNER}/{ids[event]}", {"webhook": fields})
    call(aurora, "DELETE", f"{OWNER}/{ids['asset_created']}", {})
    until(
        daemon,
        {
            ("lead_created", "no_route"): 1,
            ("lead_changed", "dead_letter"): 1,
            ("project_created", "unauthorized"): 1,
            ("project_deleted", "unauthorized"): 1,
            ("project_status_changed", "hidden_state"): 1,
            ("asset_created", "not_covered"): 1,
        },
    )
    page = http.get(daemon.admin_url, "/").body.decode()
    assert "or add a route for this one" in page
    assert "canary" not in page + daemon.log.read_text() + repr(daemon.metrics())
    assert daemon.metrics().value("aurora_bridge_credentials_used_total") == 0, "to look is no delivery"


@pytest.mark.proves("To Aurora: an API that fails holds up no webhook")
def test_while_the_api_fails_the_daemon_takes_webhooks_and_what_was_seen_stays(
    daemon: Daemon, aurora: Simulator
) -> None:
    subscribe_to_all(daemon, aurora)
    call(aurora, "POST", "/_fail", {"status": 500, "times": 2})

    def failed(daemon: Daemon) -> bool:
        return daemon.metrics().value("aurora_bridge_aurora_api_errors_total", reason="server_error") == 2

    daemon.wait_until("it has failed twice", failed)
    before = seen_at(daemon)
    (delivery,) = aurora.trigger("lead_created")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [200]
    daemon.wait_until("it is seen again", lambda daemon: seen_at(daemon) > before)
    assert len(said(daemon, "Aurora's subscriptions cannot be listed")) == 1
    assert len(said(daemon, "Aurora's subscriptions can be listed again")) == 1


@pytest.mark.proves("To Aurora: neither the key nor a secret in a template is in the log")
@pytest.mark.proves("Where each secret lives: the key of Aurora's API")
def test_a_key_that_is_not_valid_is_told_and_a_new_one_taken_without_a_restart(
    daemon: Daemon, aurora: Simulator, tmp_path: Path
) -> None:
    subscribe_to_all(daemon, aurora)
    (tmp_path / "api-token").write_text("canary-wrong\n")
    daemon.wait_until("it is told", lambda daemon: said(daemon, "Aurora's subscriptions cannot be listed"))
    (line,) = said(daemon, "Aurora's subscriptions cannot be listed")
    assert line["reason"] == "unauthorized"
    assert "AURORA__API_TOKEN_FILE" in line["remedy"]
    page = http.get(daemon.admin_url, "/").body.decode().replace("&#x27;", "'")
    assert "Aurora's subscriptions cannot be listed, the last time was " in page
    assert "canary" not in page + daemon.log.read_text() + repr(daemon.metrics())
    (tmp_path / "api-token").write_text(f"{aurora.token}\n")
    daemon.wait_until("it works", lambda daemon: said(daemon, "Aurora's subscriptions can be listed again"))


@pytest.mark.proves("To Aurora: without a key")
def test_without_a_key_and_with_0_seconds_it_never_asks(aurora: Simulator, tmp_path: Path) -> None:
    (tmp_path / "api-token").write_text("canary-wrong\n")
    with Daemon(
        tmp_path,
        aurora__api_url=aurora.url,
        aurora__api_token_file=tmp_path / "api-token",
        aurora__tenant_id="simulated",
        aurora__poll_seconds=0,
    ) as daemon:
        assert daemon.get("/lead_created?lead_id=1").status == 200
        assert not [name for name, _ in daemon.metrics() if name == PROBLEMS]
        assert "Subscriptions in Aurora" not in http.get(daemon.admin_url, "/").body.decode()
        assert daemon.terminate() == 0
    assert not said(daemon, "Aurora's subscriptions cannot be listed")
