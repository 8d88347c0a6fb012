"""The ledger finds each way of breaking the promise, and nothing where it was kept."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.aurora import digest_of
from tests.faults.ledger import judge, read_journal
from tests.support.topics import Record

STATE: Final = {"agreement_id": "a-1", "key": "1"}
NEXT: Final = {"agreement_id": "a-1", "key": "2"}


def journal(folder: Path, *lines: dict[str, Any]) -> Path:
    """Write a journal."""
    path = folder / "journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def sent(data: dict[str, str], *, kind: str = "state", subject: int = 1, attempt: int = 1) -> dict[str, Any]:
    """Return the intent of a request."""
    key = int(data["key"])
    return {"sent": key, "kind": kind, "subject": subject, "digest": digest_of(data), "attempt": attempt}


def answered(data: dict[str, str], status: int = 200, seconds: float = 0.1, attempt: int = 1) -> dict[str, Any]:
    """Return what became of a request."""
    return {"answered": int(data["key"]), "attempt": attempt, "status": status, "seconds": seconds}


def record(data: dict[str, str], name: str, offset: int = 0) -> Record:
    """Return the record of an event, with this id."""
    value = json.dumps({"id": name, "data": data}).encode()
    return Record("topic", 0, offset, name.encode(), value, {}, 0)


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


def test_two_records_of_a_signal_are_two_looks(tmp_path: Path) -> None:
    lines = (sent(STATE, kind="signal"), answered(STATE))
    assert faults(tmp_path, lines, [record(STATE, "x.1", 0), record(STATE, "x.2", 1)]) == ""


@pytest.mark.parametrize(("status", "seconds", "late"), [(200, 8.9, 0), (503, 9.1, 1), (0, 10.0, 1), (0, 0.1, 0)])
def test_an_answer_that_comes_too_late_or_never_is_counted(
    tmp_path: Path, status: int, seconds: float, late: int
) -> None:
    assert read_journal(journal(tmp_path, sent(STATE), answered(STATE, status, seconds))).late == late


def test_the_line_that_was_being_written_when_aurora_was_killed_is_left_out(tmp_path: Path) -> None:
    path = journal(tmp_path, *TOLD)
    path.write_text(path.read_text() + '{"sent": 3, "ki')
    assert len(read_journal(path).events) == 2
