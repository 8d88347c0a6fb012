"""What is told of a scenario: nothing that was not played, or not to its end, looks as if it had passed."""

from typing import Any, Final

import pytest

from tests.faults.report import line, page

PLAYED: Final[dict[str, Any]] = {
    "name": "04-something",
    "what": "Something happens.",
    "broken": None,
    "scale": 0.1,
    "brokers": 3,
    "rate": 200,
    "offered": 198.5,
    "skipped": None,
    "broke": None,
    "found": [],
    "as_expected": True,
    "measured": {"s to recover": 1.5},
    "remarks": [],
    "sent": 1001,
    "acknowledged": 1000,
    "in_kafka": 1000,
    "lost": 0,
    "raw_duplicates": 3,
    "slowest": 1.5,
    "p99": 0.5,
    "recovered": 0.1,
}


def test_what_passed_is_told_with_its_figures() -> None:
    assert line(PLAYED).startswith("PASS 04-something: sent 1001, acknowledged 1000, in Kafka 1000, lost 0, ")
    assert "s to recover 1.5" in line(PLAYED)
    figures = "3 | 0.1 | 200 | 198.5 | 1001 | 1000 | 1000 | 0 | 3 | 1.5 | 0.5 | 0.1"
    assert f"| 04-something | **PASS** | {figures} |" in page([PLAYED])


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"skipped": "no iptables"}, "SKIP"),
        ({"broke": "AssertionError: never connected", "as_expected": False}, "BROKE"),
        ({"found": ["acknowledged and lost: 1"], "as_expected": False}, "FAIL"),
    ],
)
def test_what_did_not_pass_is_told_by_name_with_its_reason(more: dict[str, Any], word: str) -> None:
    result = PLAYED | more
    (reason,) = [value if isinstance(value, str) else value[0] for name, value in more.items() if name != "as_expected"]
    assert line(result).startswith(f"{word} 04-something: ")
    assert reason in line(result)
    assert f"| 04-something | **{word}** |" in page([result])
    assert reason in page([result])


def test_a_lie_that_passed_stands_out() -> None:
    assert line(PLAYED | {"broken": "acks-0", "as_expected": False}).endswith("NOT AS IT SHOULD BE")
