"""The canonical event: its identity follows from its content alone, however it was written in the URL."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aurora_bridge.dedup.recurrence import event_id
from aurora_bridge.outcomes import DeadLetterReason, Malformed, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, DEAD_LETTER, UNRECOGNIZED, Recurrence
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.dead_letter import dead_letter
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import (
    Event,
    Headers,
    day_of,
    encode,
    encode_binary,
    fingerprint_of,
    identity_of,
    millisecond_of,
    normalise,
    rfc3339,
)
from aurora_bridge.webhook.placeholders import is_placeholder
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import DISCRIMINATOR, Route, Routes
from tests.samples.load import Sample, load_fingerprints, load_old_records, load_samples

SECRETS = SecretNames((*Settings().ingress.secret_parameters, Settings().auth.header))
ROUTES = Routes("/", Route("default", "default", Anonymous(), Rules(SECRETS)))
SAMPLES = load_samples()
PUBLISHED = [sample for sample in SAMPLES if sample.expect["outcome"] == "published"]
DEAD = [sample for sample in SAMPLES if sample.expect["outcome"] == "dead_lettered"]

CONTROL = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
NAMES = st.from_regex(r"[a-z]{2,6}(_[a-z]{2,6}){0,2}", fullmatch=True).filter(
    lambda name: name != DISCRIMINATOR and name not in SECRETS and not name.endswith("_id")
)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters=CONTROL), max_size=20).filter(
    lambda value: not is_placeholder(value, "status", free_text=True)
)
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=6)
TIMES = st.integers(0, 4_000_000_000_000_000)
"""In microseconds since 1970, for a century and more."""
PRINT = "0123456789abcdef0123456789abcdef"


def event_of(target: bytes, tenant: str = "default") -> Event:
    routes = Routes("/", Route("default", tenant, Anonymous(), Rules(SECRETS)))
    return normalise(routes.match(Delivery("GET", target, (), 0, 0.0)))


def reason_of(target: bytes) -> DeadLetterReason:
    with pytest.raises(Malformed) as caught:
        event_of(target)
    return caught.value.reason


def present(attributes: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}


@st.composite
def encodings(draw: st.DrawFn, text: str) -> str:
    """Draw one of the ways to write a text into a query."""
    pieces = []
    for character in text:
        ways = [quote(character, safe=""), "".join(f"%{byte:02x}" for byte in character.encode())]
        if character == " ":
            ways.append("+")
        elif character not in "%+&=#?":
            ways.append(character)
        pieces.append(draw(st.sampled_from(ways)))
    return "".join(pieces)


@st.composite
def spellings(draw: st.DrawFn, name: str) -> str:
    """Draw one of the ways to write an attribute's name."""
    words = name.split("_")
    camel = words[0] + "".join(word.title() for word in words[1:])
    return draw(st.sampled_from([name, name.upper(), "-".join(words), "-".join(words).title(), camel]))


@st.composite
def queries(draw: st.DrawFn, attributes: Mapping[str, str]) -> bytes:
    """Draw a query that carries the attributes, in any order and any encoding, some of them twice."""
    pairs = list(attributes.items())
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=2)) if pairs else []
    written = [
        draw(encodings(draw(spellings(name)))) + "=" + draw(encodings(value))
        for name, value in draw(st.permutations(pairs))
    ]
    return "&".join(written).encode()


# Identity


@given(st.data(), ATTRIBUTES)
def test_any_order_and_any_encoding_of_the_same_attributes_give_the_same_event(
    data: st.DataObject, attributes: dict[str, str]
) -> None:
    one, other = (event_of(b"/roof_painted?" + data.draw(queries(attributes))) for _ in range(2))
    assert one == other
    assert {name: value or None for name, value in attributes.items()} == one.data


@pytest.mark.proves("An attacker cannot: make one event pass for another")
@given(st.data(), ATTRIBUTES, ATTRIBUTES)
def test_two_different_sets_of_attributes_never_share_a_fingerprint(
    data: st.DataObject, attributes: dict[str, str], others: dict[str, str]
) -> None:
    assume(present(attributes) != present(others))
    one = event_of(b"/roof_painted?" + data.draw(queries(attributes)))
    other = event_of(b"/roof_painted?" + data.draw(queries(others)))
    assert one.fingerprint != other.fingerprint


