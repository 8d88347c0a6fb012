"""One rule for the name of a secret: how it may be spelled, where it may stand, and that nothing else is hidden."""

import json
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.outcomes import Malformed
from aurora_bridge.redaction import SecretNames, redact_path
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import normalise
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes

BY_DEFAULT: Final = Settings().ingress.secret_parameters
SECRETS: Final = SecretNames(BY_DEFAULT)
ROUTES: Final = Routes("/", Route("default", "default", Anonymous(), Rules(SECRETS)))


def outcome(target: str) -> str:
    """Return all that a delivery leaves behind: its event, or its target as a dead letter has it."""
    try:
        event = normalise(ROUTES.match(Delivery("GET", target.encode(), (), 0, 0.0)))
    except Malformed:
        return SECRETS.redact_target(target.encode())
    return json.dumps([event.data, event.subject], ensure_ascii=False)


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("token", "TOKEN", "sessionToken", "SESSION-TOKEN", "session token", "sessiontoken", "session.token"),
        *("access_token", "auth_token", "api_token", "webhook_token", "secret_key", "client_secret", "apikey"),
        *("pwd", "passwd", "password", "authorization", "Authorization"),
        *("_token", "token_", " token ", "token[]", "token[0]", "token[value]", "x[token]", "x[y][token]", "x.token"),
        *("amp;token", "amp;amp;token", "{token}", "{{token}}", "<token>", "$token", "--token", '"token"', "x/token"),
        *("%74oken", "session%5Ftoken", "session%255Ftoken", "%2574oken", "session%25255Ftoken"),
        *("token=x", "session_token%3Dx", "a;token=x", '{"token":"x"}', "token:x"),
        *("\u017fecret", "to\u200bken"),
    ],
)
def test_a_secrets_name_is_known_in_any_spelling(name: str) -> None:
    assert name in SECRETS


@pytest.mark.parametrize(
    "name",
    [
        *("", "_", "[]", "tokens", "token2", "my_token", "my-token", "myToken", "my token", "token_expires_at"),
        *("key", "secretary", "passwords", "project_id", "authorization_status", "%", "%zz", "%FF", "to_k", "é_token"),
    ],
)
def test_a_name_that_only_contains_a_secrets_is_another(name: str) -> None:
    assert name not in SECRETS


def test_a_name_without_letters_and_digits_is_itself_alone() -> None:
    names = SecretNames(["_", "x"])
    assert ["_" in names, "x" in names, "-" in names, "" in names, "_ga" in names] == [True, True, False, False, False]
    assert "anything" not in SecretNames(())


def test_names_can_be_added() -> None:
    more = SECRETS | {"st"}
    assert ["st" in more, "token" in more, "st" in SECRETS] == [True, True, False]


# Values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token=canary", "token=***"),
        ("token: canary", "token: ***"),
        ("Sold?token=canary", "Sold?token=***"),
        ("Sold; Session-Token = canary", "Sold; Session-Token = ***"),
        ("Sold,token=canary,status=Lost", "Sold,token=***,status=Lost"),
        ("token=canary=and=more;then", "token=***;then"),
        ("token=>canary", "token=>***"),
        ("token[0]=canary x.token=canary", "token[0]=*** x.token=***"),
        ("/token=canary", "/token=***"),
        ("x;y;token=canary;z?secret=canary&w", "x;y;token=***;z?secret=***&w"),
        ("Authorization: Bearer canary and more", "Authorization: *** and more"),
        ("authorization=Basic canary", "authorization=***"),
        ('{"token":"canary","status":"Sold"}', '{"token":"***","status":"Sold"}'),
        ('{"a": {"token" : "can\\"ary"}, "b": 1}', '{"a": {"token" : "***"}, "b": 1}'),
        ("{'token': 'canary', 'b': 1}", "{'token': '***', 'b': 1}"),
        ('{"a":"{\\"token\\":\\"canary\\",\\"b\\":1}"}', '{"a":"{\\"token\\":\\"***\\",\\"b\\":1}"}'),
        ('{"token":["canary", "canary"]}', '{"token":***'),
        ('{"token": {"a": {"b": "canary"}, "c": "canary"}}', '{"token": ***'),
        ('{"token": 5, "b": 1}', '{"token": ***, "b": 1}'),
        ("https://h/x?a=b&token=canary&c=d", "https://h/x?a=b&token=***&c=d"),
        ("https%3A%2F%2Fh%2Fx%3Ftoken%3Dcanary%26c%3Dd", "https%3A%2F%2Fh%2Fx%3Ftoken%3D***%26c%3Dd"),
        ("session_token%3Dcanary", "session_token%3D***"),
        ("session%255Ftoken%253Dcanary", "session_token%253D***"),
        ("%7B%22token%22%3A%22canary%22%7D", "%7B%22token%22%3A%22***%22%7D"),
        ("a%00token%3Dcanary%FF", "a%00token%3D***"),
    ],
)
def test_what_is_assigned_to_a_secrets_name_is_hidden(text: str, shown: str) -> None:
    assert shown == SECRETS.redact(text)
    assert shown == SECRETS.redact(shown)


