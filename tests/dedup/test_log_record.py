"""What a record of the log tells, whichever version wrote it, and what of that is new."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_record import LogRecord, read, reconcile
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import event_id
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Headers, encode, encode_binary, rfc3339
from tests.dedup.events import DAY, ME, NOON, ONCE, SIGNAL, A, entry_of, outbox_record, told
from tests.samples.load import load_old_records

OURS: Headers = [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", b"1")]


def value(**others: object) -> bytes:
    """Return the value of A's record, with other attributes."""
    event: dict[str, Any] = json.loads(outbox_record(A, entry_of(A, NOON)).value)
    return json.dumps(event | others).encode()


# Records of ours.


@given(
    st.sampled_from([A, ONCE, SIGNAL]),
    st.integers(0, 4_102_444_800_000),
    st.integers(1, 4_102_444_800_000) | st.just(0),
    st.integers(1, 6),
    st.booleans(),
)
def test_a_record_tells_what_was_written(event: Any, time_ms: int, id_ms: int, attempt: int, binary: bool) -> None:  # noqa: ANN401, FBT001
    if event.recurrence is Recurrence.ONCE:
        id_ms = 0
    elif event.recurrence is Recurrence.SIGNAL:
        id_ms = id_ms or 1
    id_ = event_id(event.fingerprint, event.recurrence, time_ms, id_ms)
    headers: Headers = [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", b"%d" % attempt)]
    if event.family_key is not None:
        headers.append(("aurora-bridge-family", event.family_key.encode()))
    if binary:
        written, attributes = encode_binary(event, id_, rfc3339(time_ms * 1000), repeat=False)
        headers += attributes
    else:
        written = encode(event, id_, rfc3339(time_ms * 1000), repeat=False)
    once = event is ONCE
    attempt_ms = time_ms if attempt == 1 else 77
    expected = LogRecord(event.fingerprint, time_ms, id_ms, once, attempt, attempt_ms, event.family_key, ME)
    assert read(written, headers, 77) == expected


@pytest.mark.parametrize("content_mode", ["structured", "binary"])
def test_records_of_the_version_before_tell_the_same(content_mode: str) -> None:
    """Their times have six digits, and headers say what stands in the value today."""
    records = load_old_records(content_mode)
    assert len(records) > 5
    for record in records:
        headers = {name: text.encode() for name, text in record.headers.items()}
        found = read(record.value.encode(), list(headers.items()), record.timestamp)
        assert found is not None
        assert found.fingerprint == record.headers["aurora-bridge-fingerprint"]
        assert record.headers["aurora-bridge-time"].startswith(rfc3339(found.time_ms * 1000).removesuffix("Z"))
        assert found.family_key == record.headers.get("aurora-bridge-family")
        assert found.instance == record.headers["aurora-bridge-instance"]
        suffix = record.key.removeprefix(found.fingerprint)
        assert (found.once, found.id_ms > 0) == (suffix == "", len(suffix) == len(".20261129T154422977"))


def test_microseconds_are_cut_and_not_rounded() -> None:
    """The id has the millisecond of the same time, cut."""
    found = read(value(time="2026-11-23T17:24:05.123999Z"), OURS, 0)
    assert found is not None
    assert found.time_ms % 1000 == 123


# What others wrote.


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        b"",
        b"\xff",
        b"nonsense",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"[" * 100_000,
        value(id=7),
        value(id=[]),
        value(id=None),
        value(id=""),
        value(id="f" * 32),
        value(id=f"{A.fingerprint}.2026112"),
        value(id=f"{A.fingerprint}.20261332"),
        value(id=f"{A.fingerprint}.20261123T172405"),
        value(id=f"{A.fingerprint}.20261123T172405123456"),
        value(id=f"{A.fingerprint}.20261123T992405123"),
        value(id=f"{A.fingerprint}.20261123\n"),
        value(fingerprint="F" * 32, id="F" * 32),
        value(fingerprint=None),
        value(fingerprint={}),
        value(time="yesterday"),
        value(time="2026-11-23T17:24:05Z"),
        value(time="2026-11-23T17:24:05.1Z"),
        value(time="2026-11-31T17:24:05.123Z"),
        value(time="0000-00-00T00:00:00.000Z"),
        value(time=7),
        value(time=None),
    ],
)
def test_what_is_no_event_of_ours_tells_nothing(wrong: bytes | None) -> None:
    assert read(wrong, OURS, NOON) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("aurora-bridge-instance", b"me")],
        [("aurora-bridge-attempt", b"1")],
        [("aurora-bridge-instance", b"\xff"), ("aurora-bridge-attempt", b"1")],
        [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", b"first")],
        [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", None)],
        [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", b"9" * 5000)],
        [*OURS, ("aurora-bridge-family", b"short")],
        [*OURS, ("aurora-bridge-family", b"G" * 32)],
        [*OURS, ("aurora-bridge-family", b"\xff" * 32)],
        [*OURS, ("ce_id", None)],
        [*OURS, ("ce_id", b"\xff")],
        [*OURS, ("ce_id", A.fingerprint.encode())],
    ],
)
def test_what_no_replica_handed_over_tells_nothing(headers: Headers) -> None:
    assert read(value(), headers, NOON) is None


@pytest.mark.parametrize(("text", "attempt"), [(b"9" * 40, 99), (b"-7", 1), (b"0", 1), (b"3", 3)])
def test_the_attempt_stays_in_bounds_whatever_somebody_wrote(text: bytes, attempt: int) -> None:
    found = read(value(), [("aurora-bridge-instance", b"me"), ("aurora-bridge-attempt", text)], NOON)
    assert found is not None
    assert found.attempt == attempt


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists)