@given(st.data(), ATTRIBUTES.filter(bool))
def test_moving_a_character_between_name_and_value_or_two_attributes_gives_another_fingerprint(
    data: st.DataObject, attributes: dict[str, str]
) -> None:
    name = data.draw(st.sampled_from(sorted(attributes)))
    moved = dict(attributes)
    moved[f"{name}x"] = moved.pop(name)
    assume(present(moved) != present(attributes))
    assert fingerprint_of("t", "e", dict(attributes)) != fingerprint_of("t", "e", dict(moved))


@given(st.data(), st.sampled_from(sorted(CATALOGUE)), ATTRIBUTES)
def test_normalising_what_was_normalised_changes_nothing(
    data: st.DataObject, name: str, attributes: dict[str, str]
) -> None:
    known = {attribute: f"{attribute}-1" for attribute in CATALOGUE[name].attributes}
    event = event_of(f"/{name}?".encode() + data.draw(queries(attributes | known)))
    again = "&".join(f"{quote(key, safe='')}={quote(value or '', safe='')}" for key, value in event.data.items())
    assert event == event_of(f"/{name}?{again}".encode())


@pytest.mark.parametrize("vector", load_fingerprints(), ids=lambda vector: vector["name"])
def test_the_fingerprint_is_that_of_the_test_vectors(vector: dict[str, Any]) -> None:
    assert vector["fingerprint"] == fingerprint_of(vector["tenant"], vector["event"], vector["attributes"])


@given(ATTRIBUTES)
def test_the_fingerprint_can_be_computed_from_the_event_by_anybody(attributes: dict[str, str]) -> None:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in attributes.items())
    event = event_of(f"/roof_painted?{query}".encode(), tenant="acme")
    content = ["acme", "roof_painted", present(event.data)]
    canonical = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert event.fingerprint == sha256(canonical.encode()).hexdigest()[:32]


@pytest.mark.proves("An attacker cannot: write into another tenant's events")
def test_tenant_and_event_are_part_of_the_fingerprint() -> None:
    prints = {
        event_of(b"/lead_changed?lead_id=1").fingerprint,
        event_of(b"/lead_changed?lead_id=1", tenant="acme").fingerprint,
        event_of(b"/lead_created?lead_id=1").fingerprint,
        event_of(b"/roof_painted?lead_id=1").fingerprint,
        event_of(b"/roof_sold?lead_id=1").fingerprint,
    }
    assert len(prints) == 5


def test_an_empty_attribute_is_null_and_no_part_of_the_fingerprint() -> None:
    empty, absent = event_of(b"/lead_changed?lead_id=1&note="), event_of(b"/lead_changed?lead_id=1")
    assert (empty.data, absent.data) == ({"lead_id": "1", "note": None}, {"lead_id": "1"})
    assert empty.fingerprint == absent.fingerprint


@pytest.mark.proves("Where each secret lives: Aurora's session_token")
@pytest.mark.parametrize(
    "secret", ["token=c", "sessionToken=c", "SESSION-TOKEN=c", "api_key=c", "api%5Fkey=c", "secret="]
)
def test_secrets_and_the_discriminator_are_no_part_of_the_event(secret: str) -> None:
    target = f"/lead_changed?lead_id=1&aurora_event=lead_changed&{secret}".encode()
    assert event_of(b"/lead_changed?lead_id=1") == event_of(target)


def test_a_secret_may_come_twice_and_hold_anything() -> None:
    assert event_of(b"/lead_changed?lead_id=1&token=1&token=2&password=<X>").data == {"lead_id": "1"}


# Garbled names


