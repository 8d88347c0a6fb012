"""Tokens in a header or in the query, and Basic: several are valid at once, and nothing tells which or why not."""

import gc
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.outcomes import Credential, Reason, Refusal
from aurora_bridge.webhook import credentials
from aurora_bridge.webhook.credentials import (
    UNNEEDED,
    Anonymous,
    Authenticator,
    Credentials,
    Secrets,
    Uses,
    parse_basic,
    parse_tokens,
)
from aurora_bridge.webhook.delivery import Delivery

HEADER = "X-Aurora-Webhook-Token"


def valid(*tokens: bytes) -> Secrets:
    secrets = Secrets("tokens", ("header", "query"), {})
    secrets.replace(tokens)
    return secrets


CREDENTIALS = Credentials(HEADER, valid(b"canary-old", b"canary-new", "canary-ü".encode()))


def delivery(*headers: tuple[bytes, bytes]) -> Delivery:
    return Delivery("GET", b"/lead_changed", headers, 0, 0.0)


@pytest.mark.parametrize("token", [b"canary-old", b"canary-new", "canary-ü".encode()])
def test_each_of_the_tokens_is_valid(token: bytes) -> None:
    CREDENTIALS.admit(delivery((b"Accept", b"*/*"), (HEADER.encode(), token)))


@pytest.mark.parametrize("name", [b"x-aurora-webhook-token", b"X-AURORA-WEBHOOK-TOKEN"])
def test_the_headers_name_has_no_case(name: bytes) -> None:
    CREDENTIALS.admit(delivery((name, b"canary-new")))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((HEADER.encode(), b""),),
        ((HEADER.encode(), b"wrong"),),
        ((HEADER.encode(), b"canary-ne"),),
        ((HEADER.encode(), b"canary-new "),),
        ((HEADER.encode(), b"CANARY-NEW"),),
        ((HEADER.encode(), b"canary-old,canary-new"),),
        ((HEADER.encode(), b"\xff\xfe"),),
        ((b"X-Aurora-Webhook-Tokem", b"canary-new"),),
        ((b"Authorization", b"canary-new"),),
    ],
)
def test_everything_else_is_refused_alike(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(Refusal) as caught:
        CREDENTIALS.admit(delivery(*headers))
    assert (caught.value.reason, caught.value.doubtful, str(caught.value)) == (
        Reason.UNAUTHORIZED,
        False,
        "unauthorized",
    )


@pytest.mark.proves("An attacker cannot: have an event kept without a valid credential")
@given(st.binary())
def test_any_other_bytes_are_refused(token: bytes) -> None:
    with pytest.raises(Refusal):
        CREDENTIALS.admit(delivery((HEADER.encode(), b"x" + token)))


def test_without_a_token_nobody_comes_in() -> None:
    with pytest.raises(Refusal):
        Credentials(HEADER, valid()).admit(delivery((HEADER.encode(), b"")))


@pytest.mark.proves(
    "no secret leaves, and a secret changes without a refusal",
    "Where each secret lives: tokens and Basic pairs of Aurora",
    "No secret comes out: not in the repr of what keeps credentials",
)
def test_the_tokens_are_not_kept() -> None:
    secrets = valid(b"canary-old")
    kept = list(held(secrets))
    assert sha256(b"canary-old").digest() in kept
    assert "canary" not in f"{secrets!r} {kept!r}"


def held(holder: object) -> Iterator[str | bytes]:
    """Yield the texts in an object, whichever build its class is of."""
    for one in gc.get_referents(holder):
        if isinstance(one, str | bytes):
            yield one
        elif isinstance(one, dict | list | tuple):
            yield from held(one)


def test_where_anonymous_deliveries_are_allowed_everybody_comes_in() -> None:
    Anonymous().admit(delivery())


OPEN = (Anonymous(), Credentials(HEADER, None, anonymous=True), Credentials(HEADER, valid(b"one"), anonymous=True))


@pytest.mark.proves("An attacker cannot: deliver through somebody's browser")
@pytest.mark.parametrize("credentials", OPEN)
@pytest.mark.parametrize("value", [b"cross-site", b"same-site", b"Cross-Site", b"", b"whatever comes next"])
def test_but_no_page_of_another_site_in_somebodys_browser(credentials: Authenticator, value: bytes) -> None:
    """Another port of this host is another site, as far as anybody knows: a browser calls it the same."""
    with pytest.raises(Refusal) as caught:
        credentials.admit(delivery((b"Host", b"x"), (b"Sec-Fetch-Site", value)))
    assert caught.value.reason is Reason.CROSS_SITE


@pytest.mark.parametrize("credentials", OPEN)
@pytest.mark.parametrize("value", [b"none", b"same-origin"])
def test_who_types_an_address_into_a_browser_comes_in(credentials: Authenticator, value: bytes) -> None:
    credentials.admit(delivery((b"sec-fetch-site", value)))


def test_with_a_valid_credential_it_matters_to_nobody_who_asks() -> None:
    site = (b"Sec-Fetch-Site", b"cross-site")
    CREDENTIALS.admit(delivery(site, (HEADER.encode(), b"canary-new")))
    OPEN[2].admit(delivery(site, (HEADER.encode(), b"one")))


@pytest.mark.parametrize("token", ["canary-ü", "ÿ"])
def test_a_secret_outside_ascii_may_come_in_iso_8859_1(token: str) -> None:
    """HTTP says nothing of the encoding of a header, RFC 7617 leaves it open, and old forms escape it so."""
    credentials = Credentials(HEADER, valid(token.encode()), query_parameter="key")
    credentials.admit(delivery((HEADER.encode(), token.encode("latin-1"))))
    escaped = quote(token, encoding="latin-1").encode()
    credentials.admit(Delivery("GET", b"/a?key=" + escaped, (), 0, 0.0))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("one\n", (b"one",)),
        ("one", (b"one",)),
        ("one\r\ntwo\r\n", (b"one", b"two")),
        ("\n  one  \n\n\ttwo\n\n", (b"one", b"two")),
        ("with space inside\n", (b"with space inside",)),
        ("ü\n", ("ü".encode(),)),
        ("# old token, remove in May\none\n  # another\n#\ntwo#2\n", (b"one", b"two#2")),
    ],
)
def test_a_file_has_one_token_a_line(text: str, tokens: tuple[bytes, ...]) -> None:
    assert tokens == parse_tokens(text)


