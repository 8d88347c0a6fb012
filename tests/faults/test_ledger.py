"""The ledger finds each way of breaking the promise, and nothing where it was kept."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.aurora import digest_of
from tests.faults.histories import Limits
from tests.faults.journal import read_journal
from tests.faults.ledger import judge
from tests.support.topics import Record

STATE: Final = {"agreement_id": "a-1", "key": "1"}
NEXT: Final = {"agreement_id": "a-1", "key": "2"}
EVENT: Final = "agreement_status_changed"
TURN: Final = {"agreement_id": "a-2", "status": "signed"}
OTHER_TURN: Final = {"agreement_id": "a-2", "status": "viewed"}


def journal(folder: Path, *lines: dict[str, Any]) -> Path:
    """Write a journal, a second between its lines."""
    path = folder / "journal"
    numbered = (line | {"at": 100.0 + number, "wall": float(number)} for number, line in enumerate(lines))
    path.write_text("".join(json.dumps(line) + "\n" for line in numbered))
    return path


def sent(  # noqa: PLR0913 - what stands in a line
    data: dict[str, str],
    *,
    kind: str = "state",
    subject: int = 1,
    attempt: int = 1,
    key: int | None = None,
    copy: bool = False,
) -> dict[str, Any]:
    """Return the intent of a request."""
    key = key or int(data["key"])
    told = {"sent": key, "kind": kind, "event": EVENT, "subject": subject, "digest": digest_of(data)}
    return told | {"attempt": attempt, "copy": copy}


def answered(  # noqa: PLR0913 - what stands in a line
    data: dict[str, str],
    status: int = 200,
    seconds: float = 0.1,
    attempt: int = 1,
    key: int | None = None,
    *,
    copy: bool = False,
) -> dict[str, Any]:
    """Return what became of a request."""
    told = {"answered": key or int(data["key"]), "attempt": attempt, "copy": copy}
    return told | {"status": status, "seconds": seconds}


def record(data: dict[str, str], name: str, offset: int = 0, second: int = 0, replica: str = "one") -> Record:
    """Return the record of an event, with this id, first received at a second of 1970."""
    time = datetime.fromtimestamp(second, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    value = json.dumps({"id": name, "type": f"com.aurorasolar.{EVENT}", "data": data, "time": time}).encode()
    return Record(f"test.{EVENT}", 0, offset, name.encode(), value, {"aurora-bridge-instance": replica}, 0)


TOLD: Final = (sent(STATE), answered(STATE), sent(NEXT), answered(NEXT))
KEPT: Final = [record(STATE, "x", 0), record(NEXT, "y", 1)]


def faults(folder: Path, lines: tuple[dict[str, Any], ...], records: list[Record], limits: Limits | None = None) -> str:
    """Return what the ledger finds, in words."""
    return "; ".join(judge(read_journal(journal(folder, *lines)), records, limits).faults())


def test_a_promise_that_was_kept_has_no_fault_and_copies_of_an_id_are_counted(tmp_path: Path) -> None:
    verdict = judge(read_journal(journal(tmp_path, *TOLD)), [*KEPT, record(STATE, "x", 2)])
    assert verdict.faults() == []
    assert (verdict.sent, verdict.acknowledged, verdict.in_kafka, verdict.raw_duplicates) == (2, 2, 2, 1)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (KEPT[:1], "acknowledged and lost: 1 ([2])"),
        ([*KEPT, record({"agreement_id": "a-1", "key": "3"}, "z")], "never sent: 1"),
        ([KEPT[0], record({"agreement_id": "other", "key": "2"}, "y", 1)], "never sent: 1"),
        ([*KEPT, record(STATE, "another", 2)], "one event under several ids: 1 ([1])"),
        ([record(STATE, "x", 0), record(NEXT, "x", 1)], "several events under one id: 1"),
        ([record(NEXT, "y", 0), record(STATE, "x", 1)], "subjects out of order: 1 ([1])"),
    ],
)
def test_each_way_of_breaking_it_is_found(tmp_path: Path, records: list[Record], words: str) -> None:
    assert words in faults(tmp_path, TOLD, records)


def test_what_was_never_acknowledged_may_be_missing_or_there(tmp_path: Path) -> None:
    lines = (sent(STATE), answered(STATE, 503), sent(STATE, attempt=2), answered(STATE, 0, attempt=2))
    assert faults(tmp_path, lines, []) == ""
    assert faults(tmp_path, lines, KEPT[:1]) == ""


def test_a_late_retry_may_stand_behind_what_came_after_it(tmp_path: Path) -> None:
    retried = (sent(STATE), answered(STATE, 503), *TOLD[2:], sent(STATE, attempt=2), answered(STATE, attempt=2))
    assert faults(tmp_path, retried, [record(NEXT, "y", 0), record(STATE, "x", 1)]) == ""


def test_what_was_accepted_late_may_not_stand_before_what_had_been_accepted_before_it(tmp_path: Path) -> None:
    retried = (*TOLD[:2], sent(NEXT), answered(NEXT, 503), sent(NEXT, attempt=2), answered(NEXT, attempt=2))
    assert faults(tmp_path, retried, KEPT) == ""
    backwards = [record(NEXT, "y", 0), record(STATE, "x", 1)]
    assert faults(tmp_path, retried, backwards) == "subjects out of order: 1 ([1])"


def test_what_was_under_way_together_may_stand_in_any_order(tmp_path: Path) -> None:
    together = (sent(STATE), sent(NEXT), answered(STATE), answered(NEXT))
    assert faults(tmp_path, together, [record(NEXT, "y", 0), record(STATE, "x", 1)]) == ""


def test_between_two_replicas_no_order_is_promised(tmp_path: Path) -> None:
    assert faults(tmp_path, TOLD, [record(NEXT, "y", 0), record(STATE, "x", 1, replica="other")]) == ""


TURNS: Final = tuple(
    line
    for key, data in ((1, TURN), (2, OTHER_TURN), (3, TURN))
    for line in (sent(data, kind="turn", key=key), answered(data, key=key))
)
"""Sent at the seconds 0, 2 and 4."""
TAKEN: Final = [record(TURN, "x", 0, 1), record(OTHER_TURN, "y", 1, 3), record(TURN, "x.2", 2, 5)]


def test_turns_that_were_all_told_have_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, TURNS, TAKEN) == ""


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (TAKEN[:2], "acknowledged and lost: 1 ([3])"),
        ([*TAKEN, record(TURN, "x.3", 3, 5)], "one event under several ids: 1 ([3])"),
        ([*TAKEN, record(TURN, "x.3", 3, 1)], "one event under several ids: 1 ([1])"),
        ([*TAKEN[:2], record(TURN, "x", 2, 5)], "several events under one id: 1 (['x'])"),
        ([TAKEN[0], TAKEN[2], TAKEN[1]], "subjects out of order: 1 ([1])"),
        ([record(TURN, "x", 0, -1), *TAKEN[1:]], "never sent: 1"),
    ],
)
def test_each_way_of_confusing_turns_is_found(tmp_path: Path, records: list[Record], words: str) -> None:
    assert words in faults(tmp_path, TURNS, records)


def turn(
    key: int, data: dict[str, str], status: int = 200, *, attempt: int = 1, copy: bool = False
) -> list[dict[str, Any]]:
    """Return a request that tells a state, and what became of it."""
    return [
        sent(data, kind="turn", key=key, attempt=attempt, copy=copy),
        answered(data, status, key=key, attempt=attempt, copy=copy),
    ]


A, B = TURN, OTHER_TURN
REFUSED: Final = (*turn(1, A), *turn(2, B, 503), *turn(3, A), *turn(2, B, attempt=2))
"""A at the second 0; B is refused at 2; A is back at 4; the retry of B comes at 6."""
FORGOTTEN: Final = [record(A, "x", 0, 0), record(B, "y", 1, 2)]
"""What lies in Kafka where B was forgotten: A is taken for the latest, and is not."""


def test_a_state_that_was_refused_happened_all_the_same(tmp_path: Path) -> None:
    assert faults(tmp_path, REFUSED, [*FORGOTTEN, record(A, "x.2", 2, 4)]) == ""
    assert faults(tmp_path, REFUSED, FORGOTTEN) == "acknowledged and lost: 1 ([3])"
    assert faults(tmp_path, REFUSED[:6], FORGOTTEN[:1]) == "acknowledged and lost: 1 ([3])"


def test_a_copy_behind_the_refused_state_may_stand_for_the_state_that_comes_back_and_is_no_event_too_many(
    tmp_path: Path,
) -> None:
    lines = (*turn(1, A), *turn(2, B, 503), *turn(1, A, copy=True), *turn(3, A), *turn(2, B, attempt=2))
    records = [record(A, "x", 0, 0), record(A, "x.2", 1, 4), record(B, "y", 2, 2)]
    assert faults(tmp_path, lines, records) == ""
    assert faults(tmp_path, lines, [records[0], records[2]]) == "acknowledged and lost: 1 ([3])"


def test_the_next_of_the_same_content_stands_for_nothing_that_came_before_it(tmp_path: Path) -> None:
    lines = (*REFUSED, *turn(4, A))  # at 8
    assert faults(tmp_path, lines, [*FORGOTTEN, record(A, "x.3", 2, 8)]) == "acknowledged and lost: 1 ([3])"


def test_a_copy_that_may_be_no_state_that_came_back_has_the_id_of_the_first(tmp_path: Path) -> None:
    lines = (*turn(2, B, 503), *turn(1, A), *turn(1, A, copy=True), *turn(2, B, attempt=2))
    records = [record(A, "x", 0, 2), record(B, "y", 1, 0)]
    assert faults(tmp_path, lines, records) == ""
    again = [*records, record(A, "x.2", 2, 4)]
    assert faults(tmp_path, lines, again) == "one event under several ids: 1 ([1])"


UNHEARD: Final = (*turn(1, A, 0), *turn(2, B), *turn(1, A, attempt=2))
"""The answer to A is lost at the second 1; B is told at 2; A is told again at 4, and that is heard at 5."""
TWICE: Final = [record(A, "x", 0, 0), record(B, "y", 1, 2), record(A, "x.2", 2, 4)]
DOUBLED: Final = "one event under several ids: 1 ([1])"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(), DOUBLED),
        (Limits(forgotten=[(101.5, 103.5)]), ""),
        (Limits(forgotten=[(105.5, 106)]), DOUBLED),
        (Limits(forgotten=[(90, 99)]), DOUBLED),
        (Limits(incomplete=[(103.5, 104.5)]), ""),
        (Limits(incomplete=[(90, 103.5)]), DOUBLED),
        (Limits(clock_set=[101.5]), ""),
        (Limits(clock_set=[99]), DOUBLED),
    ],
)
def test_a_state_whose_answer_was_lost_comes_twice_within_the_limits_of_the_design_alone(
    tmp_path: Path, limits: Limits, words: str
) -> None:
    assert faults(tmp_path, UNHEARD, TWICE, limits) == words


def test_a_state_that_came_twice_without_another_in_between_is_none_that_was_forgotten(tmp_path: Path) -> None:
    lines = (*turn(1, A, 0), *turn(1, A, attempt=2), *turn(2, B))
    assert faults(tmp_path, lines, TWICE, Limits(forgotten=[(101.5, 101.5)])) == DOUBLED


def test_an_index_that_was_lost_forgets_nothing_that_was_heard(tmp_path: Path) -> None:
    lines = (*turn(1, A), *turn(2, B), *turn(1, A, attempt=2))
    assert faults(tmp_path, lines, TWICE, Limits(forgotten=[(103.5, 103.5)])) == DOUBLED


@pytest.mark.parametrize(
    ("limits", "words"),
    [(Limits(), "acknowledged and lost: 1 ([3])"), (Limits(down=[(101, 104)]), "")],
    ids=["running", "down"],
)
def test_a_state_whose_client_left_was_received_by_whoever_was_running(
    tmp_path: Path, limits: Limits, words: str
) -> None:
    lines = (*turn(1, A), *turn(2, B, 0), *turn(3, A), *turn(2, B, attempt=2))
    assert faults(tmp_path, lines, FORGOTTEN, limits) == words


@pytest.mark.parametrize(
    ("crashes", "words"),
    [
        ([(103.5, 103.8)], ""),  # 2.5 s after the answer to A
        ([(111.5, 111.8)], "acknowledged and lost: 1 ([3])"),  # after A was back
        ([(99.5, 100.5)], "acknowledged and lost: 1 ([3])"),  # before that answer
    ],
)
def test_after_a_crash_a_retry_is_expected_of_what_had_just_been_answered(
    tmp_path: Path, crashes: list[tuple[float, float]], words: str
) -> None:
    lines = (*turn(1, A), *turn(2, B), *turn(3, A))
    assert faults(tmp_path, lines, FORGOTTEN, Limits(crashes=crashes)) == words


def test_after_a_crash_one_retry_is_expected_and_no_second_one(tmp_path: Path) -> None:
    lines = (*turn(1, A), *turn(2, B), *turn(3, A), *turn(4, B), *turn(5, A))
    limits = Limits(crashes=[(103.5, 103.8)])
    assert faults(tmp_path, lines, [*FORGOTTEN, record(B, "y.2", 2, 6)], limits) == "acknowledged and lost: 1 ([5])"


def test_after_a_crash_no_retry_is_expected_of_what_was_answered_long_before(tmp_path: Path) -> None:
    others = [line for key in range(4, 9) for line in (sent(NEXT, subject=2, key=key), answered(NEXT, key=key))]
    lines = (*turn(1, A), *others, *turn(2, B), *turn(3, A))
    limits = Limits(crashes=[(113.5, 113.8)])
    assert "acknowledged and lost: 1 ([3])" in faults(tmp_path, lines, [*FORGOTTEN, record(NEXT, "z", 2, 2)], limits)


@pytest.mark.parametrize(("lag", "words"), [(0.5, "acknowledged and lost: 1 ([3])"), (1.5, "")])
def test_what_another_replica_published_is_known_after_its_lag(tmp_path: Path, lag: float, words: str) -> None:
    lines = (*turn(1, A), *turn(2, B), *turn(3, A))
    assert faults(tmp_path, lines, FORGOTTEN, Limits(lag=lag)) == words


def test_no_limit_lets_a_state_that_comes_back_be_swallowed(tmp_path: Path) -> None:
    ever = [(0.0, 1000.0)]
    limits = Limits(incomplete=ever, forgotten=ever, clock_set=[101.0, 103.0])
    assert faults(tmp_path, REFUSED, FORGOTTEN, limits) == "acknowledged and lost: 1 ([3])"


def test_a_time_in_milliseconds_may_be_cut_to_before_its_request(tmp_path: Path) -> None:
    path = journal(tmp_path, *TURNS)
    path.write_text(path.read_text().replace('"wall": 0.0', '"wall": 0.0004'))
    assert judge(read_journal(path), [record(TURN, "x", 0, 0), *TAKEN[1:]]).faults() == []


def test_each_request_of_a_signal_may_be_an_event_and_no_more(tmp_path: Path) -> None:
    once = (sent(STATE, kind="signal"), answered(STATE))
    records = [record(STATE, "x.1", 0), record(STATE, "x.2", 1)]
    assert faults(tmp_path, (*once, *once), records) == ""
    assert faults(tmp_path, once, records) == "one event under several ids: 1 ([1])"


@pytest.mark.parametrize("kind", ["state", "signal"])
def test_what_an_answer_called_it_has_to_be_in_kafka(tmp_path: Path, kind: str) -> None:
    lines = (sent(STATE, kind=kind), answered(STATE, 0), sent(STATE, kind=kind), answered(STATE) | {"id": "y"})
    assert faults(tmp_path, lines, [record(STATE, "y")]) == ""
    assert faults(tmp_path, lines, [record(STATE, "x")]) == "acknowledged under an id that is not in Kafka: 1 ([1])"


def test_a_record_belongs_into_its_own_topic_and_has_its_own_type(tmp_path: Path) -> None:
    right = record(STATE, "x")
    of_another = (right.value or b"").replace(EVENT.encode(), b"lead_changed")
    for one in (replace(right, topic="test.lead_changed"), replace(right, value=of_another)):
        assert "never sent: 1" in faults(tmp_path, TOLD[:2], [one])


def test_a_subject_stays_in_one_partition(tmp_path: Path) -> None:
    moved = [KEPT[0], replace(KEPT[1], partition=1)]
    assert faults(tmp_path, TOLD, moved) == "subjects in several partitions: 1 ([1])"


@pytest.mark.parametrize(("status", "words"), [(500, "answers 500: 1"), (-1, "answers that are no HTTP: 1"), (503, "")])
def test_an_answer_of_a_kind_that_never_comes_is_a_fault(tmp_path: Path, status: int, words: str) -> None:
    assert faults(tmp_path, (sent(STATE), answered(STATE, status)), []) == words


def test_a_request_whose_end_the_client_did_not_note_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, (*TOLD[:3], sent(STATE), answered(STATE)), KEPT) == "requests that the client forgot: 1"


def test_a_line_in_the_middle_that_cannot_be_read_ends_the_judgement(tmp_path: Path) -> None:
    path = journal(tmp_path, *TOLD)
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first[:-20] + "\n", *others]))
    with pytest.raises(json.JSONDecodeError):
        read_journal(path)


@pytest.mark.parametrize(("status", "seconds", "late"), [(200, 8.9, 0), (503, 9.1, 1), (0, 10.0, 1), (0, 0.1, 0)])
def test_an_answer_that_comes_too_late_or_never_is_counted(
    tmp_path: Path, status: int, seconds: float, late: int
) -> None:
    assert read_journal(journal(tmp_path, sent(STATE), answered(STATE, status, seconds))).late == late


def test_the_line_that_was_being_written_when_aurora_was_killed_is_left_out(tmp_path: Path) -> None:
    path = journal(tmp_path, *TOLD)
    path.write_text(path.read_text() + '{"sent": 3, "ki')
    assert len(read_journal(path).events) == 2