@pytest.mark.parametrize(
    ("query", "garbled"),
    [
        ("project_id=p1&amp;agreement_id=a1&amp;status=signed", ("amp;agreement_id", "amp;status")),
        ("project_id=p1&agreement_id=a1&status[]=signed", ("status[]",)),
        ("project_id=p1&agreement_id=a1&status%5B%5D=signed", ("status[]",)),
        ("[project_id]=p1&{agreement_id}=a1&+status+=signed", ("[project_id]", "{agreement_id}", " status ")),
        ("project_id=p1&amp%3Bagreement_id=a1&amp;status=signed&status=signed", ("amp;agreement_id", "amp;status")),
        (
            "project_id=p1&agreement_id=a1&status=signed&amp;aurora_event=agreement_status_changed",
            ("amp;aurora_event",),
        ),
    ],
)
def test_a_garbled_name_is_read_as_it_was_meant_and_told(query: str, garbled: tuple[str, ...]) -> None:
    plain = event_of(b"/agreement_status_changed?project_id=p1&agreement_id=a1&status=signed")
    event = event_of(f"/agreement_status_changed?{query}".encode())
    assert garbled == event.garbled
    assert replace(event, garbled=()) == plain


@pytest.mark.parametrize(
    "name", ["amp;aurora_event", "aurora_event[]", "[aurora_event]", "%20aurora_event", "aurora_event"]
)
def test_a_garbled_discriminator_names_the_event(name: str) -> None:
    for target in (f"/?{name}=lead_changed&lead_id=1", f"/?lead_id=1&{name}=lead_changed"):
        assert event_of(target.encode()).type == "com.aurorasolar.lead_changed"


def test_a_secret_under_a_garbled_name_reaches_no_event() -> None:
    event = event_of(b"/lead_changed?lead_id=1&amp;session_token=canary&token[]=canary&+token+=canary")
    assert event.data == {"lead_id": "1"}


# Secrets inside a value


def status_of(value: str) -> str | None:
    return event_of(f"/project_status_changed?project_id=p&status={quote(value, safe='')}".encode()).data["status"]


def test_what_a_mistaken_template_put_into_a_value_is_hidden_and_nothing_else() -> None:
    assert status_of("Sold?token=canary;then") == "Sold?token=***;then"
    assert status_of('{"token": "canary", "stage": "Sold"}') == '{"token": "***", "stage": "Sold"}'
    assert event_of(b"/project_status_changed?project_id=p&status=Sold,token=canary").data["status"] == "Sold,token=***"
    assert event_of(b"/project_status_changed?project_id=p&status=token:canary").data["status"] == "token:***"


@pytest.mark.parametrize("value", ["Sold;password", "my token=1", "Sold?token=", "10:30", "status=Sold"])
def test_what_is_no_secrets_value_stays_verbatim(value: str) -> None:
    assert value == status_of(value)


def test_a_hidden_secret_changes_no_fingerprint_and_the_text_around_it_does() -> None:
    def fingerprint(value: str) -> str:
        return event_of(f"/project_status_changed?project_id=p&status={quote(value)}".encode()).fingerprint

    assert fingerprint("Sold?token=canary") == fingerprint("Sold?token=rotated")
    others = ["Sold?token=canary", "Lost?token=canary", "Sold?token=canary;z", "Sold?token", "Sold", "Sold?secret=1"]
    assert len({fingerprint(value) for value in others}) == len(others)


awkward = st.lists(st.sampled_from(["Sold", "?", ";", "&", "=", "token", "secret", " ", "x"]), max_size=9).map("".join)


@pytest.mark.proves("No secret comes out: nothing else is hidden")
@given(awkward, awkward)
def test_two_values_that_differ_in_more_than_a_secrets_value_are_two_states(one: str, other: str) -> None:
    name = r"(?<![^?;&=])( *(?:token|secret) *=+ *)(?:token +)?[^?;& ]+"
    hidden = [re.sub(name, r"\1***", value) for value in (one, other)]
    assert [value or None for value in hidden] == [status_of(one), status_of(other)]


# Families of states


def family_key(target: bytes) -> str | None:
    return event_of(target).family_key


def test_a_state_has_a_family_by_its_subject_and_the_names_of_its_attributes() -> None:
    signed = family_key(b"/agreement_status_changed?agreement_id=a&status=signed")
    assert signed is not None
    assert signed == family_key(b"/agreement_status_changed?status=declined&agreement_id=a")
    others = [
        family_key(b"/agreement_status_changed?agreement_id=b&status=signed"),
        family_key(b"/agreement_status_changed?agreement_id=a&status=signed&project_id=p"),
        family_key(b"/plan_set_request_status_changed?plan_set_request_id=a&status=signed"),
        event_of(b"/agreement_status_changed?agreement_id=a&status=signed", tenant="acme").family_key,
    ]
    assert signed not in others
    assert len(others) == len(set(others))
    empty = family_key(b"/agreement_status_changed?agreement_id=a&status=signed&project_id=")
    assert empty == others[1]


