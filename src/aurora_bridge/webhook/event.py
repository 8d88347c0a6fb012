"""What a webhook becomes: the canonical event and its identity.

`normalise` makes an `Event` from a match; `recurrence` then decides whether it is a new one and gives it its id;
`encode` writes it as a CloudEvents 1.0 event in the JSON format (https://github.com/cloudevents/spec, version 1.0.2),
`encode_binary` in the binary mode of its Kafka binding, which `structured` turns back into JSON. `identity_of` reads
from a record which event it carries.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import orjson

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.decoding import split_query
from aurora_bridge.webhook.placeholders import screen
from aurora_bridge.webhook.query_shape import ALL, shape_of
from aurora_bridge.webhook.routes import Match

Data = dict[str, str | None]
Headers = list[tuple[str, bytes | None]]
"""The headers of a Kafka record."""

_DIGEST_CHARACTERS = 32
ID = re.compile(r"(?P<fingerprint>[0-9a-f]{32})(\.(?P<day>[0-9]{8})(T(?P<time>[0-9]{6})(?P<millis>[0-9]{3}))?)?")
"""An event's id: its fingerprint, and the day or the millisecond if its recurrence needs one."""
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{3}|[0-9]{6})Z")
"""An event's `time`. Old records have six digits after the point."""
_JSON = "application/json"
_BINARY = "ce_"
_BINARY_ID = "ce_id"
"""Only records of binary mode have it."""
_IDENTIFYING = (_BINARY_ID, "ce_fingerprint", "ce_time")
_MILLION = 1_000_000


@dataclass(slots=True)
class Event:
    """A canonical event, before it is known whether it is new."""

    name: str
    """The topic's name without its prefix: a name of the catalogue, `unrecognized` or `dead_letter`."""
    type: str
    """CloudEvents `type`."""
    tenant: str
    recurrence: Recurrence
    subject: str | None
    data: Data
    fingerprint: str
    """32 hex digits: the digest of tenant, event type and canonical attributes."""
    family_key: str | None
    """Digest of family, tenant, subject and attribute names, by which the latest state is kept. None unless a state."""
    repeat_window_us: int = 0
    """Microseconds within which the same state again is a duplicate."""
    emptied: bool = False
    """Whether an identifier was a word for nothing, such as `null`, and counts as empty."""
    garbled: tuple[str, ...] = ()
    """Parameter names as they came, if they had to be cleaned up: see `decoding.meant_name`."""


def normalise(match: Match) -> Event:
    """Return the canonical event of a match. Raises `Malformed`."""
    if match.contradicted:
        raise Malformed(DeadLetterReason.CONFLICTING_EVENT)
    route = match.route
    frame, values, plain = split_query(match.query)
    rules = route.rules
    garbled: tuple[str, ...] = ()
    if route.template is not None:
        frame, values, garbled = route.template.read(match.query, frame, values, match.path_values)
        plain = plain and not match.path_values
    shown = values if plain else rules.secrets.redact_values(values)
    redacted, values = shown != values, shown
    filled = tuple(map(bool, values)) if "" in values else ALL
    shape = shape_of(match.event, match.query, frame, filled, rules)
    for one, other in shape.twice:
        if values[one] != values[other]:
            raise Malformed(DeadLetterReason.CONFLICTING_VALUES)
    nothing = screen(values, shape.codes, shape.texts, plain)
    if nothing:
        nothing += [other for one, other in shape.twice if one in nothing]
        values = ["" if place in nothing else value for place, value in enumerate(values)]
        shape = shape_of(match.event, match.query, frame, tuple(map(bool, values)), rules)
    nullable: list[str | None] = [*values, None]
    data = {name: nullable[place] for name, place in shape.attributes}
    tenant, subject, family_key = route.tenant, None, None
    if shape.subject is not None:
        kind, place = shape.subject
        subject = f"{kind}/{values[place]}"
    if shape.family is not None and not redacted:
        family_key = _digest([shape.family, tenant, subject])
    identity = data
    if shape.volatile:
        identity = {name: value for name, value in data.items() if name not in shape.volatile}
    fingerprint = fingerprint_of(tenant, match.event, identity)
    return Event(
        shape.name,
        shape.type,
        tenant,
        Recurrence.SIGNAL if redacted and shape.family is not None else shape.recurrence,
        subject,
        data,
        fingerprint,
        family_key,
        shape.window_us,
        bool(nothing),
        garbled or shape.garbled,
    )


def fingerprint_of(tenant: str, event: str, data: Data) -> str:
    """Return the digest of what makes two events the same: tenant, event type, and attributes that are not null.

    The first 32 hex digits of SHA-256 over the canonical JSON (RFC 8785 for strings and white space; keys sorted by
    code point) of `[tenant, event, attributes]`; `tests/samples/fingerprints.json` has vectors for other languages.
    """
    if None in data.values():
        data = {name: value for name, value in data.items() if value is not None}
    return _digest([tenant, event, data])


