"""What a record in Kafka tells, and what of that is news."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.dedup.following import Followed, Knowledge, followed, news
from aurora_bridge.dedup.recurrence import Standing, event_id
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Headers, rfc3339

FINGERPRINT: Final = "0123456789abcdef" * 2
FAMILY: Final = "f" * 32
NOON: Final = 1_795_608_000_000_000
DAY: Final = 86_400_000_000


def headers(time_us: int, **others: str) -> Headers:
    named = {"fingerprint": FINGERPRINT, "time": rfc3339(time_us), "instance": "other", "attempt": "2", **others}
    return [("content-type", b"x"), *((f"aurora-bridge-{name}", value.encode()) for name, value in named.items())]


def event(time_us: int = NOON, id_ms: int = 0, *, once: bool = False) -> Followed:
    return Followed(FINGERPRINT, time_us, id_ms, once, 1, None, "other")


@given(
    st.sampled_from(Recurrence),
    st.integers(0, 4_102_444_800_000_000),
    st.integers(1, 4_102_444_800_000) | st.just(0),
    st.booleans(),
)
def test_a_record_tells_what_went_into_its_id(
    recurrence: Recurrence,
    time_us: int,
    id_ms: int,
    has_family: bool,  # noqa: FBT001 - drawn
) -> None:
    if recurrence is Recurrence.ONCE:
        id_ms = 0
    elif recurrence is Recurrence.SIGNAL:
        id_ms = id_ms or 1
    key = event_id(FINGERPRINT, recurrence, time_us, id_ms).encode()
    told = followed(key, headers(time_us, **({"family": FAMILY} if has_family else {})))
    once = recurrence is Recurrence.ONCE
    assert told == Followed(FINGERPRINT, time_us, id_ms, once, 2, FAMILY if has_family else None, "other")


@pytest.mark.parametrize(
    ("key", "others"),
    [
        (None, {}),
        (b"", {}),
        (b"somebody's key", {}),
        (FINGERPRINT.encode(), {"fingerprint": "short"}),
        (FINGERPRINT.encode(), {"time": "yesterday"}),
        (FINGERPRINT.encode(), {"attempt": "first"}),
        (FINGERPRINT.encode() + b".20261124Tnonsense", {}),
        (b"\xff" * 32, {}),
    ],
)
def test_what_no_replica_wrote_tells_nothing(key: bytes | None, others: dict[str, str]) -> None:
    assert followed(key, headers(NOON) + [(f"aurora-bridge-{n}", v.encode()) for n, v in others.items()]) is None
    assert followed(FINGERPRINT.encode(), []) is None


def test_the_attempt_of_a_record_stays_in_bounds_whatever_somebody_wrote() -> None:
    told = [followed(FINGERPRINT.encode(), headers(NOON, attempt=text)) for text in ("9" * 40, "-" + "9" * 40, "3")]
    assert [record.attempt for record in told if record] == [99, 1, 3]


def test_a_fingerprint_that_was_unknown_is_seen_now() -> None:
    assert news(None, event(), ours=False) is Standing.SEEN


@pytest.mark.parametrize("standing", [Standing.SEEN, Standing.OWED])
def test_a_copy_of_what_is_durable_is_no_news(standing: Standing) -> None:
    assert news(Knowledge(standing, NOON, 0), event(NOON + 5), ours=False) is None
    assert news(Knowledge(standing, NOON, 7), event(NOON + 5, 7), ours=True) is None


@pytest.mark.parametrize("standing", [Standing.DOUBTFUL, Standing.REFUSED, Standing.CLAIMED])
def test_what_was_in_doubt_or_refused_here_is_durable_after_all(standing: Standing) -> None:
    known = Knowledge(standing, NOON, 0)
    assert news(known, event(), ours=True) is Standing.OWED
    assert news(known, event(), ours=False) is Standing.SEEN


def test_another_event_of_a_fingerprint_counts_if_it_is_the_later_one() -> None:
    known = Knowledge(Standing.SEEN, NOON, 0)
    assert news(known, event(NOON + DAY), ours=False) is Standing.SEEN
    assert news(known, event(NOON + 1, 5), ours=False) is Standing.SEEN
    assert news(known, event(NOON - DAY), ours=False) is None


def test_what_happens_once_is_the_same_event_on_any_day() -> None:
    assert news(Knowledge(Standing.SEEN, NOON, 0), event(NOON + 9 * DAY, once=True), ours=False) is None
