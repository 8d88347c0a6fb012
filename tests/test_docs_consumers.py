"""The code that `docs/consumers.md` gives to consumers does what it says; so does the event that it shows."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.samples.load import load_fingerprints

PAGE: Final = (Path(__file__).parents[1] / "docs" / "consumers.md").read_text()
CODE: Final = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EVENT: Final = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0])


@pytest.fixture
def given() -> dict[str, Any]:
    """The functions of the page."""
    names: dict[str, Any] = {}
    exec("\n".join(CODE), names)  # noqa: S102 - it is our own page
    return names


def test_a_copy_is_told_by_its_id(given: dict[str, Any]) -> None:
    seen: set[str] = set()
    assert [given["is_copy"](event, seen) for event in (EVENT, EVENT, EVENT | {"id": "another"})] == [
        False,
        True,
        False,
    ]


def test_an_older_state_of_a_subject_is_outdated_and_another_subjects_is_not(given: dict[str, Any]) -> None:
    newer = EVENT | {"time": "2026-11-24T03:05:11.455Z"}
    applied: dict[str, str] = {}
    assert [
        given["is_outdated"](event, applied) for event in (newer, EVENT, newer, EVENT | {"subject": "agreement/a-2"})
    ] == [False, True, False, False]


def test_the_fingerprint_is_that_of_the_test_vectors(given: dict[str, Any]) -> None:
    for vector in load_fingerprints():
        found = given["fingerprint"](vector["tenant"], vector["event"], vector["attributes"])
        assert found == vector["fingerprint"]


def test_the_event_that_is_shown_has_its_own_fingerprint(given: dict[str, Any]) -> None:
    data, event = EVENT["data"], EVENT["type"].removeprefix("com.aurorasolar.")
    assert given["fingerprint"]("default", event, data) == EVENT["fingerprint"] == EVENT["id"].partition(".")[0]