def encode(event: Event, event_id: str, time: str, *, repeat: bool) -> bytes:
    """Return the CloudEvents JSON of an event with its id and time (RFC 3339)."""
    document: dict[str, object] = {
        "data": event.data,
        "datacontenttype": _JSON,
        "dataschema": f"urn:aurora-bridge:schema:{event.name}:1",
        "fingerprint": event.fingerprint,
        "id": event_id,
        "repeat": repeat,
        "source": f"/aurora/{event.tenant}",
        "specversion": "1.0",
        "time": time,
        "type": event.type,
    }
    if event.subject is not None:
        document["subject"] = event.subject
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def encode_binary(event: Event, event_id: str, time: str, *, repeat: bool) -> tuple[bytes, Headers]:
    """Return value and headers of an event in binary mode: its data, and its other attributes as `ce_` headers.

    Kafka Protocol Binding for CloudEvents 1.0.2, section 3.2. Booleans are `true` and `false`.
    """
    headers: Headers = [
        ("content-type", _JSON.encode()),
        ("ce_dataschema", f"urn:aurora-bridge:schema:{event.name}:1".encode()),
        ("ce_fingerprint", event.fingerprint.encode()),
        ("ce_id", event_id.encode()),
        ("ce_repeat", b"true" if repeat else b"false"),
        ("ce_source", f"/aurora/{event.tenant}".encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", time.encode()),
        ("ce_type", event.type.encode()),
    ]
    if event.subject is not None:
        headers.append(("ce_subject", event.subject.encode()))
    return orjson.dumps(event.data, option=orjson.OPT_SORT_KEYS), headers


def structured(value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Return a record as one line of CloudEvents JSON, whichever mode it was written in.

    Raises `ValueError` if the value is not JSON.
    """
    found = dict(headers)
    if _BINARY_ID not in found:
        return value if b"\n" not in value else orjson.dumps(orjson.loads(value))
    attributes: dict[str, object] = {
        name.removeprefix(_BINARY): (text or b"").decode(errors="replace")
        for name, text in found.items()
        if name.startswith(_BINARY)
    }
    attributes |= {"repeat": attributes.get("repeat") == "true", "datacontenttype": _JSON, "data": orjson.loads(value)}
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)


class Identity(NamedTuple):
    """Which event a record carries."""

    id: str
    fingerprint: str
    time_us: int
    """The event's `time`: microseconds since the epoch."""
    id_ms: int
    """The time in its id: milliseconds since the epoch, 0 if the id has none."""


def identity_of(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Identity | None:
    """Return which event a record carries, whichever mode it was written in; None if no daemon wrote it.

    The record's key need not be the id: `KAFKA__KEY` chooses it.
    """
    found = dict(headers)
    try:
        if _BINARY_ID in found:
            event_id, fingerprint, time = ((found[name] or b"").decode() for name in _IDENTIFYING)
        else:
            event = orjson.loads(value or b"")
            event_id, fingerprint, time = event["id"], event["fingerprint"], event["time"]
        if not ID.fullmatch(event_id) or not _TIME.fullmatch(time) or event_id[:_DIGEST_CHARACTERS] != fingerprint:
            return None
        time_us = _seconds(time[:19]) * _MILLION + int(time[20:-1].ljust(6, "0"))
        day, _, clock = event_id[_DIGEST_CHARACTERS + 1 :].partition("T")
        seconds = _seconds(f"{day}T{clock[:6] or '000000'}") if day else 0
    except (KeyError, ValueError, TypeError):  # TypeError: a field is not text
        return None
    return Identity(event_id, fingerprint, time_us, seconds * 1000 + int(clock[6:]) if clock else 0)


def rfc3339(time_us: int) -> str:
    """Return a time in microseconds since the epoch as RFC 3339, in UTC, rounded down to the millisecond."""
    seconds, micros = divmod(time_us, _MILLION)
    return f"{_utc(seconds)[0]}.{micros // 1000:03d}Z"


def day_of(time_us: int) -> str:
    """Return the UTC day of a time in microseconds since the epoch, as `20261123`."""
    return _utc(time_us // _MILLION)[1][:8]


def millisecond_of(time_ms: int) -> str:
    """Return a time in milliseconds since the epoch in UTC, as `20261123T172405123`."""
    seconds, millis = divmod(time_ms, 1000)
    return f"{_utc(seconds)[1]}{millis:03d}"


@lru_cache(maxsize=64)
def _utc(seconds: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.strftime("%Y%m%dT%H%M%S")


@lru_cache(maxsize=1024)
def _seconds(text: str) -> int:
    """Return the seconds since the epoch of an ISO 8601 time in UTC without fraction. Raises `ValueError`."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def _digest(value: object) -> str:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:_DIGEST_CHARACTERS]