VERBATIM: Final = (
    *("Sold;password", "Sold", "token", "Sold?token", "R&secret", "A & B", "a?b=c;d", "Sold?token=", "Sold;token=;z"),
    *("my token=1", "Sold;tokens=1", "Sold;the token=1", "Waiting for the password: customer", "to=ken=1"),
    *("2026-11-30T10:00:00Z", "Sold [token] pending: x", "https://h/x?a=b%26c%3Dd", "50% off: token", "%zz%", "%FF:"),
    *('{"status":"Sold"}', '"token":""', "key=value", "status: Sold; password", "token%3D", "x%253Dpassword"),
)


@pytest.mark.proves("No secret comes out: nothing else is hidden")
@pytest.mark.parametrize("text", VERBATIM)
def test_a_value_is_never_cut_because_a_word_in_it_is_a_secrets_name(text: str) -> None:
    assert text == SECRETS.redact(text)
    assert [text] == SECRETS.redact_values([text])


@pytest.mark.proves("No secret comes out: nothing else is hidden")
@given(st.lists(st.sampled_from([*VERBATIM, *BY_DEFAULT, "Sold", "at 10:30", "a=b"]), max_size=5))
def test_nor_because_of_what_stands_beside_it(texts: list[str]) -> None:
    text = "; ".join(texts)
    assert text == SECRETS.redact(text)


@pytest.mark.parametrize(
    "piece",
    ["token", "token.", "token ", "token=", "token:'", "token[a", "t ", "_-", "=", "%25", "token:bearer ", "\\"],
)
def test_a_long_text_costs_no_more_than_its_length(piece: str) -> None:
    """A pattern that tries again from each place would take minutes."""
    text = piece * (64_000 // len(piece))
    for odd in (text, f"{text}=", f"token:{text}", f"token:'{text}"):
        assert len(SECRETS.redact(odd)) <= len(odd) + len("***")
        assert (odd in SECRETS) in {True, False}


# Request targets


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/x?project_id=1&token=canary&status=a", "/x?project_id=1&token=***&status=a"),
        (b"/x?sessionToken=canary", "/x?sessionToken=***"),
        (b"/x?SESSION-TOKEN=canary", "/x?SESSION-TOKEN=***"),
        (b"/x?session%5Ftoken=canary", "/x?session%5Ftoken=***"),
        (b"/x?%74oken=canary", "/x?%74oken=***"),
        (b"/x?api+key=canary", "/x?api+key=***"),
        (b"/x?my+token=1", "/x?my+token=1"),
        (b"/x?token=canary/and?more;canary=canary,canary", "/x?token=***"),
        (b"/x?token=", "/x?token=***"),
        (b"/x?token", "/x?token"),
        (b"/x?token%3Dcanary", "/x?token=***"),
        (b"/x?token%3Dcanary=canary", "/x?token=***=***"),
        (b"/x?a=b?token=canary", "/x?a=b?token=***"),
        (b"/x?a=b;token=canary&c=d", "/x?a=b;token=***&c=d"),
        (b"/x?a=b%26token%3Dcanary", "/x?a=b%26token=***"),
        (b"/x?a=%22token%22:+%22can,ary%22", '/x?a="token":%20"***"'),
        (b"/x?a=session_token%253Dcanary", "/x?a=session_token%253D***"),
        (b"/x?a=b,session_token=canary", "/x?a=b,session_token=***"),
        (b"/x%3Ftoken=canary", "/x?token=***"),
        (b"/x&token=canary", "/x%26token=***"),
        (b"/token=canary/y?a=1", "/token=***?a=1"),
        (b"http://user:canary@host/x?a=1", "http://host/x?a=1"),
        (b"//user:canary@host/x", "//host/x"),
        (b"user:canary@host:443", "host:443"),
        (b"/x?mail=a@b.c", "/x?mail=a@b.c"),
        (b"/x?name=J%C3%B6rg&status=%zz", "/x?name=J%C3%B6rg&status=%zz"),
        (b'/x?a=\xff \n\x00"<', '/x?a=%FF%20%0A%00"<'),
        (b"/x?\xfftoken=canary", "/x?%FFtoken=***"),
        (b"/x?a=%ff%26token=canary", "/x?a=%FF%26token=***"),
        (b"", ""),
    ],
)
def test_a_target_is_shown_without_its_secrets(target: bytes, expected: str) -> None:
    assert expected == SECRETS.redact_target(target)


@given(target=st.binary(max_size=60))
def test_what_is_shown_of_a_target_is_printable_ascii(target: bytes) -> None:
    shown = SECRETS.redact_target(target)
    assert shown.isascii()
    assert shown.isprintable()
    assert " " not in shown