@pytest.mark.parametrize(
    "target",
    [
        b"/lead_changed?lead_id=1",
        b"/lead_created?lead_id=1",
        b"/agreement_status_changed?agreement_id=a&status=",
        b"/agreement_status_changed?project_id=p&status=signed",
        b"/roof_painted?status=done",
    ],
)
def test_what_is_no_state_has_no_family(target: bytes) -> None:
    assert family_key(target) is None


# Samples


@pytest.mark.proves("No secret comes out: not under another spelling of its name")
@pytest.mark.parametrize("sample", PUBLISHED, ids=str)
def test_a_recorded_delivery_becomes_the_expected_event(sample: Sample) -> None:
    expect = sample.expect
    event = event_of(sample.target)
    assert (event.name, event.type, event.subject, event.recurrence, event.data) == (
        expect["topic"],
        expect["type"],
        expect["subject"],
        expect["recurrence"],
        expect["data"],
    )


@pytest.mark.parametrize("sample", DEAD, ids=str)
def test_a_recorded_delivery_that_is_malformed_has_the_expected_reason(sample: Sample) -> None:
    assert sample.expect["reason"] == reason_of(sample.target)


# Reasons of dead letters


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"/lead_changed", DeadLetterReason.NO_ATTRIBUTES),
        (b"/lead_changed?", DeadLetterReason.NO_ATTRIBUTES),
        (b"/lead_changed?color=blue", DeadLetterReason.NO_ATTRIBUTES),
        (b"/lead_changed?token=1", DeadLetterReason.NO_ATTRIBUTES),
        (b"/lead_changed?lead_id=<LEAD_ID>", DeadLetterReason.UNFILLED_PLACEHOLDER),
        (b"/lead_changed?lead_id=%3CLEAD-ID%3E", DeadLetterReason.UNFILLED_PLACEHOLDER),
        (b"/roof_painted?x=<x>", DeadLetterReason.UNFILLED_PLACEHOLDER),
        (b"/lead_changed?lead_id=1&leadId=2", DeadLetterReason.CONFLICTING_VALUES),
        (b"/lead_changed?lead_id=1&lead_id=", DeadLetterReason.CONFLICTING_VALUES),
        (b"/lead_changed?lead_id=1&aurora_event=lead_created", DeadLetterReason.CONFLICTING_EVENT),
        (b"/lead_changed?lead_id=%ff", DeadLetterReason.NOT_UTF8),
        (b"/lead_changed?lead_id=%00", DeadLetterReason.CONTROL_CHARACTERS),
    ],
)
def test_what_carries_no_readable_event_is_malformed(target: bytes, reason: DeadLetterReason) -> None:
    assert reason == reason_of(target)


def test_an_event_of_which_only_the_name_is_known_may_come_without_attributes() -> None:
    event = event_of(b"/order_created")
    assert (event.name, event.recurrence, event.data) == ("order_created", Recurrence.SIGNAL, {})


@pytest.mark.proves(
    "what is malformed or unknown is kept, and no URL names a topic",
    "An attacker cannot: choose a topic",
)
def test_text_of_the_url_never_names_a_topic() -> None:
    for name in ("dead_letter", "unrecognized", "__consumer_offsets", "roof_painted"):
        assert event_of(f"/{name}?lead_id=1".encode()).name == UNRECOGNIZED


@pytest.mark.proves("An attacker cannot: choose a topic", "An attacker cannot: write into another tenant's events")
@pytest.mark.parametrize("event", ["lead_changed", "roof_painted"])
def test_no_parameter_chooses_the_topic_the_tenant_or_anything_beside_the_data(event: str) -> None:
    members = ("source", "tenant", "topic", "type", "id", "subject", "time", "specversion", "dataschema", "repeat")
    query = "&".join(f"{name}=chosen" for name in members)
    plain, chosen = event_of(f"/{event}?lead_id=1".encode()), event_of(f"/{event}?lead_id=1&{query}".encode())
    assert plain.name == chosen.name
    before, after = (json.loads(encode(one, "the-id", "", repeat=False)) for one in (plain, chosen))
    for document in (before, after):
        del document["fingerprint"]  # that of the data
    assert after == before | {"data": {"lead_id": "1", **dict.fromkeys(members, "chosen")}}


