"""The status page as HTML: well-formed, escaped, readable without script and by those who do not see it."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from aurora_bridge.bridge import DeadLetter, GarbledTemplate
from aurora_bridge.refusal import Defect, Reason
from aurora_bridge.web.page import page
from aurora_bridge.web.status import Status
from aurora_bridge.web.style import HEADERS
from tests.support.html import Page
from tests.web.looking import AWAY, NOW, QUIET, eventful, refused

MARKUP = "'\"><script>alert(1)</script>&amp;"


@pytest.mark.parametrize(
    "status",
    [QUIET, AWAY, QUIET._replace(kafka=None), QUIET._replace(spool=None), refused(Reason.TOO_LATE, 1), eventful("x")],
    ids=str,
)
def test_it_is_well_formed_and_its_tables_say_what_they_are(status: Status) -> None:
    read = Page(page(status))
    assert read.of("html") == [{"lang": "en"}]
    assert len(read.of("caption")) == len(read.of("table"))
    assert {scope for head in read.of("th") if (scope := head["scope"])} <= {"col", "row"}


def test_whatever_came_from_outside_is_text_and_never_markup() -> None:
    made, harmless = (Page(page(eventful(text))) for text in (MARKUP, "WORD"))
    assert made.text == harmless.text.replace("WORD", MARKUP)
    assert [tag for tag, _ in made.elements] == [tag for tag, _ in harmless.elements]


def test_it_needs_no_script_and_its_policy_allows_its_one_style_sheet_and_nothing_else() -> None:
    made = page(eventful("x"))
    (style,) = re.findall("<style>(.*?)</style>", made, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = HEADERS["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert set(policy[2:]) == {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}
    attributes = {name for _, found in Page(made).elements for name in found}
    assert not {name for name in attributes if name == "style" or name.startswith("on") or name == "src"}


def test_it_loads_itself_anew_unless_it_is_held_still() -> None:
    refreshing, still = Page(page(QUIET)), Page(page(QUIET, refreshing=False))
    assert [{"http-equiv": "refresh", "content": "15"} in read.of("meta") for read in (refreshing, still)] == [
        True,
        False,
    ]
    assert (refreshing.of("a"), still.of("a")) == ([{"href": "?still"}], [{"href": "?"}])


def test_its_title_says_whether_anything_is_being_lost() -> None:
    assert "<title>Good: Nothing is being lost - aurora-bridge</title>" in page(QUIET)


def test_a_time_is_said_by_its_age_and_given_in_full() -> None:
    made = page(QUIET)
    assert '<time datetime="2027-01-15T07:57:00Z" title="2027-01-15T07:57:00Z">3 min ago</time>' in made


def test_events_that_never_came_are_folded_but_not_those_in_trouble() -> None:
    for status, folded in ((QUIET, 1), (QUIET._replace(topics=[QUIET.topics[0], AWAY.topics[1]]), 0)):
        assert len(Page(page(status)).of("details")) == folded


def test_a_template_can_be_selected_at_once() -> None:
    assert "<code>https://HOST/lead_changed?lead_id=&lt;LEAD_ID&gt;</code>" in page(QUIET)
    assert "user-select: all" in page(QUIET)


def test_a_garbled_template_is_shown_with_what_to_paste_in_its_place() -> None:
    assert "Templates to mend" not in page(QUIET)
    garbled = GarbledTemplate(NOW - 120, "lead_created", "default", "default", ("amp;source", "x[]"))
    made = page(QUIET._replace(garbled_templates=[(garbled, "https://HOST/lead_created?lead_id=<LEAD_ID>")]))
    cells = Page(made).texts
    row = cells[cells.index("amp;source x[]") - 3 :][:5]
    assert row == [
        "lead_created",
        "2 min ago",
        "default",
        "amp;source x[]",
        "https://HOST/lead_created?lead_id=<LEAD_ID>",
    ]


def test_an_endless_name_in_a_request_is_cut_short() -> None:
    letter = DeadLetter(NOW, Defect.NOT_UTF8, "y" * 100, "default", "the-id")
    cells = Page(page(eventful("x")._replace(last_dead_letters=[letter]))).texts
    assert f"{'y' * 60}..." in cells
