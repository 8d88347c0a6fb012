"""What the tables want: templates of the routes, credentials by reference, and words for what is wrong."""

from pathlib import Path

import pytest

from aurora_bridge.aurora.desired import Wanted
from aurora_bridge.settings import SettingsError
from tests.aurora.in_memory import PUBLIC, TOKENS, Bridge, table

LEAD = '["lead_created"]'
TWO_ROUTES = (
    TOKENS
    + """
[[routes]]
template = "/a/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed"
event = "agreement_status_changed"
filtered = true
[[routes]]
template = "https://other.example.com/a/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=all"
event = "agreement_status_changed"
basic_file = "basic"
[[routes]]
template = "/sunny?id=<LEAD_ID>&key=PUT-THE-TOKEN-HERE"
event = "lead_created"
tokens_file = "other"
query_parameter = "key"
tenant = "sunny"
"""
)


def only(tmp_path: Path, settings: str, **keys: object) -> Wanted:
    (wanted,) = Bridge(tmp_path, settings).wanted(table(**keys)).subscriptions
    return wanted


def problem(tmp_path: Path, settings: str, toml: str) -> str:
    with pytest.raises(SettingsError) as refused:
        Bridge(tmp_path, settings).wanted(toml)
    assert "canary" not in str(refused.value)
    return str(refused.value)


def test_without_more_it_is_the_template_and_the_newest_token_of_the_default_route(tmp_path: Path) -> None:
    wanted = only(tmp_path, TOKENS, events=LEAD)
    assert wanted.url_template == "https://hooks.example.com/lead_created?lead_id=<LEAD_ID>"
    assert wanted.authentication.words == "header X-Aurora-Webhook-Token"
    assert wanted.authentication.secret() == "canary-new"
    assert "canary" not in repr(wanted)


def test_a_written_route_of_the_event_comes_before_the_default_route(tmp_path: Path) -> None:
    route = '[[routes]]\ntemplate = "/leads?id=<LEAD_ID>&by=<SOURCE>"\nevent = "lead_created"\n'
    wanted = only(tmp_path, TOKENS + route, events=LEAD)
    assert wanted.url_template == "https://hooks.example.com/leads?id=<LEAD_ID>&by=<SOURCE>"


def test_of_several_routes_one_is_named(tmp_path: Path) -> None:
    event = '["agreement_status_changed"]'
    name = "/a/<PROJECT_ID>?kind=all"
    assert f"Choose one with route = {name!r} or" in problem(tmp_path, TWO_ROUTES, table(events=event))
    wanted = only(tmp_path, TWO_ROUTES, events=event, route=f'"{name}"')
    assert wanted.url_template.startswith("https://other.example.com/a/<PROJECT_ID>?a=")
    assert wanted.authentication.words == "Basic as bridge"
    assert wanted.authentication.secret() == "canary-new"
    assert "agreement_id=<AGREEMENT_ID>" in only(tmp_path, TWO_ROUTES, events=event, route='"default"').url_template


def test_a_route_of_another_tenant_is_taken_only_where_it_is_named(tmp_path: Path) -> None:
    assert only(tmp_path, TWO_ROUTES, events=LEAD).url_template.endswith("/lead_created?lead_id=<LEAD_ID>")


def test_a_token_in_the_query_is_put_in_from_its_file(tmp_path: Path) -> None:
    wanted = only(tmp_path, TWO_ROUTES, events=LEAD, route='"/sunny"')
    assert wanted.url_template == "https://hooks.example.com/sunny?id=<LEAD_ID>&key=canary-other"
    assert wanted.authentication.words == "none"
    assert "canary" not in repr(wanted)


def test_a_table_can_name_credentials_of_its_own(tmp_path: Path) -> None:
    keys = {"header": '"X-Own"', "token_file": '"other"'}
    by_header = only(tmp_path, TOKENS, events=LEAD, **keys).authentication
    assert (by_header.words, by_header.secret()) == ("header X-Own", "canary-other")
    basic = only(tmp_path, TOKENS, events=LEAD, basic_username='"me@example.com"', basic_file='"basic"').authentication
    assert (basic.words, basic.secret()) == ("Basic as me@example.com", "canary pass:word!")
    assert basic.headers() == [("Authorization", "Basic bWVAZXhhbXBsZS5jb206Y2FuYXJ5IHBhc3M6d29yZCE=")]
    assert only(tmp_path, TOKENS, events=LEAD, authentication='"none"').authentication.headers() == []


def test_events_can_be_left_out_on_purpose(tmp_path: Path) -> None:
    events = '["lead_created", "plan_set_status_changed"]'
    wanted = Bridge(tmp_path, TOKENS).wanted(table(events=events, left_out="true"))
    assert wanted.subscriptions == []
    assert set(wanted.left_out) == {"lead_created", "plan_set_request_status_changed"}


def test_a_secret_that_is_not_there_is_told_when_it_is_needed(tmp_path: Path) -> None:
    basic = only(tmp_path, TOKENS, events=LEAD, basic_username='"nobody"', basic_file='"basic"').authentication
    with pytest.raises(ValueError, match="has no secret of nobody"):
        basic.secret()
    header = only(tmp_path, PUBLIC, events=LEAD, header='"X-Own"').authentication
    with pytest.raises(ValueError, match="no file has the secret for header X-Own"):
        header.secret()


@pytest.mark.parametrize(
    ("settings", "toml", "words"),
    [
        (
            TOKENS,
            table(events='["a", "b"]', url_template='"https://h/<X>"'),
            "url_template with 2 events; expected one",
        ),
        (TOKENS, table(events='["a", "b"]', id='"w-1"'), "id with 2 events"),
        (TOKENS, table(events=LEAD, route='"default"', url_template='"/x"'), "both route and url_template"),
        (TOKENS, table(events=LEAD, left_out="true", header='"X"'), "left_out with header"),
        (TOKENS, table(events=LEAD, authentication='"none"', header='"X"'), "'none' with header or token_file"),
        (TOKENS, table(events=LEAD, authentication='"header"', basic_username='"x"'), "'header' with basic_username"),
        (TOKENS, table(events=LEAD, header='"X"', basic_username='"x"'), "expected one credential"),
        (TOKENS, table(events=LEAD, authentication='"basic"'), "Add basic_username or basic_file"),
        (TOKENS, 2 * table(events=LEAD, id='"w-1"'), "the id w-1 occurs twice"),
        (TOKENS, table(events=LEAD, route='"/none"'), "the route '/none' does not exist. Name one of 'default'"),
        (TOKENS, table(events='["roof_painted"]'), "does not know its attributes. Write url_template"),
        ("", table(events=LEAD), "Set AURORA_BRIDGE_INGRESS__PUBLIC_URL"),
        (
            TWO_ROUTES,
            table(events='["lead_changed"]', route='"/sunny"'),
            "the route '/sunny' receives lead_created. Name one of 'default'",
        ),
        (
            f"default_route = false\n{PUBLIC}[[routes]]\ntemplate = '/x?id=<LEAD_ID>'\nevent = 'lead_changed'\n",
            table(events=LEAD),
            "no route receives it. Add one below [[routes]]",
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(tmp_path: Path, settings: str, toml: str, words: str) -> None:
    assert words in problem(tmp_path, settings, toml)
