"""URL templates: what they match, which attribute each value is, and which two of them one request could mean."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aurora_bridge.outcomes import DeadLetterReason, Malformed, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Match, Route, Routes, conflicts
from aurora_bridge.webhook.segment_pattern import Segment, TemplateError, placeholder_attribute
from aurora_bridge.webhook.url_template import Template, could_match_one

SECRETS: Final = SecretNames(["token", "session_token"])
EXAMPLE: Final = "https://hooks.example.com/hooks/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed-only"
UNKNOWN: Final = "roof_painted"
"""An event of which nothing is known, so that any attributes will do."""


def route(text: str, event: str = UNKNOWN) -> Route:
    template = Template(text, SECRETS)
    rules = Rules(SECRETS | template.secret_parameters)
    return Route(template.name, "acme", Anonymous(), rules, template, event)


def matched(target: bytes | str, *routes: Route) -> Match:
    """Return the match of a target. Raises `Refusal`."""
    raw = target.encode() if isinstance(target, str) else target
    return Routes("/", None, routes).match(Delivery("GET", raw, (), 0, 0.0))


def read(text: str, target: bytes | str, event: str = UNKNOWN) -> Event:
    """Return the event of a target that comes to a route with this template. Raises `Malformed`."""
    return normalise(matched(target, route(text, event)))


def reason(text: str, target: bytes | str) -> DeadLetterReason:
    with pytest.raises(Malformed) as caught:
        read(text, target)
    return caught.value.reason


def is_matched(target: bytes | str, *routes: Route) -> bool:
    try:
        matched(target, *routes)
    except Refusal:
        return False
    return True


# What comes back


def test_placeholders_name_the_attributes_whatever_the_parameters_are_called() -> None:
    event = read(EXAMPLE, "/hooks/v2/p-1?a=a-1&st=signed&kind=signed-only", "agreement_status_changed")
    assert event.data == {"agreement_id": "a-1", "project_id": "p-1", "status": "signed"}
    assert event.subject == "agreement/a-1"


@pytest.mark.parametrize(
    ("text", "target", "data"),
    [
        ("/v-<PROJECT_ID>.json", "/v-1.2.json", {"project_id": "1.2"}),
        ("/<A>-<B>-<C>", "/1-2-3-4", {"a": "1", "b": "2", "c": "3-4"}),
        ("/x?v=<A>.<B>", "/x?v=1.2.3", {"a": "1", "b": "2.3"}),
        ("/x?v=is-<A>", "/x?v=is-", {"a": None}),
        ("/x?v=is-<A>", "/x?v=", {"a": None}),
        ("/x?v=<A>", "/x?v", {"a": None}),
        ("/x?v=is-<A>", "/x?v", {"a": None}),
        ("/x?v=<A>", "/x?v=&w=1", {"a": None, "w": "1"}),
        ("/<A>?b=<B>", "/?b=2", {"a": None, "b": "2"}),
        ("/<A>", "/a%20b+c%2Fd", {"a": "a b+c/d"}),
        ("/x?v=<A>", "/x?v=a%20b+c%2Fd", {"a": "a b c/d"}),
        ("/caf%C3%A9/<A>", "/caf%c3%a9/1", {"a": "1"}),
        ("/a%20<A>", "/%61%201", {"a": "1"}),
        ("/x?v=a+b%20<A>", "/x?v=a%20b+1", {"a": "1"}),
        ("/x?v=<A>", "/x?v=%C3%A9", {"a": "é"}),
        ("?x=<Y>", "/?x=1", {"y": "1"}),
        ("https://hooks.example.com?x=<Y>", "/?x=1", {"y": "1"}),
        ("https://hooks.example.com", "/?more=1", {"more": "1"}),
        ("https://user:word@hooks.example.com:8443/x/?y=<Y>", "/x/?y=1", {"y": "1"}),
        ("/x?empty=&y=<Y>", "/x?empty=&y=1", {"y": "1"}),
        ("/x?bare&y=<Y>", "/x?bare&y=1", {"y": "1"}),
        ("/x?y=<Y>", "http://bridge.example/x?y=1", {"y": "1"}),
        ("/x?r=<DESIGN_REQUEST_ID_IN_AURORA>", "/x?r=1", {"design_request_id": "1"}),
        ("/x?y=<project-id>", "/x?y=1", {"project_id": "1"}),
        ("/x?y=%3CPROJECT_ID%3E", "/x?y=1", {"project_id": "1"}),
        ("/%3CPROJECT_ID%3E", "/1", {"project_id": "1"}),
        ("/x?y=<Y>", "/x?y=1&newOne=2", {"new_one": "2", "y": "1"}),
        ("/x?y=<Y>&z=<Y>", "/x?y=1&z=1", {"y": "1"}),
        ("/<Y>?z=<Y>", "/1?z=1", {"y": "1"}),
        ("/x?y=<Y>", "/x?y=1&y=1", {"y": "1"}),
        ("/x?k=v&y=<Y>", "/x?k=v&k=w&y=1", {"y": "1"}),
    ],
)
def test_a_target_reads_as(text: str, target: str, data: Mapping[str, str | None]) -> None:
    assert data == read(text, target).data


@pytest.mark.parametrize(
    "text", ["/x?a=<A>&kind=k&b=<B>", "/x?a=<A>&amp;kind=k&amp;b=<B>", "/x?a=<A>&kind[]=k&b[]=<B>"]
)
@pytest.mark.parametrize(
    ("query", "garbled"),
    [
        ("a=1&kind=k&b=2", ()),
        ("a=1&amp;kind=k&amp;b=2", ("amp;kind", "amp;b")),
        ("a[]=1&kind[]=k&b%5b%5d=2", ("a[]", "kind[]", "b[]")),
    ],
)
def test_garbled_names_are_read_as_they_were_meant_on_either_side(
    text: str, query: str, garbled: tuple[str, ...]
) -> None:
    event = read(text, f"/x?{query}")
    assert (event.data, event.garbled) == ({"a": "1", "b": "2"}, garbled)


def test_a_template_tells_which_of_its_names_are_garbled() -> None:
    assert Template("/x?a=<A>&amp;kind=k&b[]=<B>", SECRETS).garbled == ["amp;kind", "b[]"]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("/x?v=is-<A>", "/x?v=was-1", DeadLetterReason.NOT_AS_TEMPLATE),
        ("/x?v=<A>.<B>", "/x?v=1", DeadLetterReason.NOT_AS_TEMPLATE),
        ("/x?y=<Y>", "/x?y=1&y=2", DeadLetterReason.CONFLICTING_VALUES),
        ("/x?y=<Y>&z=<Y>", "/x?y=1&z=2", DeadLetterReason.CONFLICTING_VALUES),
        ("/<Y>?z=<Y>", "/1?z=2", DeadLetterReason.CONFLICTING_VALUES),
        ("/<Y>", "/%FF", DeadLetterReason.NOT_UTF8),
        ("/<Y>", "/\x7f", DeadLetterReason.CONTROL_CHARACTERS),
        ("/<Y>", "/%00", DeadLetterReason.CONTROL_CHARACTERS),
        ("/<Y>", "/%3CY%3E", DeadLetterReason.UNFILLED_PLACEHOLDER),
        ("/v-<Y>.json", "/v-<Y>.json", DeadLetterReason.UNFILLED_PLACEHOLDER),
        ("/x?v=is-<Y>", "/x?v=is-%3CY%3E", DeadLetterReason.UNFILLED_PLACEHOLDER),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(text: str, target: str, expected: DeadLetterReason) -> None:
    assert reason(text, target) is expected


def test_raw_bytes_of_a_path_are_read_like_encoded_ones() -> None:
    assert read("/<Y>", "/é".encode()).data == {"y": "é"} == read("/<Y>", "/%C3%A9").data


def test_the_order_of_parameters_and_their_place_make_no_other_event() -> None:
    fingerprints = {
        read("/x?p=<PROJECT_ID>&s=<STATUS>", "/x?s=sold&p=1").fingerprint,
        read("/<PROJECT_ID>?s=<STATUS>", "/1?s=sold").fingerprint,
        read("/x-<PROJECT_ID>?q=<STATUS>.", "/x-1?q=sold.").fingerprint,
    }
    assert len(fingerprints) == 1


def test_a_long_query_is_read_like_a_short_one_and_not_kept() -> None:
    long = "x" * 2000
    assert read("/x?y=<Y>", f"/x?y={long}").data == {"y": long}


def test_a_long_path_that_almost_matches_costs_no_more_than_its_length() -> None:
    """A regular expression with these placeholders would look at it some 10^15 times."""
    almost = "/" + "-" * 100_000
    assert not is_matched(almost, route("/<A>-<B>-<C>_<D>"))


# Secrets


def test_a_secret_under_another_name_reaches_no_event_and_is_known_by_that_name() -> None:
    template = Template("/x?st=<SESSION_TOKEN>&y=<Y>", SECRETS)
    assert template.secret_parameters == {"st"}
    assert read("/x?st=<SESSION_TOKEN>&y=<Y>", "/x?st=canary&y=1").data == {"y": "1"}


def test_a_secret_as_part_of_a_value_hides_the_whole_parameter_but_not_the_other_part() -> None:
    text = "/x?both=<Y>.<SESSION_TOKEN>"
    assert Template(text, SECRETS).secret_parameters == {"both"}
    assert read(text, "/x?both=1.canary").data == {"y": "1"}


def test_a_static_secret_chooses_nothing_and_stands_in_no_name() -> None:
    text = "/x?token=canary&kind=a&y=<Y>"
    template = Template(text, SECRETS)
    assert (template.name, template.static) == ("/x?kind=a", {"kind": "a"})
    assert read(text, "/x?token=other&kind=a&y=1").data == {"y": "1"}


@pytest.mark.parametrize("name", ["amp;token", "session_token[]", "x[token]", "token%20", "Session.Token"])
def test_a_secret_in_any_spelling_beside_the_template_reaches_no_event(name: str) -> None:
    assert read("/x?y=<Y>", f"/x?y=1&{name}=canary").data == {"y": "1"}


def test_a_static_secret_may_hold_what_no_value_may() -> None:
    assert Template("/x?token=can<ary&y=<Y>", SECRETS).name == "/x"


@pytest.mark.proves("No secret comes out: not in a message about a template")
def test_a_secret_within_what_is_static_stands_in_no_name() -> None:
    assert Template("/x;token=canary/<Y>?kind=a;token=canary", SECRETS).name == "/x;token=***?kind=a;token=***"


def test_a_name_has_no_host_and_no_credentials() -> None:
    assert Template("https://user:word@h.example/x/<Y>?z=<Z>", SECRETS).name == "/x/<Y>"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hooks.example.com/x", "begins neither with a scheme and host"),
        (" /x", "begins neither"),
        ("/x#y", "a # begins a fragment"),
        ("/a b", "white space"),
        ("/café", "Percent-encode"),
        ("/x?<Y>=1", "contains a placeholder"),
        ("/x?=<Y>", "a parameter has no name"),
        ("/x?y=<Y>&y=<Z>", "the parameter y occurs twice"),
        ("/x?y=1&%79=2", "the parameter y occurs twice"),
        ("/x?y=<Y", "has an unmatched"),
        ("/x/Y>", "has an unmatched"),
        ("/x?y=<>", "is not a placeholder"),
        ("/x?y=<a%20b>", "is not a placeholder"),
        ("/x?y=<Y><Z>", "has two adjacent placeholders"),
        ("/x/<SESSION_TOKEN>", "is a secret in the path"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text, SECRETS)
    assert words in str(caught.value)


# Which requests


@pytest.mark.parametrize(
    ("text", "target"),
    [("/a/b", "//a///b//"), ("/a/", "/a//"), ("/", "///"), ("/<A>", "//a//"), ("/x?k=v", "//x?k=v")],
)
def test_several_slashes_are_one(text: str, target: str) -> None:
    assert is_matched(target, route(text))


def test_an_empty_placeholder_goes_before_a_slash_too_many() -> None:
    """Both have two slashes in a row."""
    between, beside = route("/a/<A>/b"), route("/a/b")
    assert [matched(target, between, beside).route for target in ("/a//b", "/a/b")] == [between, beside]


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("/a/b", ["/a", "/a/", "/a/b/c", "/b/a", "/a//c", "/A/b", "/a/%2Fb", "/a%2Fb"]),
        ("/a/", ["/a", "/"]),
        ("/", ["/a", "/%00"]),
        ("/<A>", ["/a//b", "/a/b"]),
        ("/v-<A>.json", ["/v-.jso", "/v-1", "/1.json", "/v.json", "/V-1.json"]),
        ("/<A>-<B>", ["/", "/a"]),
        ("/aXYa<A>aYXa", ["/aXYaYXa"]),
        ("/x?k=v", ["/x", "/x?k", "/x?k=w", "/x?k=w&k=v", "/x?K=v", "/y?k=v", "/x?k=v%20"]),
        ("/x?k=", ["/x", "/x?k=v"]),
        ("/x?k=a+b", ["/x?k=a%2Bb"]),
    ],
)
def test_no_other_path_and_no_other_static_value_is_a_match(text: str, outside: list[str]) -> None:
    assert [target for target in outside if is_matched(target, route(text))] == []


@pytest.mark.parametrize(("text", "target"), [("/a", "/a/"), ("/<A>", "/a/"), ("/a/", "/a//"), ("/a?k=v", "/a/?k=v")])
def test_a_slash_too_many_at_the_end_is_left_out(text: str, target: str) -> None:
    assert is_matched(target, route(text))


@pytest.mark.parametrize("target", ["/a/?k=1", "http://bridge.example/a/?k=1", "/a/?k=1&k=2", "/%61/?k=1"])
def test_where_an_empty_placeholder_and_a_slash_at_the_end_look_alike_static_parameters_choose(target: str) -> None:
    shorter, longer = route("/a?k=1"), route("/a/<X>?k=2")
    assert list(conflicts([shorter, longer])) == []
    assert matched(target, shorter, longer).route is shorter
    assert matched(target.replace("k=1", "k=2", 1), shorter, longer).route is longer


def test_an_empty_placeholder_at_the_end_of_a_path_is_an_empty_attribute() -> None:
    assert read("/a/<X>", "/a/").data == {"x": None}
    assert read("/a/<X>/<Y>", "/a//").data == {"x": None, "y": None}


def test_extra_parameters_never_unchoose_the_route() -> None:
    assert is_matched("/x?more&k=v&k=w&%ff=%00&k", route("/x?k=v"))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("/a", "/a", True),
        ("/a", "/b", False),
        ("/a", "/a/", True),
        ("/a", "/a//", False),
        ("/a/", "/a//", True),
        ("/", "//", True),
        ("/a", "/a/<X>", True),
        ("/a/<PROJECT_ID>", "/a?p=<PROJECT_ID>", True),
        ("/a", "/a/v-<X>", False),
        ("/a", "/a/<X>/<Y>", False),
        ("/a/<X>", "/a/<X>/<Y>", True),
        ("/a/<X>", "/a/<Y>/", True),
        ("/a/b", "/a/<X>/<Y>", True),
        ("/a/<X>", "/a/b/<X>", True),
        ("/a/<X>", "/a/b/<X>/c", False),
        ("/<X>", "/a/<Y>", True),
        ("/a%2F", "/a", False),
        ("/a%2F", "/<X>", True),
        ("/a//b", "/a/b", False),
        ("/a//b", "/a/<X>/b", True),
        ("/a?k=1", "/a/?k=2", False),
        ("/a?k=1", "/a/<X>?k=2", False),
        ("/a?k=1", "/a/<X>", True),
        ("/a/", "/a/<X>", True),
        ("https://one.example/a", "https://two.example/a", True),
        ("/a%20b", "/a%20<X>", True),
        ("/%61", "/a", True),
        ("/v-1.json", "/v-<X>.json", True),
        ("/v-1", "/v-<X>.json", False),
        ("/<X>", "/<Y>", True),
        ("/a-<X>", "/<Y>-b", True),
        ("/a-<X>", "/b-<X>", False),
        ("/<X>.json", "/<X>.xml", False),
        ("/a<X>b<Y>c", "/a<X>d<Y>c", True),
        ("/ab<X>", "/a<X>", True),
        ("/x?k=1", "/x?k=2", False),
        ("/x?k=1", "/x?k=1&l=1", True),
        ("/x?k=1", "/x?l=1", True),
        ("/x?k=1", "/x?k=<K>", True),
        ("/x?k=1", "/x", True),
        ("/x?k=1&l=1", "/x?l=2&m=1", False),
        ("/x?k=a+b", "/x?k=a%20b", True),
        ("/x?token=1", "/x?token=2", True),
    ],
)
def test_two_templates_that_one_request_could_match(one: str, other: str, *, both: bool) -> None:
    templates = Template(one, SECRETS), Template(other, SECRETS)
    assert [both] * 2 == [could_match_one(*templates), could_match_one(*reversed(templates))]


def test_the_attribute_of_a_placeholder_is_its_name_in_snake_case() -> None:
    assert placeholder_attribute("AGREEMENT_ID") == "agreement_id"


# Properties

values_of_one = st.text(min_size=1).filter(lambda value: value.isprintable() and not value.startswith("<"))


@st.composite
def filled(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    """Return a template, a target that fills it, and the values it was filled with."""
    query: list[tuple[str, str]] = []
    values: dict[str, str] = {}

    def part(*, encode_plus: bool) -> tuple[str, str]:
        """Return a segment or value of the template, and what is sent for it."""
        literal = draw(st.sampled_from(["", "x", "v-", "a%20b", "%C3%A9"]))
        if not draw(st.booleans()):
            return literal, literal
        name = f"N{len(values)}"
        value = draw(values_of_one)
        values[name.lower()] = value
        sent = quote(value, safe="/" if encode_plus else "")
        behind = draw(st.sampled_from(["", ".json", "-%2B"]))
        return f"{literal}<{name}>{behind}", literal + sent + behind

    path = [part(encode_plus=False) for _ in range(draw(st.integers(1, 3)))]
    for number in range(draw(st.integers(0, 3))):
        template, sent = part(encode_plus=True)
        query.append((f"p{number}={template}", f"p{number}={sent}"))
    shuffled = draw(st.permutations(query))
    both = ["/".join(["", *(segment[index] for segment in path)]) for index in (0, 1)]
    if query:
        both[0] += "?" + "&".join(template for template, _ in query)
        both[1] += "?" + "&".join(sent for _, sent in shuffled)
    return both[0], both[1], values


@given(filled())
def test_whatever_fills_a_template_reads_back_exactly(case: tuple[str, str, dict[str, str]]) -> None:
    text, target, values = case
    assert read(text, target).data == values


segments = st.lists(
    st.sampled_from(["", "a", "b", "ab", "a-", "-b", "<X>", "a<X>", "<X>b", "a<X>b", "<X>-<Y>"]), max_size=3
)
statics = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2", "<Z>"]), max_size=2)


@st.composite
def templates(draw: st.DrawFn) -> str:
    query = "&".join(f"{name}={value}" for name, value in draw(statics).items())
    return "/" + "/".join(draw(segments)) + (f"?{query}" if query else "")


requests = st.builds(
    lambda path, query: "/" + "/".join(path) + "?" + "&".join(f"{name}={value}" for name, value in query),
    st.lists(st.text("ab-", max_size=3), max_size=3),
    st.lists(st.tuples(st.sampled_from("kl"), st.sampled_from("12")), max_size=3),
)


@pytest.mark.proves("no request matches two routes")
@given(st.lists(templates(), min_size=2, max_size=6), st.lists(requests, max_size=20))
@example(["/a", "/a/"], ["/a?", "/a/?"])
def test_no_request_matches_two_routes_of_a_set_without_conflicts(texts: list[str], targets: list[str]) -> None:
    routes: list[Route] = []
    for text in texts:
        new = route(text)
        if not list(conflicts([*routes, new])):
            routes.append(new)
    for target in targets:
        alone = [one for one in routes if is_matched(target, one)]
        assert len(alone) <= 1
        assert is_matched(target, *routes) == bool(alone)
        if alone:
            assert matched(target, *routes).route is alone[0]


@given(templates(), templates())
def test_what_is_refused_as_a_conflict_has_a_request_that_matches_both(one: str, other: str) -> None:
    """The converse: no two templates are refused for nothing. The request is made from their longest ends."""
    first, second = Template(one, SECRETS), Template(other, SECRETS)
    if could_match_one(first, second):
        path = "/".join(_common(*pair) for pair in zip_longest(first.segments, second.segments, fillvalue=""))
        query = "&".join(f"{name}={value}" for name, value in {**first.static, **second.static}.items())
        target = f"/{path}?{query}"
        assert is_matched(target, route(one))
        assert is_matched(target, route(other))


def _common(one: Segment, other: Segment) -> str:
    if isinstance(one, str):
        return one
    if isinstance(other, str):
        return other
    begin = max((one.literals[0], other.literals[0]), key=len)
    end = max((one.literals[-1], other.literals[-1]), key=len)
    return begin + "".join((*one.literals[1:-1], *other.literals[1:-1])) + end
