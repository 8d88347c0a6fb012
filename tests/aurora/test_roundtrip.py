"""Whatever Aurora has and whatever is wanted: a plan is empty once it is carried out, and that of an export is empty.

With failures on the way, too: what is left is done by the next run. Aurora is the simulator's rules for subscriptions.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.aurora.errors import ApiReason, AuroraError
from tests.aurora.in_memory import TOKENS, Aurora, Bridge, table

SETTINGS: Final = (
    TOKENS
    + """
[[routes]]
template = "/a/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed"
event = "agreement_status_changed"
filtered = true
basic_file = "basic"
[[routes]]
template = "/sunny?id=<LEAD_ID>&key=HERE"
event = "lead_created"
query_parameter = "key"
tenant = "sunny"
"""
)
EVENTS: Final = ("agreement_status_changed", "lead_created", "project_status_updated", "roof_painted")
HOST: Final = "https://hooks.example.com"
URLS: Final = (
    f"{HOST}/agreement_status_changed?project_id=<PROJECT_ID>&agreement_id=<AGREEMENT_ID>&status=<STATUS>",
    f"{HOST}/a/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed",
    f"{HOST}/lead_created?lead_id=<LEAD_ID>",
    f"{HOST}/sunny?id=<LEAD_ID>&key=canary-new",
    f"{HOST}/sunny?id=<LEAD_ID>&key=canary-old",
    f"{HOST}/roof_painted?token=canary-static",
    "https://elsewhere.example.com/?all",
)
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FILTERS: Final = st.dictionaries(
    st.sampled_from(["<STATUS>", "<SOURCE>", "<DESIGN_REQUEST_ID_IN_AURORA>"]),
    st.lists(st.sampled_from(["signed", "In Progress", 'quo"te']), min_size=1, max_size=2, unique=True),
    max_size=2,
)
CREDENTIALS: Final = st.sampled_from(
    [
        {},
        {"header_auth_key": "x-aurora-webhook-token", "header_auth_value": "canary-old"},
        {"header_auth_key": "X-Other", "header_auth_value": "canary-other"},
        {"basic_auth_username": "bridge", "basic_auth_password": "canary-old"},
        {"basic_auth_username": "no body@example.com", "basic_auth_password": "canary"},
    ]
)
BODY: Final = st.builds(
    lambda fields, credentials: {**fields, **credentials},
    st.fixed_dictionaries(
        {
            "event": st.sampled_from(EVENTS),
            "url_template": st.sampled_from(URLS),
            "description": TEXT,
            "enabled": st.booleans(),
            "filters": FILTERS,
        }
    ),
    CREDENTIALS,
)
TABLE: Final = st.builds(
    table,
    events=st.sampled_from(['["lead_created"]', '["agreement_status_changed"]', '["lead_changed", "project_created"]']),
    enabled=st.sampled_from(["true", "false"]),
    filters=st.sampled_from(["{}", '{ STATUS = ["signed"] }', '{ "<STATUS>" = ["viewed", "sent"] }']),
    description=st.sampled_from(['"ours"', '""', '"theirs"']),
    authentication=st.sampled_from(['""', '"none"']),
)
HIDDEN: Final = st.sets(
    st.sampled_from(
        ["filters", "description", "enabled", "header_auth_key", "header_auth_value", "basic_auth_username"]
    )
)
"""What Aurora does not show."""
FAILURE: Final = st.sampled_from(
    [AuroraError(ApiReason.SERVER_ERROR, "PUT", "x"), AuroraError(ApiReason.TIMED_OUT, "POST", "x")]
)


def having(bodies: Sequence[dict[str, object]]) -> Aurora:
    aurora = Aurora()
    counts = dict.fromkeys(EVENTS, 0)
    for body in bodies:
        counts[str(body["event"])] += 1
        if counts[str(body["event"])] <= 2:  # so that there is room for what is wanted
            aurora.add(body)
    return aurora


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    return Bridge(tmp_path_factory.mktemp("bridge"), SETTINGS)


@given(
    bodies=st.lists(BODY, max_size=6),
    tables=st.lists(TABLE, min_size=1, max_size=3),
    failures=st.lists(FAILURE, max_size=3),
    hidden=HIDDEN,
)
def test_a_plan_is_empty_once_it_was_carried_out(
    bridge: Bridge, bodies: list[dict[str, object]], tables: list[str], failures: list[AuroraError], hidden: set[str]
) -> None:
    aurora, toml = having(bodies), "".join(tables)
    aurora.hidden = frozenset(hidden)
    before = {one.id: one for one in aurora.raw()}
    aurora.failures = list(failures)
    for _ in range(len(failures) + 1):
        applied = asyncio.run(bridge.apply(toml, aurora))
        if not applied.failures:
            break
    planned = bridge.plan(toml, aurora)
    assert planned.changes == []
    after = {one.id: one for one in aurora.raw()}
    assert before.keys() <= after.keys()  # nothing was deleted
    assert not any(after[name].enabled and not one.enabled for name, one in before.items())  # or switched on
    assert all(after[one.id] == before[one.id] for one in planned.unmanaged)


@given(
    bodies=st.lists(BODY, max_size=8),
    hidden=HIDDEN,
)
def test_the_plan_of_an_export_is_empty_and_has_no_secret(
    bridge: Bridge, bodies: list[dict[str, object]], hidden: set[str]
) -> None:
    aurora = having(bodies)
    aurora.hidden = frozenset(hidden)
    toml = bridge.export(aurora)
    assert "canary" not in toml
    planned = bridge.plan(toml, aurora)
    assert (planned.changes, planned.unmanaged, planned.not_there) == ([], [], [])
    assert not [finding for finding in bridge.findings(toml, aurora) if finding.error]


@given(
    bodies=st.lists(BODY, max_size=8),
    hidden=st.sets(st.sampled_from(["event", "url_template", "enabled", "description"])),
)
def test_what_aurora_does_not_show_is_left_out_of_an_export_or_left_as_it_is(
    bridge: Bridge, bodies: list[dict[str, object]], hidden: set[str]
) -> None:
    aurora = having(bodies)
    aurora.hidden = frozenset(hidden)
    toml = bridge.export(aurora)
    assert bridge.plan(toml, aurora).changes == []
