"""Subscriptions are read from the API's bodies, and shown without their secrets."""

import pytest

from aurora_bridge.simulator.subscriptions import RefusedError, Subscriptions, created, updated
from tests.simulator.acting import EVENT, OWNER, subscription

URL = "http://x.test/"


def test_a_partial_body_changes_what_it_names() -> None:
    before = subscription(description="mine", header_auth_key="X-Token", header_auth_value="secret")
    after = updated(before, {"enabled": False, "unknown_field": 1})
    assert (after.enabled, after.description, after.header_auth_value) == (False, "mine", "secret")


def test_secrets_are_shown_as_asterisks_and_filters_as_they_were_sent() -> None:
    filters = {"<STATUS>": ["signed"]}
    secret = {"basic_auth_username": "u", "basic_auth_password": "canary"}
    shown = subscription(**secret, filters=filters).shown()
    assert (shown["id"], shown["basic_auth_username"], shown["filters"]) == ("s-1", "u", filters)
    assert "canary" not in str(shown)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "not an object"),
        ({"url_template": URL}, "event is missing"),
        ({"event": EVENT}, "url_template is missing"),
        ({"event": EVENT, "url_template": "x"}, "absolute"),
        ({"event": EVENT, "url_template": URL, "enabled": "yes"}, "enabled is not a boolean"),
        ({"event": EVENT, "url_template": URL, "header_auth_key": "X"}, "belong together"),
        ({"event": EVENT, "url_template": URL, "filters": {"<STATUS>": "signed"}}, "filters is not an object of lists"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_the_reason(body: object, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        created("s-1", OWNER, body)


def test_there_are_five_of_an_event_and_tenant_at_most() -> None:
    subscriptions = Subscriptions()
    for number in range(5):
        subscriptions.add(subscription(identity=f"s-{number}"))
    with pytest.raises(RefusedError, match="5 webhooks"):
        subscriptions.add(subscription(identity="s-5"))
    subscriptions.add(subscription(identity="s-4", enabled=False))
    subscriptions.add(subscription("lead_created", identity="s-6"))
    subscriptions.add(created("s-7", "tenants/t-2", {"event": EVENT, "url_template": URL}))
    assert len(list(subscriptions)) == 7
