"""The shape of a query: what its names mean for its event, whatever its values."""

from dataclasses import replace
from typing import Final

import pytest

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.catalogue import CATALOGUE, UNRECOGNIZED, EventType, Recurrence
from aurora_bridge.webhook.decoding import split_query
from aurora_bridge.webhook.query_shape import ALL, EMPTY, Shape, shape_of
from aurora_bridge.webhook.route_rules import Rules

RULES: Final = Rules(SecretNames({"token"}))
AGREEMENT: Final = "agreement_status_changed"


def shape_in(query: bytes, event: str = AGREEMENT, rules: Rules = RULES) -> Shape:
    """Return the shape of a query."""
    frame, values, _ = split_query(query)
    return shape_of(event, query, frame, tuple(map(bool, values)), rules)


def test_names_are_canonical_in_their_order_and_know_the_place_of_their_value() -> None:
    found = shape_in(b"status=a&projectId=b&agreement-id=c&bare&token=d&aurora_event=e")
    assert found.attributes == (("agreement_id", 2), ("bare", EMPTY), ("project_id", 1), ("status", 0))


def test_a_shape_says_what_the_event_is_about_and_how_it_recurs() -> None:
    found = shape_in(b"project_id=p&agreement_id=a&status=s")
    assert (found.name, found.recurrence, found.subject) == (AGREEMENT, Recurrence.STATE, ("agreement", 1))
    assert found.family == [AGREEMENT, ["agreement_id", "project_id", "status"]]


def test_what_is_empty_is_part_of_the_shape() -> None:
    found = shape_in(b"project_id=p&agreement_id=&status=s")
    assert (found.recurrence, found.subject, found.family) == (Recurrence.SIGNAL, ("project", 0), None)
    assert ("agreement_id", EMPTY) in found.attributes


def test_all_filled_is_said_shortly() -> None:
    query = b"project_id=p&status=s"
    assert shape_of(AGREEMENT, query, split_query(query)[0], ALL, RULES) == shape_in(query)


def test_a_name_that_comes_twice_must_have_equal_values() -> None:
    assert shape_in(b"status=a&Status=b&x=c").twice == ((0, 1),)
    with pytest.raises(Malformed) as caught:
        shape_in(b"status=a&status=")
    assert caught.value.reason is DeadLetterReason.CONFLICTING_VALUES


def test_a_known_event_without_any_of_its_attributes_is_malformed() -> None:
    with pytest.raises(Malformed) as caught:
        shape_in(b"colour=red")
    assert caught.value.reason is DeadLetterReason.NO_ATTRIBUTES
    assert shape_in(b"colour=red", "roof_painted").type == "com.aurorasolar.roof_painted"


def test_queries_of_one_template_share_their_shape() -> None:
    assert shape_in(b"status=a&project_id=b") is shape_in(b"status=c&project_id=d")


@pytest.mark.parametrize("query", [b"status=" + b"x" * 1024, b"status=a" + b"&b" * 32], ids=["long", "many names"])
def test_large_shapes_are_not_kept(query: bytes) -> None:
    found = shape_in(query)
    assert shape_in(query) == found
    assert shape_in(query) is not found


def test_volatile_attributes_are_those_of_all_events_and_those_of_this_one_that_it_has() -> None:
    types = {AGREEMENT: replace(CATALOGUE[AGREEMENT], volatile=frozenset({"design_id", "absent"}))}
    rules = Rules(SecretNames(()), 0, types, frozenset({"project_id"}))
    found = shape_in(b"project_id=p&design_id=d&agreement_id=a&status=s", rules=rules)
    assert found.volatile == {"design_id", "project_id"}
    assert found.family == [AGREEMENT, ["agreement_id", "status"]]
    assert [name for name, _ in found.attributes] == ["agreement_id", "design_id", "project_id", "status"]


def test_the_repeat_window_is_the_events_own_before_the_routes() -> None:
    types = {AGREEMENT: replace(CATALOGUE[AGREEMENT], repeat_window_seconds=5)}
    rules = Rules(SecretNames(()), 60_000_000, types)
    assert shape_in(b"status=s", rules=rules).window_us == 5_000_000
    assert shape_in(b"status=s", "project_status_changed", rules).window_us == 60_000_000
    types = {AGREEMENT: replace(CATALOGUE[AGREEMENT], repeat_window_seconds=0)}
    assert shape_in(b"status=s", rules=Rules(SecretNames(()), 60_000_000, types)).window_us == 0


def test_an_event_is_what_the_rules_say_it_is() -> None:
    known = EventType(UNRECOGNIZED, Recurrence.ONCE, identifier="roof_id", family="roof_painted")
    rules = Rules(SecretNames(()), types={"roof_painted": known})
    found = shape_in(b"roof_id=r", "roof_painted", rules)
    assert (found.name, found.type, found.recurrence) == (
        "unrecognized",
        "com.aurorasolar.roof_painted",
        Recurrence.ONCE,
    )
    assert shape_in(b"roof_id=r", "roof_painted").recurrence is Recurrence.SIGNAL
