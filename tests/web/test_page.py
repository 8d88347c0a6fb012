"""The status page as HTML: well-formed, escaped, readable without script and by those who do not see it."""

import re
from base64 import b64encode
from hashlib import sha256
from math import inf, nan

import pytest

from aurora_bridge.aurora.checks import Check
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.auto_disable.attempts import Subscription
from aurora_bridge.bridge import DeadLetter
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.outcomes import Credential, DeadLetterReason, Reason
from aurora_bridge.web.page import page
from aurora_bridge.web.status import Reading, Status, Volume
from aurora_bridge.web.style import HEADERS
from tests.support.html import Page
from tests.web.statuses import AWAY, NOW, QUIET, SPOOL, eventful, found, refused

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


@pytest.mark.proves("An attacker cannot: put markup into the status page")
def test_whatever_came_from_outside_is_text_and_never_markup() -> None:
    made, harmless = (Page(page(eventful(text))) for text in (MARKUP, "WORD"))
    assert made.text == harmless.text.replace("WORD", MARKUP)
    assert [tag for tag, _ in made.elements] == [tag for tag, _ in harmless.elements]


@pytest.mark.proves("Admin port and control socket: its page runs no script and loads nothing from elsewhere")
def test_it_needs_no_script_and_its_policy_allows_its_one_style_sheet_and_nothing_else() -> None:
    made = page(eventful("x"))
    (style,) = re.findall("<style>(.*?)</style>", made, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = HEADERS["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert set(policy[2:]) == {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}
    attributes = {name for _, found in Page(made).elements for name in found}
    assert not {name for name in attributes if name == "style" or name.startswith("on") or name == "src"}


def test_it_reloads_itself_unless_the_refresh_is_paused() -> None:
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


def test_the_last_refusals_are_shown_first_those_on_paths_of_auroras() -> None:
    (aurora,) = refused(Reason.UNAUTHORIZED, 60, "/lead_created", credential=Credential.WRONG).last_refused
    (scanner,) = refused(Reason.NO_ROUTE, 1, path="/wp-login.php", known_path=False).last_refused
    status = refused(Reason.NO_ROUTE, 1)._replace(last_refused=[scanner, aurora])
    cells = Page(page(status)).texts
    first, second = cells.index("/lead_created"), cells.index("/wp-login.php")
    assert first < second
    assert {"wrong", "192.0.2.7", "1 min ago"} <= set(cells[first - 6 : first])


def test_the_last_minutes_are_told() -> None:
    cells = Page(page(QUIET)).texts
    row = cells.index("1 min")
    assert cells[row : row + 6] == ["1 min", "3", "0.05", "2 ms", "7.5 ms", "0"]
    assert cells[row + 6 : row + 12] == ["5 min", "0", "0.00", "-", "-", "0"]


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(240_000, 760_000, 19.4), "reads the log: 760,000 events still to read, about 19 s left"),
        (Reading(0, 760_000, inf), "reads the log: 760,000 events still to read"),
        (Reading(0, 0, inf), "reads the log"),
    ],
)
def test_what_a_rebuild_of_the_index_still_has_to_read_is_told(reading: Reading, said: str) -> None:
    assert said in Page(page(QUIET._replace(index_complete=False, reading=reading))).texts


def test_room_and_growth_are_told() -> None:
    assert "7.5 GiB free of 9.3 GiB" in Page(page(QUIET)).texts
    assert "unknown" in Page(page(QUIET._replace(volume=Volume(nan, nan)))).texts
    assert "does not grow" in Page(page(QUIET)).texts
    assert "in 2 h" in Page(page(QUIET._replace(spool=SPOOL._replace(full_in_seconds=7300.0)))).texts


def test_a_template_can_be_selected_at_once() -> None:
    assert "<code>https://HOST/lead_changed?lead_id=&lt;LEAD_ID&gt;</code>" in page(QUIET)
    assert "user-select: all" in page(QUIET)


def test_a_garbled_template_is_shown_with_what_to_paste_in_its_place() -> None:
    assert "Templates to fix" not in page(QUIET)
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
    letter = DeadLetter(NOW, DeadLetterReason.NOT_UTF8, "y" * 100, "default", "the-id")
    cells = Page(page(eventful("x")._replace(last_dead_letters=[letter]))).texts
    assert f"{'y' * 60}..." in cells


@pytest.mark.parametrize(
    ("in_a_row", "seconds_left", "told"),
    [
        (19, inf, "19 no risk"),
        (30, 600.0, "30 at this rate in 10 min"),
        (30, inf, "30 at 100 in a row"),
        (100, 0.0, "100 at any moment"),
    ],
)
def test_attempts_that_failed_are_shown_with_when_aurora_may_switch_off(
    in_a_row: int, seconds_left: float, told: str
) -> None:
    failing = Subscription("/hooks", "lead_created", 1500, 120, in_a_row, seconds_left)
    assert f"lead_created /hooks 1,500 120 {told}" in Page(page(QUIET._replace(failing=[failing]))).text
    assert "Attempts that failed" not in Page(page(QUIET)).text


def test_auroras_subscriptions_are_counted_and_each_that_is_wrong_is_named_with_its_remedy() -> None:
    seen = found(Check.NO_ROUTE)
    text = Page(page(QUIET._replace(subscriptions=seen))).text
    assert "Last listed 1 min ago On 1 Off 1 To other hosts 0" in text
    assert f"id-1, lead_created this is wrong {SUBSCRIPTION_REMEDIES[Check.NO_ROUTE]}" in text
    assert "Last listed not since the start" in Page(page(QUIET._replace(subscriptions=Seen()))).text
    assert "Subscriptions in Aurora" not in Page(page(QUIET)).text