def test_a_dead_letter_keeps_the_target_the_reason_and_the_route() -> None:
    target = b"/lead_changed?lead_id=%ff&token=canary"
    found = ROUTES.match(Delivery("GET", target, (), 0, 0.0))
    letter = dead_letter(found, DeadLetterReason.NOT_UTF8, SECRETS.redact_target(target), 422)
    assert (letter.name, letter.type, letter.recurrence, letter.subject, letter.data) == (
        DEAD_LETTER,
        "aurora-bridge.dead_letter",
        Recurrence.SIGNAL,
        None,
        {
            "event": "lead_changed",
            "reason": "not_utf8",
            "route": "default",
            "status": "422",
            "target": "/lead_changed?lead_id=%ff&token=***",
        },
    )


# Any input


def pass_through(target: bytes) -> None:
    """Take a target the whole way to JSON; only a `Refusal` may end it."""
    try:
        found = ROUTES.match(Delivery("GET", target, (), 0, 0.0))
    except Refusal:
        return
    try:
        event = normalise(found)
    except Malformed as malformed:
        event = dead_letter(found, malformed.reason, SECRETS.redact_target(target), 200)
    document = json.loads(encode(event, "id", "", repeat=False))
    assert (document["data"], document["fingerprint"]) == (event.data, event.fingerprint)


@given(st.binary(max_size=100))
def test_any_query_of_a_known_event_becomes_an_event_or_a_dead_letter(query: bytes) -> None:
    pass_through(b"/agreement_status_changed?" + query)


@pytest.mark.proves(
    "what is malformed or unknown is kept, and no URL names a topic",
    "An attacker cannot: crash the daemon",
)
@given(st.binary(max_size=100))
def test_any_target_becomes_an_event_or_a_dead_letter_or_is_refused(target: bytes) -> None:
    pass_through(target)


@given(st.data(), st.sampled_from(SAMPLES))
def test_so_does_a_recorded_delivery_that_was_damaged(data: st.DataObject, sample: Sample) -> None:
    target = bytearray(sample.target)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(target)))
        end = data.draw(st.integers(start, min(len(target), start + 8)))
        target[start:end] = data.draw(st.binary(max_size=4))
    pass_through(bytes(target))


# CloudEvents


def test_the_event_is_written_as_cloudevents_json_with_sorted_keys_and_no_white_space() -> None:
    event = event_of(b"/agreement_status_changed?status=signed&agreement_id=a%22%C3%A9&project_id=")
    text = encode(event, "the-id", rfc3339(1_795_454_645_123_456), repeat=True).decode()
    document = {
        "specversion": "1.0",
        "id": "the-id",
        "source": "/aurora/default",
        "type": "com.aurorasolar.agreement_status_changed",
        "subject": 'agreement/a"é',
        "time": "2026-11-23T17:24:05.123Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:aurora-bridge:schema:agreement_status_changed:1",
        "fingerprint": event.fingerprint,
        "repeat": True,
        "data": {"agreement_id": 'a"é', "project_id": None, "status": "signed"},
    }
    assert text == json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def test_without_a_subject_the_member_is_absent() -> None:
    assert "subject" not in json.loads(encode(event_of(b"/order_created"), "1", "", repeat=False))


@pytest.mark.proves("what is malformed or unknown is kept, and no URL names a topic")
def test_an_unknown_event_keeps_its_own_type_in_the_topic_of_all_unknown_ones() -> None:
    document = json.loads(encode(event_of(b"/roofPainted?x=1"), "1", "", repeat=False))
    assert document["type"] == "com.aurorasolar.roof_painted"
    assert document["dataschema"] == "urn:aurora-bridge:schema:unrecognized:1"


