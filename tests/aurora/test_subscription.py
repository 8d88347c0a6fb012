"""A subscription is read from whatever Aurora shows of it."""

import pytest

from aurora_bridge.aurora.subscription import Subscription, read_subscription


def test_what_is_missing_or_of_another_kind_is_unknown() -> None:
    unknown = {"id": "w-1", "event": 1, "enabled": "yes", "filters": "signed", "description": [], "new": True}
    assert read_subscription({"id": "w-1"}) == read_subscription(unknown) == Subscription("w-1")


def test_null_is_known_to_be_nothing() -> None:
    names = ("description", "filters", "header_auth_key", "header_auth_value", "basic_auth_username")
    assert read_subscription({"id": 7} | dict.fromkeys(names)) == Subscription(
        "7", description="", filters={}, header_auth_key="", basic_auth_username=""
    )


@pytest.mark.parametrize("name", ["<STATUS>", "STATUS", "status"])
def test_filters_are_read_in_any_spelling(name: str) -> None:
    read = read_subscription({"id": "w-1", "filters": {name: ["a", "b", "a"], "<DESIGN_REQUEST_ID_IN_AURORA>": "x"}})
    assert read is not None
    assert read.filters == {"status": frozenset("ab"), "design_request_id": frozenset("x")}


@pytest.mark.parametrize("filters", [{"<STATUS>": 1}, {"<STATUS>": [1]}, [1]])
def test_filters_that_are_none_are_unknown(filters: object) -> None:
    assert read_subscription({"id": "w-1", "filters": filters}) == Subscription("w-1")


@pytest.mark.parametrize("document", [None, [], "w-1", {}, {"id": None}, {"id": ""}, {"id": True}, {"webhook": {}}])
def test_what_has_no_id_is_none(document: object) -> None:
    assert read_subscription(document) is None


def test_a_secret_that_is_null_may_be_hidden_and_an_empty_one_is_none() -> None:
    basic = {"id": "w-1", "basic_auth_username": "u", "header_auth_value": "x"}
    for password, is_set in ((None, None), ("", False), ("***", True)):
        read = read_subscription(basic | {"basic_auth_password": password})
        assert read is not None
        assert read.secret_is_set is is_set


def test_no_secret_is_kept() -> None:
    read = read_subscription({"id": "w-1", "header_auth_value": "canary", "url_template": "https://h/?token=canary"})
    assert read is not None
    assert read.secret_is_set
    assert "canary" not in repr(read)
