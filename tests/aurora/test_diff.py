"""What would change: which subscription is which, what differs, and what is left alone."""

from pathlib import Path

import pytest

from aurora_bridge.aurora.diff import Change, Difference, plan
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.subscription import Subscription
from tests.aurora.in_memory import TOKENS, Aurora, Bridge, table

LEAD = {"event": "lead_created", "url_template": "https://hooks.example.com/lead_created?lead_id=<LEAD_ID>"}
HEADER = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary-old"}
TABLE = table(events='["lead_created"]')


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(tmp_path, TOKENS)


def differences(change: Change) -> dict[str, tuple[str, str | None]]:
    return {name: (before, after) for name, before, after in change.differences}


def test_what_is_as_it_is_wanted_does_not_change(bridge: Bridge) -> None:
    planned = bridge.plan(TABLE, Aurora({**LEAD, **HEADER, "description": "by hand"}))
    assert (planned.changes, planned.unmanaged, planned.not_compared) == ([], [], {"secret": 1})


@pytest.mark.parametrize("template", ["https://[", "https://a\u2100b.example.com/"])
def test_a_template_of_somebody_elses_that_is_no_url_is_left_alone(bridge: Bridge, template: str) -> None:
    theirs = Subscription("w-1", event="lead_created", url_template=template)
    wanted = bridge.wanted(TABLE).subscriptions
    planned = plan(wanted, [theirs], bridge.redact)
    assert ([one.kind for one in planned.changes], planned.unmanaged) == (["create"], [theirs])


def test_what_is_missing_is_created_with_its_secret(bridge: Bridge) -> None:
    (change,) = bridge.plan(table(events='["lead_created"]', filters='{ SOURCE = ["api"] }'), Aurora()).changes
    assert change.body() == {
        **LEAD,
        "description": "aurora-bridge",
        "enabled": True,
        "filters": {"<SOURCE>": ["api"]},
        "header_auth_key": "X-Aurora-Webhook-Token",
        "header_auth_value": "canary-new",
    }
    assert "canary" not in repr(change)


def test_only_what_differs_is_sent(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER, "filters": {"<SOURCE>": ["api"]}, "description": "old"})
    (change,) = bridge.plan(table(events='["lead_created"]', description='"new"', enabled="false"), aurora).changes
    assert change.body() == {"filters": {}, "description": "new", "enabled": False}
    assert differences(change) == {
        "filters": ("<SOURCE>: api", "none"),
        "description": ("'old'", "'new'"),
        "enabled": ("true", "false"),
    }


@pytest.mark.parametrize(
    ("has", "keys", "body"),
    [
        ({}, {}, HEADER),
        (
            {"basic_auth_username": "u", "basic_auth_password": "p"},
            {},
            {**HEADER, "basic_auth_username": "", "basic_auth_password": ""},
        ),
        (HEADER, {"authentication": '"none"'}, {"header_auth_key": "", "header_auth_value": ""}),
        (
            HEADER,
            {"basic_username": '"bridge"', "basic_file": '"basic"'},
            {
                "header_auth_key": "",
                "header_auth_value": "",
                "basic_auth_username": "bridge",
                "basic_auth_password": "canary-new",
            },
        ),
    ],
)
def test_one_credential_takes_the_place_of_another(
    bridge: Bridge, has: dict[str, str], keys: dict[str, str], body: dict[str, str]
) -> None:
    (change,) = bridge.plan(table(events='["lead_created"]', **keys), Aurora({**LEAD, **has})).changes
    if body.get("header_auth_value"):
        body = {**body, "header_auth_value": "canary-new"}
    assert change.body() == body


def test_secrets_are_sent_again_only_when_that_is_asked_for(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER, "header_auth_key": "x-aurora-webhook-token"})  # names of headers have no case
    assert bridge.plan(TABLE, aurora).changes == []
    (change,) = bridge.plan(TABLE, aurora, resend_credentials=True).changes
    assert change.body() == {**HEADER, "header_auth_value": "canary-new"}


def test_a_template_with_another_secret_differs_without_showing_it(tmp_path: Path) -> None:
    route = '[[routes]]\ntemplate = "/x?id=<LEAD_ID>&key=HERE"\nevent = "lead_created"\nquery_parameter = "key"\n'
    bridge = Bridge(tmp_path, TOKENS + route)
    aurora = Aurora(
        {"event": "lead_created", "url_template": "https://hooks.example.com/x?id=<LEAD_ID>&key=canary-old"}
    )
    (change,) = bridge.plan(TABLE, aurora).changes
    shown = "https://hooks.example.com/x?id=<LEAD_ID>&key=***"
    assert change.differences == [Difference("url_template", shown, f"{shown} (with another secret)")]
    as_it_is = table(events='["lead_created"]', url_template=f'"{shown}"')
    assert bridge.plan(as_it_is, aurora).changes == []