@given(TIMES)
def test_times_are_utc_to_the_millisecond_rounded_down_and_the_day(time_us: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    assert rfc3339(time_us) == time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert day_of(time_us) == f"{time:%Y%m%d}"
    assert millisecond_of(time_us // 1000) == f"{time:%Y%m%dT%H%M%S}{time.microsecond // 1000:03d}"


@given(TIMES)
def test_the_millisecond_in_an_id_is_that_of_the_time_beside_it(time_us: int) -> None:
    assert re.sub("[-:.Z]", "", rfc3339(time_us)) == millisecond_of(time_us // 1000)


# What a record tells of its identity


def record_of(event: Event, event_id: str, time_us: int, content_mode: str) -> tuple[bytes, Headers]:
    """Return value and headers of a record, as the bridge writes it."""
    if content_mode == "binary":
        return encode_binary(event, event_id, rfc3339(time_us), repeat=False)
    return encode(event, event_id, rfc3339(time_us), repeat=False), [("content-type", b"application/cloudevents+json")]


@pytest.mark.parametrize("content_mode", ["structured", "binary"])
@given(
    sample=st.sampled_from(PUBLISHED), time_us=TIMES, recurrence=st.sampled_from(list(Recurrence)), known=st.booleans()
)
def test_a_record_tells_the_identity_of_its_event_to_the_millisecond(
    content_mode: str, sample: Sample, time_us: int, recurrence: Recurrence, *, known: bool
) -> None:
    event, id_ms = event_of(sample.target), time_us // 1000 if known or recurrence is Recurrence.SIGNAL else 0
    name = event_id(event.fingerprint, recurrence, time_us // 1000, id_ms)
    found = identity_of(*record_of(event, name, time_us, content_mode))
    assert found == (name, event.fingerprint, time_us // 1000 * 1000, id_ms)


@pytest.mark.parametrize("content_mode", ["structured", "binary"])
def test_so_does_a_record_as_it_was_written_before_with_six_digits(content_mode: str) -> None:
    for record in load_old_records(content_mode):
        headers = [(name, value.encode()) for name, value in record.headers.items()]
        found = identity_of(record.value.encode(), headers)
        assert found is not None
        assert (found.id, found.fingerprint) == (record.key, record.headers["aurora-bridge-fingerprint"])
        time = datetime.fromisoformat(record.headers["aurora-bridge-time"])
        assert timedelta(microseconds=found.time_us) == time - datetime(1970, 1, 1, tzinfo=UTC)
        assert found.id_ms == (found.time_us // 1000 if "T" in record.key else 0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": 1},
        {"id": "f" * 32},
        {"id": f"{PRINT}."},
        {"id": f"{PRINT}.2026112"},
        {"id": f"{PRINT}.20261323"},
        {"id": f"{PRINT}.20261123T1724051"},
        {"id": f"{PRINT}.20261123T992405123"},
        {"id": f"{PRINT}\n"},
        {"fingerprint": None},
        {"fingerprint": "f" * 32},
        {"time": None},
        {"time": "2026-11-23"},
        {"time": "2026-11-23T17:24:05Z"},
        {"time": "2026-11-23T17:24:05.1234Z"},
        {"time": "2026-11-23T17:24:05.123+01:00"},
        {"time": "2026-02-30T17:24:05.123Z"},
        {"time": "\u0662\u0660\u0662\u0666-11-23T17:24:05.123Z"},
    ],
)
def test_what_no_daemon_wrote_has_no_identity(change: dict[str, Any]) -> None:
    right = {"id": PRINT, "fingerprint": PRINT, "time": "2026-11-23T17:24:05.123Z"}
    wrong = {name: value for name, value in (right | change).items() if value is not None}
    assert identity_of(json.dumps(right).encode(), []) is not None
    assert identity_of(json.dumps(wrong).encode(), []) is None
    for document, identified in ((right, True), (wrong, False)):
        headers = [(f"ce_{name}", str(value).encode()) for name, value in document.items()]
        assert (identity_of(b"{}", headers) is not None) is identified


@given(st.binary(max_size=20) | st.sampled_from([b"[]", b"1", b"null", b"{}", b'{"id":{}}']), st.binary(max_size=5))
def test_whatever_else_lies_in_a_topic_has_none_either(value: bytes, header: bytes) -> None:
    assert identity_of(value, [("other", header)]) is None
    assert identity_of(value, [("ce_id", header), ("ce_time", None)]) is None
    assert identity_of(None, []) is None
