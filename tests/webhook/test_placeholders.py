"""Placeholders that nobody filled and words for nothing are found however they are written, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Final
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.catalogue import CATALOGUE, PLACEHOLDER_ALIASES, Recurrence
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes
from aurora_bridge.webhook.url_template import Template

RULES: Final = Rules(SecretNames(["token"]))
IDENTIFIERS: Final = sorted({row.identifier for row in CATALOGUE.values() if row.identifier})
KNOWN: Final = sorted({name for row in CATALOGUE.values() for name in row.attributes} | {*PLACEHOLDER_ALIASES})

LANGUAGES: Final = [
    *("<NAME>", "<<NAME>>", "{NAME}", "{{NAME}}", "{{{NAME}}}", "{{ NAME }}", "[NAME]", "[[NAME]]", "{%NAME%}"),
    *("${NAME}", "$(NAME)", "$NAME", "#{NAME}", "<%= NAME %>", "%(NAME)s", "%NAME%", ":NAME", "{:NAME}", "«NAME»"),
    *("{{webhook.NAME}}", "{$json.NAME}", "&lt;NAME&gt;", "&#60;NAME&#62;", "{{{ {NAME} }}}", "[%NAME%]"),
]
"""How template languages write a placeholder."""
SPELLINGS: Final[list[Callable[[str], str]]] = [
    str.upper,
    str.lower,
    lambda name: name.replace("_", "-"),
    lambda name: "".join(word.title() for word in name.split("_")),
]
SPACED: Final[list[Callable[[str], str]]] = [lambda name: name.replace("_", " "), lambda name: name.replace("_", ".")]
AROUND_ALL: Final = ["VALUE", "  VALUE ", "\u00a0VALUE\u200b"]
AROUND: Final = [*AROUND_ALL, "lead-VALUE", "VALUE/1", "x VALUE y"]
NOTHING: Final = [
    *("null", "NULL", "None", "nil", "NIL", "undefined", "NaN", "nan", "N/A", "n.a.", "NA", "(null)", "<nil>", "#N/A"),
    *("<null>", '"null"', "'None'", "[object Object]", "[object Undefined]", "void", "nullptr", "not set", "unknown"),
    *("", " ", "\u00a0", "\u200b", "\u2060\ufeff", "\u3164", "\u2800", "\u115f", "-", "--", "{}", "[]"),
    *("<>", '""', "?", "…", "%20", "%2520", "&nbsp;", " null ", "null\u200b", "nu%6cl", str(UUID(int=0)), "0" * 32),
]
FREE: Final = [
    *(
        "None",
        "null",
        "N/A",
        "-",
        "[Sold]",
        "{Sold}",
        "<b> is bold",
        "<STATUS",
        "STATUS>",
        "<>",
        "<two words>",
        "<<A>>",
    ),
    *("100 % $old", "R&D", "Sold: 3", "a:b", "%20", "Sold; Done", "(status)", "status", "Status", "SOLD", "[1]", "$5"),
    *("<SOLD>", "[Sold, source pending]", "Source: app", "50%status", "“status”", "undefined", "{}", "Note:source"),
]


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


def event_of(target: str, template: str = "") -> Event:
    if template:
        made = Template(template, SecretNames(()))
        route = Route(made.name, "default", Anonymous(), RULES, made, "lead_created")
        return normalise(Routes("/", None, [route]).match(Delivery("GET", target.encode(), (), 0, 0.0)))
    default = Route("default", "default", Anonymous(), RULES)
    return normalise(Routes("/", default).match(Delivery("GET", target.encode(), (), 0, 0.0)))


def is_unfilled(target: str, template: str = "") -> bool:
    try:
        event_of(target, template)
    except Malformed as malformed:
        assert malformed.reason is DeadLetterReason.UNFILLED_PLACEHOLDER  # noqa: PT017 - any other is a failure
        return True
    return False


# Placeholders

awkward_names = st.sampled_from(KNOWN).flatmap(
    lambda name: st.sampled_from([*SPELLINGS, *SPACED]).map(lambda spelling: spelling(name))
)


@given(
    st.sampled_from(IDENTIFIERS),
    st.one_of(
        st.tuples(st.sampled_from(LANGUAGES), awkward_names).map(lambda drawn: drawn[0].replace("NAME", drawn[1])),
        st.tuples(st.sampled_from(SPELLINGS), st.sampled_from(KNOWN)).map(lambda drawn: drawn[0](drawn[1])),
        st.tuples(st.sampled_from(LANGUAGES), st.sampled_from(["MY_LEAD", "id", "x.1", "x.y", "a b"])).map(
            lambda drawn: drawn[0].replace("NAME", drawn[1])
        ),
    ),
    st.sampled_from(AROUND_ALL),
    st.integers(1, 3),
)
def test_an_identifier_that_is_a_placeholder_of_any_language_is_unfilled(
    identifier: str, value: str, around: str, times: int
) -> None:
    assert is_unfilled(f"/roof_painted?{identifier}={encoded(around.replace('VALUE', value), times)}")


@given(st.sampled_from(IDENTIFIERS), st.sampled_from(LANGUAGES), st.sampled_from(AROUND), st.integers(1, 3))
def test_within_a_longer_identifier_too(identifier: str, language: str, around: str, times: int) -> None:
    value = around.replace("VALUE", language.replace("NAME", identifier.upper()))
    assert is_unfilled(f"/roof_painted?{identifier}={encoded(value, times)}")
    assert is_unfilled(f"/roof_painted?{identifier}={encoded(around.replace('VALUE', identifier.upper()), times)}")


@given(st.sampled_from(LANGUAGES), st.sampled_from(SPELLINGS), st.sampled_from(AROUND), st.integers(1, 3))
def test_in_free_text_a_placeholder_is_one_that_names_an_attribute(
    language: str, spell: Callable[[str], str], around: str, times: int
) -> None:
    for name in ("status", "lead_id"):
        value = around.replace("VALUE", language.replace("NAME", spell(name)))
        assert is_unfilled(f"/project_status_changed?project_id=1&status={encoded(value, times)}"), value


@pytest.mark.parametrize(
    "value", ["{{1.id}}", "{{123456__lead}}", "{0}", "$1", "YOUR_LEAD_ID", "__LEAD_ID__", "@LEAD_ID@"]
)
def test_so_is_one_that_counts_or_has_other_characters_around_a_known_name(value: str) -> None:
    assert is_unfilled(f"/lead_created?lead_id={quote(value, safe='')}")


@pytest.mark.parametrize("name", ["STATUS", "<PROJECT_STATUS>", "%3CNEW_STATUS%3E"])
def test_free_text_can_be_auroras_own_placeholder_that_the_bridge_does_not_know(name: str) -> None:
    assert is_unfilled(f"/project_status_changed?project_id=1&status={name}")


@pytest.mark.parametrize("value", FREE)
def test_any_other_free_text_is_kept_as_it_came(value: str) -> None:
    event = event_of(f"/project_status_changed?project_id=1&status={quote(value, safe='')}")
    assert (event.data, event.recurrence) == ({"project_id": "1", "status": value}, Recurrence.STATE)


def test_an_attribute_that_nobody_knows_may_hold_its_own_name() -> None:
    assert event_of("/roof_painted?y=Y&flat=FLAT").data == {"y": "Y", "flat": "FLAT"}
    assert is_unfilled("/roof_painted?flat=<FLAT>")


@pytest.mark.parametrize("value", ["[status]", '["status","source"]', "{status}", "status,source", "status"])
def test_what_lists_attributes_may_name_them(value: str) -> None:
    event = event_of(f"/project_changed?project_id=1&attributes={quote(value)}")
    assert event.data["attributes"] == value
    assert is_unfilled("/project_changed?project_id=1&attributes={attributes}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "template", ["/hooks/<LEAD_ID>", "/hooks/v-<LEAD_ID>.json", "/x?l=<LEAD_ID>", "/x?l=v-<LEAD_ID>"]
)
def test_on_a_written_route_too_in_path_and_query(template: str, language: str) -> None:
    assert is_unfilled(template.replace("<LEAD_ID>", quote(language.replace("NAME", "LEAD_ID"), safe="")), template)
    assert event_of(template.replace("<LEAD_ID>", "l-1"), template).data == {"lead_id": "l-1"}


@pytest.mark.parametrize("name", KNOWN)
def test_percent_signs_around_a_name_are_no_encoding(name: str) -> None:
    assert is_unfilled(f"/roof_painted?design_id=%{name.upper()}%")


def test_brackets_as_html_writes_them_without_encoding_them() -> None:
    assert is_unfilled("/lead_created?lead_id=&lt;LEAD_ID&gt;&source=api")
    assert is_unfilled("/x?l=&lt;LEAD_ID&gt;", "/x?l=<LEAD_ID>")


def test_a_code_can_be_a_placeholder_of_any_name_and_a_value_that_nobody_knows() -> None:
    assert is_unfilled("/agreement_status_changed?agreement_id=1&status=<AGREEMENT>")
    assert event_of("/agreement_status_changed?agreement_id=1&status=re-opened").data["status"] == "re-opened"


# Identifiers


@given(
    st.uuids().filter(lambda uuid: uuid.int >> 96 > 0),
    st.sampled_from(IDENTIFIERS),
    st.sampled_from(["{X}", "X", "urn:uuid:X", "p-X"]),
)
def test_an_identifier_is_kept_as_it_came(uuid: UUID, identifier: str, form: str) -> None:
    value = form.replace("X", str(uuid))
    event = event_of(f"/roof_painted?{identifier}={quote(value, safe='')}")
    assert (event.data, event.emptied) == ({identifier: value}, False)


@pytest.mark.parametrize(
    "value",
    ["p-77", "lead", "resource-12", "a@b.com", "Größe", "nullable", "none-1", "a:b", "x%41", "café%2541", "1_IDx"],
)
def test_so_is_one_that_looks_a_little_like_a_placeholder_or_a_word_for_nothing(value: str) -> None:
    event = event_of(f"/lead_created?lead_id={quote(value, safe='')}")
    assert (event.data["lead_id"], event.recurrence) == (value, Recurrence.ONCE)


# Words for nothing


@pytest.mark.parametrize("value", NOTHING)
def test_an_identifier_that_is_a_word_for_nothing_counts_as_empty(value: str) -> None:
    event = event_of(f"/lead_created?lead_id={quote(value, safe='')}&source=api")
    empty = event_of("/lead_created?lead_id=&source=api")
    assert replace(event, emptied=False) == empty
    assert event.emptied == bool(value)
    assert (event.data["lead_id"], event.recurrence) == (None, Recurrence.SIGNAL)


@given(st.sampled_from(NOTHING), st.sampled_from([name for name, row in CATALOGUE.items() if row.identifier]))
def test_an_event_without_its_identifier_is_always_a_new_one(word: str, name: str) -> None:
    row = CATALOGUE[name]
    attributes = {attribute: f"{attribute}-1" for attribute in row.attributes} | {str(row.identifier): word}
    query = "&".join(f"{attribute}={quote(value, safe='')}" for attribute, value in attributes.items())
    event = event_of(f"/{name}?{query}&{query}")  # twice, as in a template with a parameter too many
    assert (event.recurrence, event.data[str(row.identifier)]) == (Recurrence.SIGNAL, None)


def test_a_word_for_nothing_in_another_identifier_leaves_the_event_its_own() -> None:
    event = event_of("/agreement_status_changed?project_id=null&agreement_id=a1&status=signed")
    assert (event.recurrence, event.subject, event.data["project_id"]) == (Recurrence.STATE, "agreement/a1", None)


def test_a_state_of_which_the_values_are_known_counts_as_empty_too() -> None:
    assert event_of("/agreement_status_changed?agreement_id=a1&status=undefined").recurrence is Recurrence.SIGNAL


@pytest.mark.parametrize("word", ["void", "Unknown", "missing", "not%20set"])
def test_but_not_if_it_may_be_one_that_aurora_added(word: str) -> None:
    event = event_of(f"/agreement_status_changed?agreement_id=a1&status={word}")
    assert (event.recurrence, event.data["status"]) == (Recurrence.STATE, unquote(word))


# Secrets


def test_states_of_which_a_part_is_hidden_are_not_taken_for_the_same() -> None:
    first, second = (
        event_of(f"/project_status_changed?project_id=p1&status=token:%20{word}") for word in ("Submitted", "Approved")
    )
    assert first.data["status"] == second.data["status"] == "token: ***"
    assert (first.recurrence, first.family_key) == (Recurrence.SIGNAL, None)
    assert event_of("/project_status_changed?project_id=p1&status=token").recurrence is Recurrence.STATE


# Any value


@pytest.mark.parametrize(
    "piece", ["1", "<", "<a", "$(", "%a", "_", "&#1", " ", "[0", "{{", "LEAD_ID", "%25", "-", "\u3164"]
)
@pytest.mark.parametrize("attribute", ["project_id", "status"])
def test_a_long_value_is_judged_in_linear_time(piece: str, attribute: str) -> None:
    query = quote(piece, safe="") * (16_000 // len(quote(piece, safe="")))
    began = process_time()
    is_unfilled(f"/project_status_changed?{attribute}={query}!")
    assert process_time() - began < 1  # 16 kB in the square takes several