def test_one_that_is_off_stays_off(bridge: Bridge) -> None:
    assert bridge.plan(TABLE, Aurora({**LEAD, **HEADER, "enabled": False})).changes == []


def test_what_aurora_does_not_show_is_not_compared(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER, "enabled": True})
    aurora.hidden = frozenset({"filters", "description", "enabled", "header_auth_key", "basic_auth_username"})
    keys = {"filters": '{ SOURCE = ["api"] }', "description": '"x"', "enabled": "false"}
    planned = bridge.plan(table(events='["lead_created"]', **keys), aurora)
    assert planned.changes == []
    assert planned.not_compared == {"filters": 1, "description": 1, "enabled": 1, "authentication": 1}


def test_an_id_is_the_surest_and_one_that_is_gone_is_ignored(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER}, {"event": "lead_created", "url_template": "https://old.example.com/"})
    (change,) = bridge.plan(table(events='["lead_created"]', id='"w-2"'), aurora).changes
    assert (change.kind, change.id) == ("update", "w-2")
    planned = bridge.plan(table(events='["lead_created"]', id='"w-9"'), aurora)
    assert (planned.changes, planned.not_there) == ([], ["w-9"])


def test_a_template_that_changed_is_known_by_a_description_that_leaves_no_choice(bridge: Bridge) -> None:
    old = {"event": "lead_created", "url_template": "https://old.example.com/", "description": "ours", **HEADER}
    wanted = table(events='["lead_created"]', description='"ours"')
    (change,) = bridge.plan(wanted, Aurora(old)).changes
    assert change.fields == {"url_template": LEAD["url_template"]}
    (change,) = bridge.plan(wanted, Aurora(old, old)).changes
    assert change.kind == "create"


def test_a_wrong_template_on_the_bridges_host_is_fixed_in_place(bridge: Bridge) -> None:
    wrong = {**LEAD, **HEADER, "url_template": "https://Hooks.example.com/leads?lead=<LEAD_ID>"}
    elsewhere = {**LEAD, "url_template": "https://crm.example.com/lead_created?lead_id=<LEAD_ID>"}
    planned = bridge.plan(TABLE, Aurora(elsewhere, wrong))
    assert [(change.kind, change.id) for change in planned.changes] == [("update", "w-2")]
    assert [one.id for one in planned.unmanaged] == ["w-1"]
    planned = bridge.plan(TABLE, Aurora(wrong, {**wrong, "url_template": "https://hooks.example.com/new_leads"}))
    assert [change.kind for change in planned.changes] == ["create"]


def test_a_legacy_name_is_the_same_event(bridge: Bridge) -> None:
    name, legacy = "auto_designer_job_completed", "auto_designer_job_completion"
    (change,) = bridge.plan(table(events=f'["{name}"]'), Aurora()).changes
    aurora = Aurora({**HEADER, "event": legacy, "url_template": str(change.fields["url_template"])})
    assert bridge.plan(table(events=f'["{name}"]'), aurora).changes == []


def test_nothing_is_deleted_that_is_not_named(bridge: Bridge) -> None:
    aurora = Aurora(LEAD, {**LEAD, "event": "lead_changed"})
    assert [one.id for one in bridge.plan(table(events='["project_deleted"]'), aurora).unmanaged] == ["w-1", "w-2"]
    planned = bridge.plan(table(events='["project_deleted"]'), aurora, delete=["w-2", "w-7"])
    assert [(change.kind, change.id) for change in planned.changes] == [("create", ""), ("delete", "w-2")]
    assert [one.id for one in planned.unmanaged] == ["w-1"]


def test_a_deletion_makes_room_where_an_event_has_none(bridge: Bridge) -> None:
    others = [{**LEAD, "url_template": f"https://hooks.example.com/{number}"} for number in range(5)]
    planned = bridge.plan(TABLE, Aurora(*others), delete=["w-3"])
    assert [change.kind for change in planned.changes] == ["delete", "create"]


async def test_a_plan_goes_on_after_a_failure_and_stops_where_all_would_fail(bridge: Bridge) -> None:
    toml = table(events='["lead_created", "lead_changed", "lead_converted"]')
    aurora = Aurora()
    aurora.failures = [AuroraError(ApiReason.INVALID, "POST /", "refused")]
    applied = await bridge.apply(toml, aurora)
    assert (applied.done, len(applied.failures), applied.not_tried) == (2, 1, 0)
    aurora.failures = [AuroraError(ApiReason.UNAUTHORIZED, "POST /", "no")]
    assert (await bridge.apply(toml, aurora)).done == 0
    aurora = Aurora()
    aurora.failures = [AuroraError(ApiReason.TIMED_OUT, "POST /", "late", in_doubt=True)]
    applied = await bridge.apply(toml, aurora)
    assert (applied.done, len(applied.failures), applied.not_tried) == (0, 1, 2)
