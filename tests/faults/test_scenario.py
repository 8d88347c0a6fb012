"""When a result is as it should be, and when it need not be had again."""

from typing import Any

import pytest

from tests.faults.__main__ import stands
from tests.faults.scenario import Scenario, is_as_expected
from tests.faults.scenarios import CONTROLS
from tests.faults.scenarios.controls import MARKS
from tests.faults.stage import Stage

LATE = "answers later than 8 s: 3"
LOST = "acknowledged and lost: 1 ([1])"


def nothing(stage: Stage) -> None:
    """Do nothing."""
    del stage


@pytest.mark.parametrize(("found", "caught"), [([LOST], True), ([LATE, LOST], True), ([LATE], False), ([], False)])
def test_a_lie_is_found_out_by_its_own_mark_alone(found: list[str], caught: bool) -> None:  # noqa: FBT001 - from the table
    mutant = Scenario("control-mutant", nothing, broken="mutant", finds="acknowledged and lost")
    assert is_as_expected(mutant, [*found, "the scenario's own"]) is caught


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: one.name)
def test_every_control_says_what_has_to_be_found(control: Scenario) -> None:
    assert control.broken
    assert control.finds in MARKS


@pytest.mark.parametrize("found", [[LATE], ["the scenario's own"]])
def test_an_honest_daemon_has_no_fault_of_either_kind(found: list[str]) -> None:
    honest = Scenario("01-honest", nothing)
    assert is_as_expected(honest, [])
    assert not is_as_expected(honest, found)


GOOD = {"scale": 0.1, "rate": 200.0, "as_expected": True, "skipped": None}


@pytest.mark.parametrize(
    ("change", "stand"),
    [
        ({}, True),
        ({"scale": 1.0}, False),
        ({"rate": 500.0}, False),
        ({"as_expected": False}, False),
        ({"skipped": "no iptables"}, False),
    ],
)
def test_a_result_stands_if_it_is_good_and_of_the_same_run(change: dict[str, Any], stand: bool) -> None:  # noqa: FBT001 - from the table
    assert stands(GOOD | change, 0.1, 200.0) is stand
