"""What would go wrong is found before Aurora sends it, by the daemon's own routes."""

from pathlib import Path

import pytest

from aurora_bridge.aurora.checks import Check, Finding, examine
from aurora_bridge.webhook.catalogue import CATALOGUE
from tests.aurora.in_memory import TOKENS, Aurora, Bridge, table

HOST = "https://hooks.example.com"
HEADER = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary-old"}
CORE = [name for name, event_type in CATALOGUE.items() if event_type.core]
LEAD = {"event": "lead_changed", "url_template": f"{HOST}/lead_changed?lead_id=<LEAD_ID>"}

ANOTHER_TOKEN = {"token_file": '"other"'}


def others_left_out(*events: str) -> str:
    """Return a table that leaves out all of the 19 but those."""
    names = ", ".join(f'"{name}"' for name in CORE if name not in events)
    return table(events=f"[{names}]", left_out="true")


def found(
    bridge: Bridge, aurora: Aurora, *tables: str, covered: tuple[str, ...] = (), **options: object
) -> list[Finding]:
    findings = bridge.findings("".join(tables) + others_left_out(*covered), aurora, **options)
    assert "canary" not in repr(findings)
    return findings


def tokens(findings: list[Finding]) -> list[tuple[Check, bool]]:
    return [(finding.check, finding.error) for finding in findings]


def template(url: str, event: str = "lead_changed", **keys: str) -> str:
    return table(events=f'["{event}"]', url_template=f'"{url}"', **keys)


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(tmp_path, TOKENS)


