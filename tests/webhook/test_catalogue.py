"""The catalogue: facts that hold for every row, and what a delivery amounts to by its row and its attributes."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.webhook.catalogue import (
    CATALOGUE,
    DEAD_LETTER,
    LEGACY_NAMES,
    UNRECOGNIZED,
    EventType,
    Evidence,
    Recurrence,
    recurrence_of,
    subject_of,
    unknown_values,
)

ROWS = list(CATALOGUE.values())
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

Attributes = Mapping[str, str | None]


def full(row: EventType) -> dict[str, str | None]:
    """Return a value for each of the event's attributes, a known one where values are known."""
    return {name: min(row.values[name]) if name in row.values else f"{name}-1" for name in row.attributes}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[EventType, Attributes]:
    """Draw an event with any of its attributes, each filled, empty or odd."""
    row = draw(st.sampled_from(ROWS))
    filled = full(row)
    values = {name: st.sampled_from([value, None, "odd"]) for name, value in filled.items()}
    return row, draw(st.fixed_dictionaries({}, optional=values))


def test_a_row_is_found_by_its_name() -> None:
    assert {name: name for name in CATALOGUE} == {name: row.name for name, row in CATALOGUE.items()}


def test_every_name_can_be_a_topic_and_none_is_that_of_unknown_events_or_dead_letters() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in CATALOGUE)
    assert not {UNRECOGNIZED, DEAD_LETTER} & set(CATALOGUE)


def test_legacy_names_are_no_names_of_today_and_lead_to_one() -> None:
    assert not set(LEGACY_NAMES) & set(CATALOGUE)
    assert set(LEGACY_NAMES.values()) <= set(CATALOGUE)


def test_two_events_never_share_a_legacy_name() -> None:
    assert sum(len(row.legacy_names) for row in ROWS) == len(LEGACY_NAMES)


@every_row
def test_a_row_speaks_of_its_own_attributes_only(row: EventType) -> None:
    named = {attribute for _, attribute in row.subject} | set(row.values) | set(row.attribute_evidence)
    named |= {name for name in (row.identifier, row.state_attribute) if name is not None}
    assert set() == named - set(row.attributes)


@every_row
def test_what_is_no_signal_has_an_identifier_and_a_signal_has_none(row: EventType) -> None:
    assert (row.recurrence is Recurrence.SIGNAL) == (row.identifier is None)


@every_row
def test_nothing_is_known_of_an_event_that_is_only_a_name(row: EventType) -> None:
    assert (row.evidence is Evidence.NAME_ONLY) == (not row.attributes)


@every_row
def test_an_event_with_all_its_attributes_recurs_as_its_row_says(row: EventType) -> None:
    assert row.recurrence is recurrence_of(row, full(row))


