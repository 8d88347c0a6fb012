"""Header tokens: several are valid at once, and nothing tells which or why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.webhook.credentials import Anonymous, Credentials, Secrets, parse_tokens
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


def test_one_valid_token_among_several_headers_is_enough() -> None:
    CREDENTIALS.admit(delivery((HEADER.encode(), b"wrong"), (HEADER.encode(), b"canary-new")))


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


@given(st.binary())
def test_any_other_bytes_are_refused(token: bytes) -> None:
    with pytest.raises(Refusal):
        CREDENTIALS.admit(delivery((HEADER.encode(), b"x" + token)))


def test_without_a_token_nobody_comes_in() -> None:
    with pytest.raises(Refusal):
        Credentials(HEADER, valid()).admit(delivery((HEADER.encode(), b"")))


def test_the_tokens_are_not_kept() -> None:
    secrets = valid(b"canary-old")
    kept = vars(secrets)
    assert "canary" not in f"{secrets!r} {kept!r}"
    assert not any(b"canary" in digest for digest in kept["_digests"])


def test_where_anonymous_deliveries_are_allowed_everybody_comes_in() -> None:
    Anonymous().admit(delivery())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("one\n", (b"one",)),
        ("one", (b"one",)),
        ("one\r\ntwo\r\n", (b"one", b"two")),
        ("\n  one  \n\n\ttwo\n\n", (b"one", b"two")),
        ("with space inside\n", (b"with space inside",)),
        ("ü\n", ("ü".encode(),)),
    ],
)
def test_a_file_has_one_token_a_line(text: str, tokens: tuple[bytes, ...]) -> None:
    assert tokens == parse_tokens(text)


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_a_file_without_a_token_says_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match="holds no token"):
        parse_tokens(text)