@given(st.text(st.sampled_from("ab%&=?+;/ 23D6"), max_size=30))
def test_a_target_without_a_secrets_name_stays_as_it_came(text: str) -> None:
    assert text.replace(" ", "%20") == SECRETS.redact_target(text.encode())


# Made-up spellings: events and dead letters alike

PREFIXES: Final = ("", "amp;", "_", "x[", "x.", "x[y][", " ", '"', "{{", "$", "--", "x;", "x,", "x?", "x/")
SUFFIXES: Final = ("", "_", "[]", "]", "[0]", "][]", " ", '"', "}}", "%", ".value")
CONTEXTS: Final = (
    "{0}=CANARY",
    "{0} = CANARY",
    "{0}: CANARY",
    "Sold?{0}=CANARY",
    "Sold;{0}=CANARY;then",
    "Sold,{0}=CANARY,then",
    "https://h.example/x?{0}=CANARY&y=z",
    "{{{0}:CANARY}}",
    '{{"a":1,"{0}":"CANARY"}}',
    '{{"a":1,"{0}" : ["b", "CANARY"]}}',
    '{{"a":"{{\\"{0}\\":\\"b CANARY\\"}}"}}',
    "a:{0}=Bearer CANARY",
)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Draw a secret's name in one of its spellings."""
    letters = [draw(st.sampled_from([letter, letter.upper()])) for letter in draw(st.sampled_from(BY_DEFAULT))]
    return "".join(draw(st.sampled_from(["", "_", "-", " ", ".", "--"])) if one == "_" else one for one in letters)


@st.composite
def encoded(draw: st.DrawFn, text: str, at_least: int) -> str:
    """Draw a text percent-encoded over and over, at first all or a part of it."""
    for level in range(draw(st.integers(at_least, 3))):
        needed = "%" if level else '%&=+#\\"{}<> '
        kept = draw(st.sampled_from(["", ":;,/?@", text]))
        text = "".join(one if one in kept and one not in needed else quote(one, safe="") for one in text)
    return text


@pytest.mark.proves("No secret comes out: not under another spelling of its name")
@given(st.data(), spellings(), st.sampled_from(PREFIXES), st.sampled_from(SUFFIXES))
def test_a_parameter_of_a_secrets_name_leaves_nothing_however_it_is_spelled(
    data: st.DataObject, spelling: str, prefix: str, suffix: str
) -> None:
    name = data.draw(encoded(prefix + spelling + suffix, 1))
    sign = data.draw(st.sampled_from(["=", "%3D", "%253D"]))
    for status in ("Sold", "%FF"):
        left = outcome(f"/project_status_changed?{name}{sign}CANARY&project_id=p&status={status}")
        assert "CANARY" not in left
        assert "project_id" in left


@pytest.mark.proves("No secret comes out: not under another spelling of its name")
@given(st.data(), spellings(), st.sampled_from(CONTEXTS))
def test_a_secret_in_a_value_leaves_nothing_however_it_is_written(
    data: st.DataObject, spelling: str, context: str
) -> None:
    value = data.draw(encoded(context.format(spelling), 1))
    for project in ("p", "%FF"):
        left = outcome(f"/project_status_changed?project_id={project}&status={value}")
        assert b"CANARY" not in unquote_to_bytes(left)
        assert "***" in left


# Paths


@pytest.mark.proves("An attacker cannot: put what it likes")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"", ""),
        (b"/", "/"),
        (b"/hooks/v2/lead_created", "/hooks/v2/lead_created"),
        (b"/wp-login.php", "/wp-login.php"),
        (b"/.env", "/.env"),
        (b"/lead%5Fcreated", "/lead_created"),
        (b"//lead_created/", "//lead_created/"),
        (b"/project/8a1f22/status", "/project/***/status"),
        (b"/lead_created/12", "/lead_created/***"),
        (b"/aGVsbG8gd29ybGQgaG93IGFyZSB5b3U", "/***"),
        (b"/" + b"x" * 41, "/***"),
        (b"/jane.doe@example.com", "/***"),
        (b"/J%C3%BCrgen", "/***"),
        (b"/a%0Ab\x1b[31m", "/***"),
        (b"/%ff", "/***"),
        (b"/lead_created;token=hush", "/lead_created;***"),
        (b"/lead_created%3Flead_id=7%26token=hush", "/lead_created?***"),
        (b"/token=hush", "/***"),
        (b"bridge.example:443", "***"),
        (b"/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/h"),
        (b"/a/b/c/d/e/f/g/h/hush", "/a/b/c/d/e/f/g/..."),
    ],
    ids=ascii,
)
def test_of_a_path_the_words_are_shown_and_nothing_that_may_be_an_identifier_or_a_secret(
    path: bytes, shown: str
) -> None:
    assert redact_path(path) == shown


@pytest.mark.proves("An attacker cannot: put what it likes")
@given(st.binary())
def test_a_shown_path_is_short_and_printable(path: bytes) -> None:
    shown = redact_path(path)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 400