@pytest.mark.parametrize(
    ("row", "needed"),
    [(row, name) for row in ROWS for name in (row.identifier, row.state_attribute) if name],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
def test_without_its_identifier_or_its_state_attribute_an_event_is_a_signal(row: EventType, needed: str) -> None:
    absent = {name: value for name, value in full(row).items() if name != needed}
    for attributes in (absent, absent | {needed: None}, absent | {needed: ""}):
        assert Recurrence.SIGNAL is recurrence_of(row, attributes)


@pytest.mark.parametrize("name", ["design_request_completed", "design_request_rejected"])
def test_a_design_requests_state_is_the_events_name_so_its_status_may_be_absent(name: str) -> None:
    assert Recurrence.STATE is recurrence_of(CATALOGUE[name], {"design_request_id": "r-1"})


def test_completed_and_rejected_design_requests_share_a_family_and_no_other_events_do() -> None:
    shared = {row.name: row.family for row in ROWS if row.family != row.name}
    expected = {"design_request_completed": "design_request", "design_request_rejected": "design_request"}
    assert expected == shared
    assert "design_request" not in CATALOGUE


def test_a_state_has_states_that_are_not_announced_if_its_event_is_not_called_a_change_of_it() -> None:
    states = [row for row in ROWS if row.recurrence is Recurrence.STATE]
    assert {row.name for row in states if row.unannounced_states} == {
        row.name for row in states if not row.name.endswith("_status_changed")
    }
    assert not any(row.unannounced_states for row in ROWS if row not in states)


@pytest.mark.parametrize(
    "name",
    [
        "lead_changed",
        "consumption_profile_changed",
        "project_changed",
        "web_proposal_url_created",
        "milestone_created",
        "imagery_lidar_completed",
        "site_survey_requested",
        "design_deleted",
        "order_created",
        "ai_roof_job_completed",
        "site_survey_status_changed",
    ],
)
def test_what_can_happen_again_alike_or_is_not_known_well_enough_is_a_signal(name: str) -> None:
    assert Recurrence.SIGNAL is CATALOGUE[name].recurrence


def test_a_state_that_is_made_to_happen_once_needs_its_identifier_only() -> None:
    row = replace(CATALOGUE["project_status_changed"], recurrence=Recurrence.ONCE)
    assert Recurrence.ONCE is recurrence_of(row, {"project_id": "p-1"})


def test_what_is_made_a_signal_is_one_whatever_it_carries() -> None:
    row = replace(CATALOGUE["project_created"], recurrence=Recurrence.SIGNAL)
    assert Recurrence.SIGNAL is recurrence_of(row, full(row))


def test_an_unknown_event_is_a_signal_about_nothing_in_particular() -> None:
    row, attributes = EventType("roof_painted"), {"project_id": "p-1", "status": "done"}
    assert Recurrence.SIGNAL is recurrence_of(row, attributes)
    assert subject_of(row, attributes) is None
    assert not unknown_values(row, attributes)


@pytest.mark.parametrize(
    ("name", "attributes", "subject"),
    [
        ("agreement_status_changed", {"project_id": "p", "agreement_id": "a"}, "agreement/a"),
        ("agreement_status_changed", {"project_id": "p", "agreement_id": None}, "project/p"),
        ("financier_contract_status_changed", {"design_id": "d", "financing_id": ""}, "design/d"),
        ("lead_solar_estimation_job_completed", {"job_id": "j"}, "job/j"),
        ("design_request_rejected", {"design_request_id": "r"}, "design_request/r"),
        ("milestone_created", {"design_id": "d", "stage": "sold"}, "design/d"),
        ("lead_converted", {"project_id": "p"}, None),
        ("order_created", {"order_id": "o"}, None),
    ],
)
def test_the_subject_is_the_first_of_the_rows_that_is_there(
    name: str, attributes: Attributes, subject: str | None
) -> None:
    assert subject == subject_of(CATALOGUE[name], attributes)


@pytest.mark.parametrize(
    ("name", "attributes", "unknown"),
    [
        ("web_proposal_url_created", {"source": "APP"}, ()),
        ("project_created", {"source": "APP"}, ("source",)),
        ("design_request_completed", {"status": "completed"}, ("status",)),
        ("agreement_status_changed", {"status": None}, ()),
        ("agreement_status_changed", {"color": "blue"}, ()),
        ("project_status_changed", {"status": "whatever"}, ()),
    ],
)
def test_a_value_is_unknown_only_where_values_are_known_and_it_is_none_of_them(
    name: str, attributes: Attributes, unknown: tuple[str, ...]
) -> None:
    assert unknown == unknown_values(CATALOGUE[name], attributes)


@given(deliveries())
def test_an_event_recurs_as_its_row_says_or_is_a_signal(delivery: tuple[EventType, Attributes]) -> None:
    row, attributes = delivery
    assert recurrence_of(row, attributes) in {row.recurrence, Recurrence.SIGNAL}


@given(deliveries())
def test_attributes_of_other_events_empty_ones_and_the_order_change_nothing(
    delivery: tuple[EventType, Attributes],
) -> None:
    row, attributes = delivery
    others = dict.fromkeys({"color", "lead_id", "job_id", "status"} - set(row.attributes), "other")
    absent = dict.fromkeys(set(row.attributes) - set(attributes))
    disguised = dict(reversed((others | absent | dict(attributes)).items()))
    for question in (recurrence_of, subject_of, unknown_values):
        assert question(row, attributes) == question(row, disguised)
