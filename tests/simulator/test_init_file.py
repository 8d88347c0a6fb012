"""The file that a simulation begins with."""

import pytest

from aurora_bridge.simulator.init_file import InitFileError, parse
from aurora_bridge.simulator.stories import STORIES, Step

FILE = """
[[subscriptions]]
name = "signed"
tenant = "t-1"
event = "agreement_status_changed"
url_template = "http://x.test/?a=<AGREEMENT_ID>"
filters = { "<STATUS>" = ["signed"] }

[[subscriptions]]
event = "lead_created"
url_template = "http://x.test/?l=<LEAD_ID>"

[[stories.quick]]
event = "lead_created"

[[stories.quick]]
event = "agreement_status_changed"
after = "2h"
values = { status = "signed" }
"""


def test_it_has_subscriptions_and_stories() -> None:
    beginning = parse(FILE)
    first, second = beginning.subscriptions
    assert (first.id, first.owner, first.filters) == ("signed", "tenants/t-1", {"status": ("signed",)})
    assert (second.id, second.owner) == ("subscription-2", "tenants/simulated")
    steps = (Step("lead_created", 0, {}), Step("agreement_status_changed", 7200, {"status": "signed"}))
    assert beginning.stories == {"quick": steps}


def test_without_stories_it_is_the_usual_ones() -> None:
    assert parse("").stories == STORIES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "not TOML"),
        ("[story]", "not one of stories, subscriptions"),
        ("[subscriptions]", "not a list of tables"),
        ("stories = 1", "stories.NAME"),
        ("[[subscriptions]]\nevent = 'lead_created'", "number 1: url_template is missing"),
        ("[[stories.quick]]\nevent = 'lead_created'\nafter = 'soon'", "a step needs"),
        ("[[stories.quick]]\nevents = 'lead_created'", "a step needs"),
        (
            2 * "[[subscriptions]]\nname = 'a'\nevent = 'lead_created'\nurl_template = 'http://x.test/'\n",
            "the same name",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InitFileError, match=words):
        parse(text)
