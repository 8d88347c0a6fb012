"""Templates are suggested and filled as Aurora does, as far as it is known."""

import pytest

from aurora_bridge.simulator.fill_template import Spaces, fill, problem_of, suggested


def test_the_suggested_template_is_auroras() -> None:
    assert suggested("https://h.test/", "ahj_lookup_completed") == (
        "https://h.test/ahj_lookup_completed?project_id=<PROJECT_ID>&ahj_id=<AHJ_ID>&status=<STATUS>"
    )
    assert suggested("https://h.test", "design_request_completed") == (
        "https://h.test/design_request_completed?design_request_id=<DESIGN_REQUEST_ID_IN_AURORA>&status=<STATUS>"
    )
    assert suggested("https://h.test", "order_created", ["order_id"]).endswith("/order_created?order_id=<ORDER_ID>")


def test_a_placeholder_is_filled_by_its_attribute_and_stays_where_there_is_none() -> None:
    template = "https://h.test/<DESIGN_REQUEST_ID_IN_AURORA>?s=<STATUS>&x=<NOBODY>&t=1"
    filled = fill(template, {"design_request_id": "d-1", "status": ""})
    assert filled == "https://h.test/d-1?s=&x=<NOBODY>&t=1"


@pytest.mark.parametrize(("spaces", "written"), [("%20", "%20"), ("+", "+"), ("raw", " ")])
def test_a_space_is_written_as_chosen_and_a_separator_never_splits_a_value(spaces: str, written: str) -> None:
    filled = fill("http://h.test/?s=<STATUS>", {"status": "a b&c=+"}, Spaces(spaces))
    assert filled == f"http://h.test/?s=a{written}b%26c%3D%2B"


@pytest.mark.parametrize("template", ["/lead_created", "ftp://h.test/", "http:///x", "http://h.test:x/", "http://h/\n"])
def test_what_is_no_url_cannot_be_a_template(template: str) -> None:
    assert problem_of(template) is not None
