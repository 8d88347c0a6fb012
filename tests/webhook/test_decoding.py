"""Decoding of queries: what Aurora may send is taken, what would let two values share an identity is not."""

from contextlib import suppress
from time import process_time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.webhook.decoding import canonical_name, meant_name, names_in, split_query

CONTROL = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters=CONTROL))
WORDS = st.lists(st.from_regex(r"[a-z]{2,8}", fullmatch=True), min_size=1, max_size=4)


def decode_query(query: bytes) -> list[tuple[str, str]]:
    """Return the parameters in a query, in order."""
    frame, values, _ = split_query(query)
    return [(name, "" if place is None else values[place]) for name, place in names_in(frame)]


def reason_of(query: bytes) -> DeadLetterReason:
    with pytest.raises(Malformed) as caught:
        decode_query(query)
    return caught.value.reason


# Names


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("project_id", "project_id"),
        ("projectId", "project_id"),
        ("ProjectId", "project_id"),
        ("Project-Id", "project_id"),
        ("PROJECT_ID", "project_id"),
        ("project id", "project_id"),
        ("project.id", "project_id"),
        ("project--id", "project_id"),
        ("projectID", "project_id"),
        ("PDFUrl", "pdf_url"),
        ("utm2Source", "utm2_source"),
        ("straße", "straße"),
        ("", ""),
    ],
)
def test_a_name_becomes_lower_snake_case(name: str, canonical: str) -> None:
    assert canonical == canonical_name(name)


@given(WORDS)
def test_every_common_way_to_write_a_name_leads_to_the_same_one(words: list[str]) -> None:
    camel = words[0] + "".join(word.title() for word in words[1:])
    pascal = "".join(word.title() for word in words)
    written = ["_".join(words), "-".join(words), "_".join(words).upper(), "-".join(words).title(), camel, pascal]
    assert ["_".join(words)] * len(written) == [canonical_name(name) for name in written]


@given(st.text())
def test_a_canonical_name_stays_as_it_is(name: str) -> None:
    canonical = canonical_name(name)
    assert canonical == canonical_name(canonical)


# Names that HTML or a framework garbled

BEFORE = st.sampled_from(
    ["", "amp;", "AMP;", "amp;amp;", "#38;", "#038;", "#x26;", " ", "\u00a0", "\ufeff", "?", "[", "{", '"']
)
BEHIND = st.sampled_from(["", "[]", "[0]", " ", "]", "}", '"', "[] ", "\u200b", ":"])


@given(
    BEFORE,
    st.sampled_from(["status", "projectId", "Project-Id", "PROJECT ID", "_", "_ga", "größe", "x_", "amp"]),
    BEHIND,
)
def test_a_name_is_read_without_what_stands_around_it(before: str, name: str, behind: str) -> None:
    assert name == meant_name(before + name + behind)


@pytest.mark.parametrize(
    "name", ["", "!", "[]", "amp;", "status[x]", "x[1]", "x[10]", "a.b", "amplitude", "a;b", "lead[0]id", "0"]
)
def test_any_other_name_stays_as_it_is(name: str) -> None:
    assert canonical_name(name).strip("_") == canonical_name(meant_name(name)).strip("_")


@given(st.text())
def test_a_name_that_was_read_stays_as_it_is(name: str) -> None:
    once = canonical_name(meant_name(name))
    assert canonical_name(meant_name(once)) == once


@pytest.mark.parametrize("piece", ["[", "[]", "[0]", "!", "amp;", "]", "&#1", "#0"])
def test_a_long_name_is_read_in_linear_time(piece: str) -> None:
    began = process_time()
    meant_name(piece * (16_000 // len(piece)) + "x")
    meant_name("x" + piece * (16_000 // len(piece)) + "x!")
    assert process_time() - began < 0.5  # 16 kB in the square takes several seconds


# Queries


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"a=1&b=2", [("a", "1"), ("b", "2")]),
        (b"b=2&a=1&b=3", [("b", "2"), ("a", "1"), ("b", "3")]),
        (b"a", [("a", "")]),
        (b"a=", [("a", "")]),
        (b"=1", [("", "1")]),
        (b"&&a=1&", [("a", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=1?b=2", [("a", "1?b=2")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
        (b"status=In%20Progress", [("status", "In Progress")]),
        (b"status=In+Progress", [("status", "In Progress")]),
        (b"status=1%2B1", [("status", "1+1")]),
        (b"status=Project%Sold", [("status", "Project%Sold")]),
        (b"status=100%", [("status", "100%")]),
        (b"status=%4", [("status", "%4")]),
        (b"status=%2541", [("status", "%41")]),
        (b"project%5Fid=1", [("project_id", "1")]),
        (b"status=caf%C3%A9", [("status", "café")]),
        (b"status=caf%c3%a9", [("status", "café")]),
        ("status=café".encode(), [("status", "café")]),
    ],
)
def test_a_query_is_read_as_its_sender_meant_it(query: bytes, pairs: list[tuple[str, str]]) -> None:
    assert pairs == decode_query(query)


@pytest.mark.parametrize("query", [b"a=%ff", b"a=%C3", b"%c0%af=1", b"a=\xe9", b"a=%ED%A0%80", b"a=1&b=\xff%20"])
def test_what_is_not_utf_8_is_malformed(query: bytes) -> None:
    assert DeadLetterReason.NOT_UTF8 is reason_of(query)


@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_control_characters_are_malformed_however_they_come(character: str) -> None:
    encoded = character.encode()
    for query in (b"a=x" + encoded, b"a=x+" + encoded, b"a=x" + quote(encoded).encode(), encoded + b"=x"):
        assert DeadLetterReason.CONTROL_CHARACTERS is reason_of(query)


@given(st.lists(st.tuples(TEXT, TEXT)), st.booleans())
def test_what_was_encoded_comes_out_again(pairs: list[tuple[str, str]], plus: bool) -> None:  # noqa: FBT001
    def encode(text: str) -> str:
        return quote(text, safe=" ").replace(" ", "+") if plus else quote(text, safe="")

    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs).encode()
    assert pairs == decode_query(query)


def test_queries_of_one_template_share_their_frame() -> None:
    frames = {split_query(query)[0] for query in (b"a=1&b=2&c", b"a=&b=%20&c", b"a=x=y&b=?&c")}
    assert frames == {("a", "&b", "&c")}


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_malformed(query: bytes) -> None:
    pairs: list[tuple[str, str]] = []
    with suppress(Malformed):
        pairs = decode_query(query)
    assert not set(CONTROL) & {character for pair in pairs for text in pair for character in text}