@pytest.mark.parametrize("text", ["", " \n\n", "# one\n#two"])
def test_a_file_without_a_token_says_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match="holds no token"):
        parse_tokens(text)


# HTTP Basic

PAIRS = "# who:left in May\naurora:a:b c \n\nüser:pässword\r\n:only a password\nonly-a-user:\n  #no:pair\n"


def basic(pair: bytes, scheme: bytes = b"Basic ") -> tuple[bytes, bytes]:
    return b"Authorization", scheme + b64encode(pair)


def test_a_route_names_the_schemes_that_it_takes() -> None:
    basic_alone, tokens_alone, both = takes_basic(), CREDENTIALS, Credentials(HEADER, valid(b"a"), Secrets("b", (), {}))
    assert [taken.challenges for taken in (basic_alone, tokens_alone, both, Anonymous())] == [
        ['Basic realm="aurora-bridge", charset="UTF-8"'],
        ["AuroraToken"],
        ['Basic realm="aurora-bridge", charset="UTF-8"', "AuroraToken"],
        (),
    ]


def takes_basic(uses: Uses | None = None) -> Credentials:
    pairs = Secrets("basic", ("basic",), {} if uses is None else uses)
    pairs.replace(parse_basic(PAIRS))
    return Credentials(HEADER, None, pairs)


@pytest.mark.parametrize(
    "pair",
    [
        b"aurora:a:b c ",
        "üser:pässword".encode(),
        "üser:pässword".encode("latin-1"),
        b":only a password",
        b"only-a-user:",
    ],
)
def test_a_pair_is_taken_as_it_stands_with_its_colons_spaces_and_letters(pair: bytes) -> None:
    takes_basic().admit(delivery(basic(pair)))


@pytest.mark.parametrize("scheme", [b"basic ", b"BASIC ", b"Basic  "])
def test_the_scheme_has_no_case(scheme: bytes) -> None:
    takes_basic().admit(delivery((b"authorization", scheme + b64encode(b"only-a-user:"))))


