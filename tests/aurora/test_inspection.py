"""What is said of the subscriptions that Aurora has."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from aurora_bridge.aurora.checks import Check
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES, Inspection, State, inspect
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.daemon import make_metrics
from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import Settings, SubscriptionSettings
from aurora_bridge.suggested_templates import default_template
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.credentials import Uses

HERE: Final = "https://hooks.example.com"
CORE: Final = [name for name, event_type in CATALOGUE.items() if event_type.core]


class Bridge:
    """A bridge with a token, a Basic pair and the default route; `uses` counts what let deliveries in."""

    def __init__(self, folder: Path, **settings: Any) -> None:  # noqa: ANN401
        (folder / "tokens").write_text("old-token\nthe-token\n")
        (folder / "pairs").write_text("aurora:the-password\n")
        auth = {"tokens_file": folder / "tokens", "basic_file": folder / "pairs"}
        self.settings = Settings(**{"auth": auth, "ingress": {"public_url": HERE}, **settings})
        metrics = Metrics()
        self.uses: Uses = metrics.credentials_used
        routes = make_routing(self.settings, SecretFiles(metrics), metrics).routes
        self._receiver = Receiver(self.settings, routes)

    def subscription(self, event: str, **fields: Any) -> Subscription:  # noqa: ANN401
        """Return a good one, but for `fields`."""
        good = Subscription(
            f"id-{event}",
            event,
            default_template(event, self.settings),
            enabled=True,
            description="",
            filters={},
            header_auth_key="X-Aurora-Webhook-Token",
            basic_auth_username="",
            secret_is_set=True,
        )
        return replace(good, **fields)

    def all(self, *others: Subscription) -> list[Subscription]:
        """Return one of each core event, `others` in the place of theirs."""
        instead = {one.event for one in others}
        return [*others, *(self.subscription(event) for event in CORE if event not in instead)]

    def inspect(self, subscriptions: Sequence[Subscription], **table: Any) -> Inspection:  # noqa: ANN401
        tables = [SubscriptionSettings(**table)] if table else []
        return inspect(subscriptions, tables, self._receiver)


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(tmp_path)


def test_nothing_is_wrong_with_a_good_one_of_each_core_event(bridge: Bridge) -> None:
    inspection = bridge.inspect(bridge.all())
    assert inspection.findings == []
    assert inspection.counts == {(event, State.ENABLED): 1 for event in CORE}


@pytest.mark.proves("To Aurora: trying a subscription counts no use of a credential")
def test_to_look_counts_no_use_of_a_credential(bridge: Bridge) -> None:
    bridge.inspect(bridge.all())
    assert set(bridge.uses.values()) == {0}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"enabled": False}, Check.SWITCHED_OFF),
        ({"url_template": f"{HERE}/hooks/lead_created?lead_id=<LEAD_ID>"}, Check.NO_ROUTE),
        ({"url_template": f"{HERE}/lead_changed?lead_id=<LEAD_ID>"}, Check.WRONG_EVENT),
        ({"url_template": f"{HERE}/lead_created"}, Check.DEAD_LETTER),
        ({"url_template": f"{HERE}/lead_created?lead_id=<LEAD_ID>&a=<WHATEVER>"}, Check.UNKNOWN_PLACEHOLDER),
        ({"header_auth_key": "X-Other"}, Check.UNAUTHORIZED),
        ({"header_auth_key": "", "basic_auth_username": "somebody"}, Check.UNAUTHORIZED),
        ({"header_auth_key": ""}, Check.UNAUTHORIZED),
    ],
    ids=str,
)
def test_what_is_wrong_with_one_is_told_of_its_event_with_a_remedy(
    bridge: Bridge, fields: dict[str, Any], problem: Check
) -> None:
    inspection = bridge.inspect(bridge.all(bridge.subscription("lead_created", **fields)))
    assert inspection.problems == {("lead_created", problem): 1}
    (finding,) = inspection.findings
    assert finding.where == "id-lead_created, lead_created"
    assert SUBSCRIPTION_REMEDIES[finding.check]


def test_every_problem_has_a_remedy_and_is_a_label() -> None:
    labels = {key[1] for key in make_metrics().subscription_problems}
    assert labels == {check.value for check in SUBSCRIPTION_REMEDIES}
    of_plans = {Check.ELSEWHERE, Check.HIDDEN_SECRET, Check.NO_SECRET, Check.NOT_SHOWN, Check.TOO_MANY, Check.LEADS}
    assert set(Check) - of_plans == set(SUBSCRIPTION_REMEDIES)


@pytest.mark.parametrize(
    "fields",
    [
        {"header_auth_key": "x-aurora-webhook-token"},
        {"header_auth_key": "", "basic_auth_username": "aurora"},
        {"header_auth_key": None},
        {"basic_auth_username": None},
        {"enabled": None},
    ],
    ids=str,
)
def test_what_the_route_takes_and_what_aurora_does_not_show_is_nothing_wrong(
    bridge: Bridge, fields: dict[str, Any]
) -> None:
    assert bridge.inspect(bridge.all(bridge.subscription("lead_created", **fields))).findings == []


def test_whether_basic_is_taken_is_not_known_while_its_file_cannot_be_read(bridge: Bridge, tmp_path: Path) -> None:
    (tmp_path / "pairs").unlink()
    by_basic = bridge.subscription("lead_created", header_auth_key="", basic_auth_username="aurora")
    assert bridge.inspect(bridge.all(by_basic)).findings == []


def test_where_no_credential_is_needed_none_is_wrong(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, auth={"allow_anonymous": True})
    assert bridge.inspect(bridge.all(bridge.subscription("lead_created", header_auth_key=""))).findings == []


def test_a_filter_that_hides_states_is_told_unless_its_route_knows(tmp_path: Path) -> None:
    template = "/sold?project_id=<PROJECT_ID>&status=<STATUS>"
    for filtered, expected in ((True, {}), (False, {("project_status_changed", Check.HIDDEN_STATE): 1})):
        route = {"template": template, "event": "project_status_changed", "filtered": filtered}
        bridge = Bridge(tmp_path, routes=[route])
        one = bridge.subscription(
            "project_status_changed", url_template=HERE + template, filters={"status": frozenset({"Sold"})}
        )
        assert bridge.inspect(bridge.all(one)).problems == expected


def test_two_that_deliver_the_same_are_told(bridge: Bridge) -> None:
    other = bridge.subscription("lead_created", id="other")
    assert bridge.inspect([*bridge.all(), other]).problems == {("lead_created", Check.TWICE): 1}


def test_events_that_nobody_subscribed_to_are_told_unless_they_are_left_out(bridge: Bridge) -> None:
    most = [one for one in bridge.all() if one.event not in {"lead_created", "lead_changed"}]
    assert bridge.inspect(most).problems == {
        ("lead_created", Check.NOT_COVERED): 1,
        ("lead_changed", Check.NOT_COVERED): 1,
    }
    left_out = {"events": ["lead_created", "lead_changed"], "left_out": True}
    assert bridge.inspect(most, **left_out).findings == []
    problems = bridge.inspect(bridge.all(), **left_out).problems
    assert problems == {("lead_created", Check.LEFT_OUT): 1, ("lead_changed", Check.LEFT_OUT): 1}


def test_what_is_missing_is_not_known_where_aurora_does_not_show_every_event(bridge: Bridge) -> None:
    assert bridge.inspect([Subscription("id-1")]).findings == []


def test_one_to_another_host_is_somebody_elses(bridge: Bridge) -> None:
    elsewhere = "https://other.example.com/a?b=<C>"
    theirs = bridge.subscription("lead_created", id="theirs", url_template=elsewhere, enabled=False)
    inspection = bridge.inspect([*bridge.all(), theirs])
    assert inspection.findings == []
    assert inspection.counts["lead_created", State.ELSEWHERE] == 1


def test_one_that_the_settings_want_off_is_not_wrong_and_its_event_not_missing(bridge: Bridge) -> None:
    off = bridge.all(bridge.subscription("lead_created", enabled=False, url_template=f"{HERE}/nowhere/at/all"))
    wanted = {"events": ["lead_created"], "enabled": False}
    assert bridge.inspect(off, **wanted).findings == []
    assert bridge.inspect(off, **wanted, id="id-lead_created").findings == []
    assert bridge.inspect(off, **wanted, id="another").silent == ["lead_created"]


def test_an_event_is_silent_if_all_of_its_subscriptions_are_off(bridge: Bridge) -> None:
    off = bridge.subscription("lead_created", enabled=False)
    assert bridge.inspect(bridge.all(off)).silent == ["lead_created"]
    assert bridge.inspect([*bridge.all(), replace(off, id="other")]).silent == []


@pytest.mark.proves("To Aurora: no text from Aurora becomes the label of a metric")
def test_an_event_that_the_bridge_does_not_know_makes_no_label_and_no_silence(bridge: Bridge) -> None:
    unknown = Subscription("id-1", "whatever_happened", f"{HERE}/whatever_happened?a=<A>", enabled=False)
    inspection = bridge.inspect([*bridge.all(), unknown])
    assert inspection.problems == {("unrecognized", Check.SWITCHED_OFF): 1}
    assert inspection.counts["unrecognized", State.DISABLED] == 1
    assert inspection.silent == []
