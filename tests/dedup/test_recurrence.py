"""Same event or new one: the rules in sentences, over what is known of a fingerprint."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.dedup.recurrence import (
    Action,
    Judgement,
    Known,
    Slot,
    Standing,
    event_id,
    first_id_ms,
    judge,
    slot_of,
)
from aurora_bridge.webhook.catalogue import Recurrence

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_795_454_645_123_456  # 2026-11-23T17:24:05.123456Z
NOW_MS = NOW // 1000
FINGERPRINT = "9c1f0e8d7b6a59483726150493827160"

RETRIES = {
    Slot.RETRY_30S: 30 * SECOND,
    Slot.RETRY_5MIN: 5 * MINUTE,
    Slot.RETRY_30MIN: 30 * MINUTE,
    Slot.RETRY_3H: 3 * HOUR,
    Slot.RETRY_20H: 20 * HOUR,
}
AWAITED = [Standing.OWED, Standing.DOUBTFUL, Standing.REFUSED]


def known(standing: Standing = Standing.SEEN, *, ago: int = MINUTE, **facts: Any) -> Known:  # noqa: ANN401
    """Return what is known of a first event, accepted or attempted `ago` before `NOW`, its state still the latest."""
    first = Known(standing, repeat=False, time_us=NOW - ago, id_ms=0, attempt_us=NOW - ago, attempt=1, latest=True)
    return first._replace(**facts)


def verdict(
    recurrence: Recurrence, known: Known | None, *, window: int = DAY, can_know: bool = True, resend: bool = False
) -> Judgement:
    return judge(recurrence, known, NOW, window, can_know=can_know, resend=resend)


def id_of(recurrence: Recurrence, judgement: Judgement) -> str:
    return event_id(FINGERPRINT, recurrence, judgement.time_us, judgement.id_ms)


every_recurrence = pytest.mark.parametrize("recurrence", Recurrence)
every_standing = pytest.mark.parametrize("standing", Standing)

# New events and their ids


@every_recurrence
@pytest.mark.parametrize("can_know", [True, False])
@pytest.mark.parametrize("resend", [True, False])
def test_an_unknown_fingerprint_is_a_new_event(recurrence: Recurrence, can_know: bool, resend: bool) -> None:  # noqa: FBT001
    judgement = verdict(recurrence, None, can_know=can_know, resend=resend)
    id_ms = first_id_ms(recurrence, NOW, can_know=can_know)
    assert judgement == (Action.PUBLISH, False, NOW, id_ms, 1, Slot.NONE)


@pytest.mark.parametrize(
    ("recurrence", "can_know", "expected"),
    [
        (Recurrence.ONCE, True, FINGERPRINT),
        (Recurrence.ONCE, False, FINGERPRINT),
        (Recurrence.STATE, True, f"{FINGERPRINT}.20261123"),
        (Recurrence.STATE, False, f"{FINGERPRINT}.20261123T172405123"),
        (Recurrence.SIGNAL, True, f"{FINGERPRINT}.20261123T172405123"),
        (Recurrence.SIGNAL, False, f"{FINGERPRINT}.20261123T172405123"),
    ],
)
def test_the_id_of_a_new_event_follows_from_its_recurrence_and_what_we_can_know(
    recurrence: Recurrence,
    can_know: bool,  # noqa: FBT001
    expected: str,
) -> None:
    assert expected == id_of(recurrence, verdict(recurrence, None, can_know=can_know))


def test_a_state_on_another_day_never_re_uses_an_id() -> None:
    yesterday = judge(Recurrence.STATE, None, NOW - DAY, DAY, can_know=True)
    assert id_of(Recurrence.STATE, yesterday) != id_of(Recurrence.STATE, verdict(Recurrence.STATE, None))


@given(st.integers(-HOUR, HOUR))
def test_the_millisecond_of_a_repeat_grows_strictly_whatever_the_clock_does(ahead: int) -> None:
    last = (NOW + ahead) // 1000
    judgement = verdict(Recurrence.SIGNAL, known(id_ms=last))
    assert judgement.id_ms == max(NOW_MS, last + 1)


# Once


@pytest.mark.parametrize("ago", [0, SECOND, HOUR, 10 * DAY, 29 * DAY])
@pytest.mark.parametrize("standing", [Standing.SEEN, Standing.OWED])
@pytest.mark.parametrize("latest", [True, False])
def test_what_happens_once_is_a_duplicate_as_long_as_it_is_known(ago: int, standing: Standing, latest: bool) -> None:  # noqa: FBT001
    judgement = verdict(Recurrence.ONCE, known(standing, ago=ago, latest=latest))
    assert (judgement.action, id_of(Recurrence.ONCE, judgement)) == (Action.DUPLICATE, FINGERPRINT)


# States


def test_the_same_state_twice_in_a_row_is_a_duplicate() -> None:
    assert verdict(Recurrence.STATE, known()).action is Action.DUPLICATE


@pytest.mark.parametrize("ago", [0, SECOND, 15 * MINUTE, HOUR, DAY])
def test_a_state_that_came_back_after_another_one_is_a_repeat_with_an_id_of_its_own(ago: int) -> None:
    judgement = verdict(Recurrence.STATE, known(ago=ago, latest=False))
    assert judgement == (Action.PUBLISH, True, NOW, NOW_MS, 1, slot_of(ago))
    assert id_of(Recurrence.STATE, judgement) == f"{FINGERPRINT}.20261123T172405123"


def test_the_repeat_window_is_closed_at_its_end() -> None:
    assert verdict(Recurrence.STATE, known(ago=DAY)).action is Action.DUPLICATE
    after = verdict(Recurrence.STATE, known(ago=DAY + 1))
    assert (after.action, after.repeat) == (Action.PUBLISH, True)


def test_the_repeat_window_counts_from_the_accepted_event_and_no_duplicate_extends_it() -> None:
    judgement = verdict(Recurrence.STATE, known(ago=DAY + 1, attempt_us=NOW - MINUTE, attempt=5))
    assert (judgement.action, judgement.repeat) == (Action.PUBLISH, True)


def test_on_a_filtered_route_the_same_state_may_have_come_back_after_60_seconds() -> None:
    window = MINUTE
    assert verdict(Recurrence.STATE, known(ago=MINUTE), window=window).action is Action.DUPLICATE
    after = verdict(Recurrence.STATE, known(ago=MINUTE + 1), window=window)
    assert (after.action, after.repeat) == (Action.PUBLISH, True)


@pytest.mark.parametrize("slot", RETRIES)
def test_on_a_filtered_route_an_owed_retry_is_a_duplicate_nevertheless(slot: Slot) -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.OWED, ago=RETRIES[slot]), window=MINUTE)
    assert (judgement.action, judgement.slot) == (Action.DUPLICATE, slot)


# Owed retries


@pytest.mark.parametrize("slot", RETRIES)
def test_an_owed_retry_of_an_old_state_is_a_duplicate_in_the_slots_of_auroras_schedule(slot: Slot) -> None:
    owed = known(Standing.OWED, ago=RETRIES[slot], latest=False)
    judgement = verdict(Recurrence.STATE, owed)
    assert judgement == (Action.DUPLICATE, False, owed.time_us, 0, 2, slot)


@pytest.mark.parametrize("ago", [0, 10 * SECOND, 2 * MINUTE, 15 * MINUTE, HOUR, 10 * HOUR, 2 * DAY])
def test_between_the_slots_an_old_state_is_a_repeat_although_a_retry_is_owed(ago: int) -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.OWED, ago=ago, latest=False))
    assert (judgement.action, judgement.repeat, judgement.attempt) == (Action.PUBLISH, True, 1)


def test_nothing_is_owed_once_the_answer_arrived() -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.SEEN, ago=30 * SECOND, latest=False))
    assert (judgement.action, judgement.repeat) == (Action.PUBLISH, True)


def test_a_slot_counts_from_the_attempt_before_and_not_from_the_event() -> None:
    owed = known(Standing.OWED, ago=6 * MINUTE, attempt_us=NOW - 30 * MINUTE, attempt=3, latest=False)
    judgement = verdict(Recurrence.STATE, owed)
    assert (judgement.action, judgement.slot, judgement.attempt) == (Action.DUPLICATE, Slot.RETRY_30MIN, 4)


@pytest.mark.parametrize("slot", RETRIES)
def test_each_retry_of_auroras_schedule_fits_its_slot(slot: Slot) -> None:
    assert slot is slot_of(RETRIES[slot])


def test_a_retry_fits_a_slot_although_the_attempts_before_it_were_never_seen() -> None:
    waits = list(RETRIES.values())
    for first in range(len(waits)):
        for last in range(first, len(waits)):
            elapsed = sum(waits[first : last + 1])
            assert list(RETRIES)[last] is slot_of(elapsed), f"{first} to {last}"


def test_the_slots_do_not_touch() -> None:
    slots = [slot_of(second * SECOND) for second in range(30 * 3600)]
    changes = [slots[0], *(after for before, after in pairwise(slots) if after is not before)]
    separated = [part for slot in RETRIES for part in (slot, Slot.NONE)]
    assert [Slot.ECHO, *separated] == changes


@given(st.integers(min_value=-DAY, max_value=20 * SECOND - 1))
def test_what_comes_at_once_is_an_echo_also_when_the_clock_went_back(elapsed: int) -> None:
    assert slot_of(elapsed) is Slot.ECHO


# Failures of ours


@pytest.mark.parametrize("recurrence", [Recurrence.ONCE, Recurrence.STATE])
@pytest.mark.parametrize("slot", RETRIES)
def test_a_retry_after_our_own_refusal_is_published_with_the_id_and_the_time_of_the_first_attempt(
    recurrence: Recurrence, slot: Slot
) -> None:
    refused = known(Standing.REFUSED, ago=RETRIES[slot], latest=False)
    judgement = verdict(recurrence, refused)
    assert judgement == (Action.PUBLISH, False, refused.time_us, 0, 2, slot)
    first = judge(recurrence, None, refused.time_us, DAY, can_know=True)
    assert id_of(recurrence, judgement) == id_of(recurrence, first)


@pytest.mark.parametrize("recurrence", [Recurrence.ONCE, Recurrence.STATE])
@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize("id_ms", [0, NOW_MS - 30_000])
def test_a_retry_of_what_is_in_doubt_is_published_with_the_same_id(
    recurrence: Recurrence,
    latest: bool,  # noqa: FBT001
    id_ms: int,
) -> None:
    doubtful = known(Standing.DOUBTFUL, ago=30 * SECOND, latest=latest, id_ms=id_ms, repeat=bool(id_ms))
    judgement = verdict(recurrence, doubtful)
    assert judgement == (Action.PUBLISH, bool(id_ms), doubtful.time_us, id_ms, 2, Slot.RETRY_30S)


def test_a_refused_state_that_comes_outside_the_slots_is_a_first_event_and_no_repeat() -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.REFUSED, ago=HOUR, latest=False))
    assert judgement == (Action.PUBLISH, False, NOW, 0, 1, Slot.NONE)


def test_a_refused_repeat_that_comes_outside_the_slots_is_still_a_repeat() -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.REFUSED, ago=HOUR, repeat=True, id_ms=NOW_MS - 3_600_000))
    assert judgement == (Action.PUBLISH, True, NOW, NOW_MS, 1, Slot.NONE)


def test_a_refused_state_never_counts_as_the_latest() -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.REFUSED, ago=HOUR, latest=True))
    assert judgement.action is Action.PUBLISH


@pytest.mark.parametrize("recurrence", [Recurrence.ONCE, Recurrence.STATE])
def test_what_is_in_flight_is_joined(recurrence: Recurrence) -> None:
    claimed = known(Standing.CLAIMED, ago=SECOND)
    assert verdict(recurrence, claimed) == (Action.JOIN, False, claimed.time_us, 0, 2, Slot.ECHO)


def test_an_old_state_that_comes_back_while_it_is_still_in_flight_is_a_repeat() -> None:
    judgement = verdict(Recurrence.STATE, known(Standing.CLAIMED, ago=SECOND, latest=False))
    assert (judgement.action, judgement.repeat, judgement.id_ms) == (Action.PUBLISH, True, NOW_MS)


# Signals


@every_standing
@pytest.mark.parametrize("ago", [0, 30 * SECOND, HOUR, 2 * DAY])
def test_a_signal_is_never_a_duplicate_never_joined_and_never_re_uses_an_id(standing: Standing, ago: int) -> None:
    before = known(standing, ago=ago, id_ms=(NOW - ago) // 1000)
    judgement = verdict(Recurrence.SIGNAL, before)
    assert (judgement.action, judgement.time_us, judgement.attempt) == (Action.PUBLISH, NOW, 1)
    assert judgement.id_ms > before.id_ms


@every_standing
def test_a_signal_is_marked_as_a_repeat_unless_all_before_it_were_refused(standing: Standing) -> None:
    assert verdict(Recurrence.SIGNAL, known(standing, id_ms=1)).repeat is (standing is not Standing.REFUSED)
    assert verdict(Recurrence.SIGNAL, known(standing, id_ms=1, repeat=True)).repeat


# Re-sends


@every_recurrence
@pytest.mark.parametrize("standing", [Standing.SEEN, Standing.OWED])
@pytest.mark.parametrize("ago", [SECOND, 2 * DAY, 29 * DAY])
def test_during_a_declared_resend_every_known_fingerprint_is_a_duplicate(
    recurrence: Recurrence, standing: Standing, ago: int
) -> None:
    judgement = verdict(recurrence, known(standing, ago=ago, latest=False), resend=True)
    assert judgement.action is Action.DUPLICATE


@every_recurrence
def test_what_was_never_accepted_is_published_during_a_resend_too(recurrence: Recurrence) -> None:
    assert verdict(recurrence, known(Standing.REFUSED, ago=2 * DAY), resend=True).action is Action.PUBLISH


# Anything


@given(
    st.sampled_from(Recurrence),
    st.builds(
        Known,
        standing=st.sampled_from(Standing),
        repeat=st.booleans(),
        time_us=st.integers(NOW - 31 * DAY, NOW + HOUR),
        id_ms=st.just(0) | st.integers(NOW_MS - 86_400_000, NOW_MS + 3_600_000),
        attempt_us=st.integers(NOW - 31 * DAY, NOW + HOUR),
        attempt=st.integers(1, 6),
        latest=st.booleans(),
    ),
    st.sampled_from([0, MINUTE, DAY]),
    st.booleans(),
    st.booleans(),
)
def test_only_the_same_event_shares_an_id(
    recurrence: Recurrence,
    before: Known,
    window: int,
    can_know: bool,  # noqa: FBT001
    resend: bool,  # noqa: FBT001
) -> None:
    judgement = verdict(recurrence, before, window=window, can_know=can_know, resend=resend)
    old = event_id(FINGERPRINT, recurrence, before.time_us, before.id_ms)
    same_event = (judgement.time_us, judgement.id_ms) == (before.time_us, before.id_ms)
    never_accepted = before.standing is Standing.REFUSED and not before.repeat
    assert same_event or never_accepted or id_of(recurrence, judgement) != old
    assert same_event or judgement.action is Action.PUBLISH