@given(
    st.dictionaries(st.sampled_from(["id", "time", "fingerprint", "data"]), json_values),
    st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_time", "ce_fingerprint", "aurora-bridge-attempt", "aurora-bridge-family"]),
            st.none() | st.binary(max_size=40),
        )
    ),
    st.integers(-1, 2**63 - 1),
)
def test_whatever_somebody_writes_is_read_over(event: object, headers: Headers, timestamp_ms: int) -> None:
    found = read(json.dumps(event).encode(), [*OURS, *headers], timestamp_ms)
    assert found is None


# What is new.


def reconciled(
    record: LogRecord, known: Entry | None, happening: Happening = Happening.LOGGED_ELSEWHERE
) -> State | None:
    return reconcile(record, known, None if known is None else known.state, happening)


def seen(event: Any = A, at: int = NOON, id_ms: int = 0, state: State = State.SEEN) -> Entry:  # noqa: ANN401
    entry: Entry = entry_of(event, at, id_ms)
    entry.state = state
    return entry


def test_a_fingerprint_that_was_unknown_is_seen_now() -> None:
    assert reconciled(told(A, NOON), None) is State.SEEN


@pytest.mark.parametrize("state", [State.SEEN, State.RETRY_EXPECTED, State.IN_FLIGHT])
def test_a_copy_of_what_is_durable_or_under_way_is_not_new(state: State) -> None:
    assert reconciled(told(A, NOON + 5), seen(state=state)) is None
    assert reconciled(told(A, NOON + 5, id_ms=7), seen(id_ms=7, state=state), Happening.LOGGED) is None


@pytest.mark.parametrize(
    ("happening", "expected"),
    [(Happening.LOGGED, State.RETRY_EXPECTED), (Happening.LOGGED_ELSEWHERE, State.SEEN)],
)
def test_what_was_refused_here_is_durable_after_all(happening: Happening, expected: State) -> None:
    assert reconciled(told(A, NOON), seen(state=State.RETRY_PENDING), happening) is expected


@pytest.mark.parametrize("state", [State.SEEN, State.RETRY_EXPECTED, State.RETRY_PENDING])
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (told(A, NOON + DAY), State.SEEN),
        (told(A, NOON + 1, id_ms=NOON + 1), State.SEEN),
        (told(A, NOON, id_ms=NOON), State.SEEN),
        (told(A, NOON - DAY), None),
        (told(A, NOON - 1, id_ms=NOON - 1), None),
    ],
    ids=["of another day", "a repeat", "of the same millisecond", "of the day before", "an earlier repeat"],
)
def test_another_event_of_a_fingerprint_counts_if_it_is_the_later_one(
    record: LogRecord, expected: State | None, state: State
) -> None:
    assert reconciled(record, seen(state=state)) is expected


def test_what_is_in_flight_is_the_last_event_whatever_the_log_tells() -> None:
    assert reconciled(told(A, NOON + DAY), seen(state=State.IN_FLIGHT)) is None


def test_what_happens_once_is_the_same_event_on_any_day() -> None:
    assert reconciled(told(ONCE, NOON + 9 * DAY), seen(ONCE)) is None
    assert reconciled(told(ONCE, NOON + 9 * DAY), seen(ONCE, state=State.RETRY_PENDING)) is State.SEEN