@pytest.mark.parametrize(
    "header",
    [
        basic(b"aurora:a:b c"),
        basic(b"aurora:a"),
        basic(b"aurora"),
        basic(b""),
        basic("üser:pässword".encode("utf-16")),
        basic("ÜSER:pässword".encode("latin-1")),
        basic(b"#no:pair"),
        basic(b"only-a-user:", b"Bearer "),
        (b"Authorization", b""),
        (b"Authorization", b"Basic"),
        (b"Authorization", b"Basic only-a-user:"),
        (b"Authorization", b"Basic " + b64encode(b"only-a-user:")[:-1] + b"*"),
        (b"Authorization", b"Basic \xff\xfe"),
        (b"Proxy-Authorization", basic(b"only-a-user:")[1]),
        (HEADER.encode(), b"only-a-user:"),
    ],
)
def test_any_other_authorization_is_refused_alike(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        takes_basic().admit(delivery(header))
    assert caught.value.reason is Reason.UNAUTHORIZED


@pytest.mark.proves("An attacker cannot: have an event kept without a valid credential")
@given(st.binary())
def test_any_bytes_behind_basic_are_refused(value: bytes) -> None:
    with pytest.raises(Refusal):
        takes_basic().admit(delivery((b"Authorization", b"Basic x" + value)))


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "holds no credentials"), (" \n", "holds no credentials"), ("a:b\n\nab\n", "has no colon in line 3")],
)
def test_a_file_that_has_no_pair_says_what_to_do_and_nothing_of_its_content(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_basic(text)
    assert "ab" not in str(caught.value)


# The token in the query


def with_query(target: bytes, *tokens: bytes) -> None:
    Credentials(HEADER, valid(*tokens), query_parameter="st").admit(Delivery("GET", target, (), 0, 0.0))


@pytest.mark.parametrize(
    "target",
    [
        b"/x?st=a+b",
        b"/x?st=a%2Bb",
        b"/x?y=1&st=%61%2bb",
        b"/x?%73t=a+b&z",
        b"/x?st=wrong&st=a+b",
        b"http://bridge.example/x?st=a+b",
    ],
)
def test_a_token_in_the_query_is_found_however_it_is_encoded(target: bytes) -> None:
    with_query(target, b"other", b"a+b")


@pytest.mark.proves("No secret comes out: not under another spelling of its name")
@pytest.mark.parametrize("name", ["St", "s_t", "amp;st", "st[]", "x[st]", "+st", "st%20", "%2573t"])
def test_and_however_its_parameter_is_spelled(name: str) -> None:
    with_query(f"/x?y=1&st=wrong&{name}=a".encode(), b"a")


def test_a_plus_may_stand_for_a_space() -> None:
    with_query(b"/x?st=a+b", b"a b")


@pytest.mark.parametrize(
    "target", [b"/x", b"/x?st", b"/x?st=", b"/x?s_tt=a", b"/x?s=a", b"/st=a", b"/x?xst=a", b"/x?st=a%20"]
)
def test_a_query_without_a_valid_token_is_refused(target: bytes) -> None:
    with pytest.raises(Refusal):
        with_query(target, b"a")


def test_without_a_parameter_a_token_in_the_query_is_none() -> None:
    with pytest.raises(Refusal):
        Credentials(HEADER, valid(b"a")).admit(Delivery("GET", b"/x?=a&st=a&X-Aurora-Webhook-Token=a", (), 0, 0.0))


# Missing or wrong: for the log, never for the answer


@pytest.mark.parametrize(
    ("target", "headers", "credential"),
    [
        (b"/x", (), Credential.MISSING),
        (b"/x", ((HEADER.encode(), b""),), Credential.MISSING),
        (b"/x", ((b"X-Other", b"a"), (b"Cookie", b"a")), Credential.MISSING),
        (b"/x?st=", (), Credential.MISSING),
        (b"/x?other=a", (), Credential.MISSING),
        (b"/x", ((HEADER.encode(), b"b"),), Credential.WRONG),
        (b"/x", ((HEADER.lower().encode(), b""), (HEADER.encode(), b"b")), Credential.WRONG),
        (b"/x", ((b"Authorization", b"Basic dTpw"),), Credential.WRONG),
        (b"/x", ((b"Authorization", b"Bearer a"),), Credential.WRONG),
        (b"/x?st=b", (), Credential.WRONG),
        (b"/x?%73t=b&st=", ((HEADER.encode(), b""),), Credential.WRONG),
    ],
)
def test_a_credential_that_is_missing_is_told_from_a_wrong_one(
    target: bytes, headers: tuple[tuple[bytes, bytes], ...], credential: Credential
) -> None:
    with pytest.raises(Refusal) as caught:
        Credentials(HEADER, valid(b"a"), valid(b"user:a"), "st").admit(Delivery("GET", target, headers, 0, 0.0))
    assert caught.value.credential is credential


# Several, and their uses


def test_any_one_valid_credential_of_several_kinds_is_enough_and_is_counted_by_kind_and_position() -> None:
    uses: Uses = {}
    tokens, pairs = Secrets("tokens", ("header", "query"), uses), Secrets("basic", ("basic",), uses)
    tokens.replace([b"old", b"new"])
    pairs.replace([b"u:p"])
    credentials = Credentials(HEADER, tokens, pairs, "st", uses=uses)
    credentials.admit(delivery((HEADER.encode(), b"new")))
    credentials.admit(delivery((HEADER.encode(), b"wrong"), basic(b"u:p")))
    credentials.admit(Delivery("GET", b"/x?st=old", (basic(b"wrong:pair"),), 0, 0.0))
    with pytest.raises(Refusal):
        credentials.admit(delivery((HEADER.encode(), b"u:p"), basic(b"new")))
    assert uses == {
        ("tokens", "header", "1"): 0,
        ("tokens", "header", "2"): 1,
        ("tokens", "query", "1"): 1,
        ("tokens", "query", "2"): 0,
        ("basic", "basic", "1"): 1,
    }


def test_whether_a_credential_is_valid_can_be_asked_without_a_use_of_it() -> None:
    uses: Uses = {}
    tokens, pairs = Secrets("tokens", ("header", "query"), uses), Secrets("basic", ("basic",), uses)
    tokens.replace([b"one"])
    pairs.replace([b"u:p"])
    for anonymous in (False, True):
        credentials = Credentials(HEADER, tokens, pairs, "st", anonymous=anonymous, uses=uses)
        assert credentials.recognizes(delivery((HEADER.encode(), b"one")))
        assert credentials.recognizes(delivery(basic(b"u:p")))
        assert credentials.recognizes(Delivery("GET", b"/x?st=one", (), 0, 0.0))
        assert not credentials.recognizes(delivery((HEADER.encode(), b"two"), basic(b"u:q")))
    assert not Anonymous().recognizes(delivery((HEADER.encode(), b"one")))


def test_whether_one_would_be_let_in_is_known_without_counting_it() -> None:
    uses: Uses = {}
    tokens = Secrets("tokens", ("header", "query"), uses)
    tokens.replace([b"one"])
    strict, open_to_all = (Credentials(HEADER, tokens, anonymous=anonymous, uses=uses) for anonymous in (False, True))
    assert strict.would_admit(delivery((HEADER.encode(), b"one")))
    assert not strict.would_admit(delivery((HEADER.encode(), b"two")))
    assert open_to_all.would_admit(delivery())
    assert Anonymous().would_admit(delivery())
    assert set(uses.values()) == {0}
    assert set(uses.values()) == {0}


def test_what_replaces_the_secrets_is_valid_at_once_and_what_it_left_out_no_more() -> None:
    uses: Uses = {}
    tokens = Secrets("tokens", ("header",), uses)
    credentials = Credentials(HEADER, tokens)
    tokens.replace([b"old", b"new"])
    credentials.admit(delivery((HEADER.encode(), b"new")))
    tokens.replace([b"new"])
    credentials.admit(delivery((HEADER.encode(), b"new")))
    with pytest.raises(Refusal):
        credentials.admit(delivery((HEADER.encode(), b"old")))
    assert uses == {("tokens", "header", "1"): 1, ("tokens", "header", "2"): 1}


def test_a_token_that_stands_twice_in_the_file_is_valid() -> None:
    tokens = valid(b"one", b"two", b"one")
    assert tokens.admit("header", b"one")


def test_where_anonymous_deliveries_are_allowed_beside_tokens_both_come_in_and_are_told_apart() -> None:
    uses: Uses = {}
    tokens = Secrets("tokens", ("header",), uses)
    tokens.replace([b"one"])
    credentials = Credentials(HEADER, tokens, anonymous=True, uses=uses)
    for headers in ((), ((HEADER.encode(), b"wrong"),), ((HEADER.encode(), b"one"),)):
        credentials.admit(delivery(*headers))
    assert uses == {("tokens", "header", "1"): 1, UNNEEDED: 2}


@pytest.mark.proves("An attacker cannot: learn from the answer what was wrong with a credential")
def test_digests_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither how much of a secret was right shows in the time it takes, nor which of several it was."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare_digest(one, other)

    monkeypatch.setattr(credentials, "compare_digest", compare)
    for token in (b"first", b"third", b"wrong", b"", b"f" * 10_000):
        compared.clear()
        assert valid(b"first", b"second", b"third").admit("header", token) is (token in {b"first", b"third"})
        assert compared == [(32, 32)] * 3
