"""The ledger finds each way of breaking the promise, and nothing where it was kept."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.aurora import digest_of
from tests.faults.ledger import judge, read_journal
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


def sent(
    data: dict[str, str], *, kind: str = "state", subject: int = 1, attempt: int = 1, key: int | None = None
) -> dict[str, Any]:
    """Return the intent of a request."""
    key = key or int(data["key"])
    told = {"sent": key, "kind": kind, "event": EVENT, "subject": subject, "digest": digest_of(data)}
    return told | {"attempt": attempt}


def answered(
    data: dict[str, str], status: int = 200, seconds: float = 0.1, attempt: int = 1, key: int | None = None
) -> dict[str, Any]:
    """Return what became of a request."""
    return {"answered": key or int(data["key"]), "attempt": attempt, "status": status, "seconds": seconds}


def record(data: dict[str, str], name: str, offset: int = 0, second: int = 0, replica: str = "one") -> Record:
    """Return the record of an event, with this id, first received at a second of 1970."""
    time = datetime.fromtimestamp(second, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    value = json.dumps({"id": name, "type": f"com.aurorasolar.{EVENT}", "data": data, "time": time}).encode()
    return Record(f"test.{EVENT}", 0, offset, name.encode(), value, {"aurora-bridge-instance": replica}, 0)


TOLD: Final = (sent(STATE), answered(STATE), sent(NEXT), answered(NEXT))
KEPT: Final = [record(STATE, "x", 0), record(NEXT, "y", 1)]


def faults(folder: Path, lines: tuple[dict[str, Any], ...], records: list[Record]) -> str:
    """Return what the ledger finds, in words."""
    return "; ".join(judge(read_journal(journal(folder, *lines)), records).faults())


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