@pytest.mark.parametrize(
    ("wanted", "check"),
    [
        (template(f"{HOST}/v2/leads?id=<LEAD_ID>"), Check.NO_ROUTE),
        (template(f"{HOST}/hooks/lead_changed?lead_id=<LEAD_ID>"), Check.NO_ROUTE),
        (template(f"{HOST}/lead_created?lead_id=<LEAD_ID>"), Check.WRONG_EVENT),
        (template(f"{HOST}/leads?id=<LEAD_ID>"), Check.WRONG_EVENT),
        (template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>", header='"X-Other"'), Check.UNAUTHORIZED),
        (template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>", **ANOTHER_TOKEN), Check.UNAUTHORIZED),
        (template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>", authentication='"none"'), Check.UNAUTHORIZED),
        (template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>", basic_file='"basic"'), Check.UNAUTHORIZED),
        (template(f"{HOST}/lead_changed"), Check.DEAD_LETTER),
        (template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>&lead_id=x"), Check.DEAD_LETTER),
        (template(f"{HOST}/lead_changed?aurora_event=lead_created&lead_id=<LEAD_ID>"), Check.DEAD_LETTER),
    ],
)
def test_a_webhook_that_would_not_arrive_is_an_error_until_aurora_has_it(
    bridge: Bridge, wanted: str, check: Check
) -> None:
    aurora = Aurora({"event": "lead_created", "url_template": f"{HOST}/lead_created?lead_id=<LEAD_ID>", **HEADER})
    assert (check, True) in tokens(found(bridge, aurora, wanted))


async def test_of_what_aurora_has_already_it_is_a_warning(bridge: Bridge) -> None:
    wanted = template(f"{HOST}/v2/leads?id=<LEAD_ID>")
    aurora = Aurora()
    await bridge.apply(wanted, aurora)
    assert (Check.NO_ROUTE, False) in tokens(found(bridge, aurora, wanted))
    assert [finding.check for finding in examine(aurora.now(), bridge.receiver)] == [Check.NO_ROUTE]


def test_the_subscriptions_that_nobody_manages_are_tried_too(bridge: Bridge) -> None:
    aurora = Aurora(
        {**LEAD, "url_template": f"{HOST}/v2/leads?id=<LEAD_ID>"},
        {**LEAD, "event": "lead_created", "url_template": f"{HOST}/lead_created?lead_id=<LEAD_ID>"},
        {**LEAD, "url_template": "https://elsewhere.example.com/"},
    )
    assert [(finding.check, finding.where) for finding in examine(aurora.now(), bridge.receiver)] == [
        (Check.NO_ROUTE, "w-1, lead_changed"),
        (Check.UNAUTHORIZED, "w-2, lead_created"),
    ]
    aurora.hidden = frozenset({"header_auth_key", "basic_auth_username"})
    assert [finding.check for finding in examine(aurora.now(), bridge.receiver)] == [Check.NO_ROUTE]


def test_a_credential_that_aurora_hides_is_taken_for_one_that_the_route_may_accept(bridge: Bridge) -> None:
    assert examine(Aurora({**LEAD, **HEADER}).now(), bridge.receiver) == []
    basic = {"basic_auth_username": "bridge", "basic_auth_password": "x"}
    assert [one.check for one in examine(Aurora({**LEAD, **basic}).now(), bridge.receiver)] == [Check.UNAUTHORIZED]


def test_with_basic_the_user_counts(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, TOKENS.replace('tokens_file = "tokens"', 'basic_file = "basic"'))
    for user, checks in {"bridge": [], "me@example.com": [], "stranger": [Check.UNAUTHORIZED]}.items():
        aurora = Aurora({**LEAD, "basic_auth_username": user, "basic_auth_password": "x"})
        assert [one.check for one in examine(aurora.now(), bridge.receiver)] == checks


def test_a_token_in_the_query_is_tried_as_aurora_has_it(tmp_path: Path) -> None:
    """An export hides it, and the wanted template with `***` in it is no credential."""
    route = f'[[routes]]\ntemplate = "{HOST}/x?l=<LEAD_ID>&key=HERE"\nevent = "lead_changed"\nquery_parameter = "key"\n'
    bridge = Bridge(tmp_path, TOKENS + route)
    for token, checks in {"canary-old": [], "canary-stranger": [Check.UNAUTHORIZED]}.items():
        aurora = Aurora({**LEAD, "url_template": f"{HOST}/x?l=<LEAD_ID>&key={token}"})
        exported = bridge.export(aurora)
        assert "key=***" in exported
        assert [one.check for one in bridge.findings(exported, aurora)] == checks


def test_a_path_that_the_proxy_in_front_cuts_off_is_cut_off(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, TOKENS.replace("hooks.example.com", "example.com/hooks"))
    url = "https://example.com/hooks/lead_changed?lead_id=<LEAD_ID>"
    assert examine(Aurora({**LEAD, "url_template": url, **HEADER}).now(), bridge.receiver) == []


def test_a_placeholder_that_aurora_is_not_known_to_have_is_doubted(bridge: Bridge) -> None:
    url = f"{HOST}/lead_changed?lead_id=<LEAD_ID>&tenant=<TENANT_ID>&state=<STATE>"
    findings = found(bridge, Aurora({**LEAD, **HEADER}), template(url))
    words = [finding.words for finding in findings if finding.check is Check.UNKNOWN_PLACEHOLDER]
    assert [word.partition(" for this")[0] for word in words] == [
        "Aurora is not known to fill in <TENANT_ID>",
        "Aurora is not known to fill in <STATE>",
    ]


def test_a_host_that_is_not_the_bridges_is_told_when_it_is_sent(bridge: Bridge) -> None:
    findings = found(bridge, Aurora({**LEAD, **HEADER}), template("https://hooks.exmaple.com/lead_changed?l=<LEAD_ID>"))
    assert (Check.ELSEWHERE, False) in tokens(findings)


def test_a_filter_on_a_state_needs_a_route_that_knows_of_it(tmp_path: Path) -> None:
    route = '[[routes]]\ntemplate = "/sold?p=<PROJECT_ID>&s=<STATUS>"\nevent = "project_status_changed"\n'
    wanted = table(events='["project_status_changed"]', filters='{ "<STATUS>" = ["Sold"] }')
    for settings, expected in {
        TOKENS: [(Check.HIDDEN_STATE, True)],
        TOKENS + route: [(Check.HIDDEN_STATE, True)],
        f"{TOKENS}{route}filtered = true\n": [],
        f"{TOKENS}[events.project_status_changed]\nrepeat_window_seconds = 30\n": [],
    }.items():
        assert tokens(found(Bridge(tmp_path, settings), Aurora(), wanted)) == [*expected, (Check.LEFT_OUT, False)]


def test_a_filter_that_may_let_nothing_through_is_told(bridge: Bridge) -> None:
    wanted = table(events='["design_request_completed"]', filters='{ "<STATUS>" = ["completed"] }')
    (finding,) = found(bridge, Aurora(), wanted, covered=("design_request_completed",))
    assert finding.check is Check.UNKNOWN_VALUE
    assert finding.words.startswith("its filter has 'completed', not a known value of status (designer_")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, ["the second is dropped as a duplicate"]),
        (
            {"url_template": '"https://hooks.example.com/agreement_status_changed?agreement_id=<AGREEMENT_ID>"'},
            ["twice, with different"],
        ),
        ({"filters": '{ STATUS = ["signed", "viewed"] }'}, ["dropped as a duplicate"]),
        ({"filters": '{ STATUS = ["declined"] }'}, []),
        ({"enabled": "false"}, []),
        ({"url_template": '"https://elsewhere.example.com/?a=<AGREEMENT_ID>"', "authentication": '"none"'}, []),
    ],
)
def test_two_subscriptions_that_deliver_the_same_event_are_told(
    tmp_path: Path, other: dict[str, str], expected: list[str]
) -> None:
    event = "agreement_status_changed"
    short = f"{TOKENS}[events.{event}]\nrepeat_window_seconds = 30\n"
    one = table(events=f'["{event}"]', filters='{ STATUS = ["signed"] }')
    findings = found(Bridge(tmp_path, short), Aurora(), one, table(events=f'["{event}"]', **other), covered=(event,))
    twice = [finding for finding in findings if finding.check is Check.TWICE]
    assert len(twice) == len(expected)
    assert all(words in finding.words for words, finding in zip(expected, twice, strict=True))


def test_each_of_the_nineteen_events_is_covered_or_left_out(bridge: Bridge) -> None:
    (finding,) = bridge.findings(table(events='["lead_changed"]'), Aurora({**LEAD, **HEADER}))
    assert (finding.check, finding.error) == (Check.NOT_COVERED, True)
    assert set(finding.where.split(", ")) == {*CORE} - {"lead_changed"}
    assert (
        bridge.findings(table(events='["lead_changed"]') + others_left_out("lead_changed"), Aurora({**LEAD, **HEADER}))
        == []
    )
    (both,) = bridge.findings(table(events='["lead_changed"]') + others_left_out(), Aurora({**LEAD, **HEADER}))
    assert (both.check, both.where) == (Check.LEFT_OUT, "lead_changed")


def test_what_goes_elsewhere_covers_nothing(bridge: Bridge) -> None:
    elsewhere = Aurora({**LEAD, "url_template": "https://elsewhere.example.com/?lead=<LEAD_ID>"})
    wanted = table(
        events='["lead_changed"]', id='"w-1"', url_template='"https://elsewhere.example.com/?lead=<LEAD_ID>"'
    )
    (finding,) = found(bridge, elsewhere, wanted, covered=("lead_changed",))
    assert (finding.check, finding.where) == (Check.NOT_COVERED, "lead_changed")


def test_an_event_has_room_for_five(bridge: Bridge) -> None:
    others = [{**LEAD, "url_template": f"{LEAD['url_template']}&n={number}", **HEADER} for number in range(5)]
    aurora = Aurora(*others)
    wanted = table(events='["lead_changed"]')
    assert (Check.TOO_MANY, True) in tokens(found(bridge, aurora, wanted))
    assert (Check.TOO_MANY, True) not in tokens(found(bridge, aurora, wanted, delete=["w-1"]))


def test_one_that_is_switched_off_is_told_with_the_command_for_it(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER, "enabled": False})
    (finding,) = found(bridge, aurora, table(events='["lead_changed"]'), covered=("lead_changed",))
    assert (finding.check, finding.error) == (Check.SWITCHED_OFF, False)
    assert finding.words.endswith("aurora-bridge subscriptions reenable w-1")


def test_events_of_leads_are_doubted_until_aurora_has_one(bridge: Bridge) -> None:
    wanted = table(events='["lead_created", "lead_changed"]')
    (finding,) = found(bridge, Aurora(), wanted, covered=("lead_created", "lead_changed"))
    assert (finding.check, finding.where) == (Check.LEADS, "lead_created, lead_changed")
    assert found(bridge, Aurora({**LEAD, **HEADER}), wanted, covered=("lead_created", "lead_changed")) == []


def test_a_secret_that_would_be_sent_has_to_be_there(bridge: Bridge) -> None:
    keys = {"basic_username": '"nobody"', "basic_file": '"basic"'}
    findings = found(bridge, Aurora({**LEAD, **HEADER}), table(events='["lead_changed"]', **keys))
    assert (Check.NO_SECRET, True) in tokens(findings)
    assert next(one for one in findings if one.check is Check.NO_SECRET).words.startswith(
        f"{bridge.folder}/basic has no"
    )
    hidden = template(f"{HOST}/lead_changed?lead_id=<LEAD_ID>&token=***")
    assert (Check.HIDDEN_SECRET, True) in tokens(found(bridge, Aurora(), hidden))


def test_what_may_be_there_unseen_is_not_created(bridge: Bridge) -> None:
    aurora = Aurora({**LEAD, **HEADER})
    wanted = table(events='["lead_changed"]')
    for hidden in ({"url_template"}, {"event"}):
        aurora.hidden = frozenset(hidden)
        assert (Check.NOT_SHOWN, True) in tokens(found(bridge, aurora, wanted))
        assert (Check.NOT_SHOWN, True) not in tokens(found(bridge, aurora, wanted + 'id = "w-1"\n'))
