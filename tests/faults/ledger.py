"""The ledger: what Aurora was told, held against what lies in Kafka. `judge` decides whether the daemon lied.

Pure functions over the journal that `aurora` wrote and the records that an independent consumer read.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.topics import Record

LATEST_SECONDS: Final = 8.0
"""The daemon's own deadline; beyond it only what a busy machine adds."""
NOISE_SECONDS: Final = 1.0
BUDGET_SECONDS: Final = 10.0
DEAD_LETTER: Final = "aurora-bridge.dead_letter"


@dataclass
class Told:
    """One genuine event, and what became of the requests that told it."""

    kind: str
    subject: int
    digest: str
    requests: int = 0
    answers: list[tuple[int, int]] = field(default_factory=list)
    """Attempt and status of each answer."""

    @property
    def accepted(self) -> bool:
        """Whether one of them was answered with a 2xx."""
        return any(200 <= status < 300 for _, status in self.answers)

    @property
    def accepted_at_once(self) -> bool:
        """Whether the very first was."""
        return bool(self.answers) and 200 <= self.answers[0][1] < 300


@dataclass
class Ledger:
    """Everything that Aurora sent and was answered."""

    events: dict[int, Told] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    """Of every answer."""
    late: int = 0
    """Answers after `LATEST_SECONDS` and the machine's noise, and requests without one in Aurora's time."""
    statuses: Counter[int] = field(default_factory=Counter)


def read_journal(path: Path) -> Ledger:
    """Return what a journal says."""
    ledger = Ledger()
    for line in _lines(path):
        if "sent" in line:
            told = ledger.events.setdefault(line["sent"], Told(line["kind"], line["subject"], line["digest"]))
            told.requests += 1
            continue
        ledger.events[line["answered"]].answers.append((line["attempt"], line["status"]))
        ledger.statuses[line["status"]] += 1
        if line["status"]:
            ledger.seconds.append(line["seconds"])
        silent = line["status"] == 0 and line["seconds"] >= BUDGET_SECONDS - NOISE_SECONDS
        if silent or (line["status"] and line["seconds"] > LATEST_SECONDS + NOISE_SECONDS):
            ledger.late += 1
    return ledger


def answers_between(path: Path, since: float, until: float) -> list[dict[str, Any]]:
    """Return what a journal says of the answers that came in a span of monotonic time."""
    return [line for line in _lines(path) if "answered" in line and since <= line["at"] < until]


def p99(seconds: Sequence[float]) -> float:
    """Return the seconds in which 99 of 100 answers came; 0 without any."""
    return sorted(seconds)[len(seconds) * 99 // 100] if seconds else 0.0


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal, without one that was being written when its writer was killed."""
    for text in path.read_text().splitlines():
        with suppress(ValueError):
            yield json.loads(text)


@dataclass
class Verdict:
    """What the ledger found."""

    sent: int
    acknowledged: int
    in_kafka: int
    """Genuine events of which Kafka has a record."""
    raw_duplicates: int
    """Records beyond the first of each id: consumers drop them by key alone."""
    slowest: float
    """Seconds of the slowest answer."""
    p99: float
    """Seconds in which 99 of 100 answers came."""
    statuses: Mapping[int, int]
    lost: list[int]
    invented: list[str]
    """Records of events that nobody sent, or with other content."""
    doubled: list[int]
    """States and once-events that are there under more than one id."""
    disordered: list[int]
    """Subjects whose events lie in another order than they were accepted in."""
    shared: list[str]
    """Ids that two genuine events share."""
    late: int

    def faults(self) -> list[str]:
        """Return what is wrong, in words; nothing if the promise was kept."""
        found: dict[str, list[int] | list[str]] = {
            "acknowledged and lost": self.lost,
            "in Kafka and never sent": self.invented,
            "one event under several ids": self.doubled,
            "several events under one id": self.shared,
            "subjects out of order": self.disordered,
        }
        words = [f"{what}: {len(items)} ({items[:5]})" for what, items in found.items() if items]
        if self.late:
            words.append(f"answers later than {LATEST_SECONDS:g} s: {self.late}")
        return words


def judge(ledger: Ledger, records: Iterable[Record]) -> Verdict:
    """Hold the records of all topics, by partition and offset, against the ledger."""
    ids: defaultdict[int, set[str]] = defaultdict(set)
    owners: defaultdict[str, set[int]] = defaultdict(set)
    order: defaultdict[int, list[int]] = defaultdict(list)
    invented = []
    copies = 0
    for record in records:
        event = json.loads(record.value or b"{}")
        data: dict[str, Any] = event.get("data", {})
        key = int(data.get("key", 0))
        told = ledger.events.get(key)
        if told is None or told.digest != _digest(data) or (record.key or b"").decode() != event["id"]:
            invented.append(f"{record.topic}-{record.partition}@{record.offset}")
            continue
        owners[event["id"]].add(key)
        if event["id"] in ids[key]:
            copies += 1
            continue
        if not ids[key]:
            order[told.subject].append(key)
        ids[key].add(event["id"])
    events = ledger.events
    acknowledged = [key for key, told in events.items() if told.accepted]
    in_order = {key for key, told in events.items() if told.kind == "state" and told.accepted_at_once}
    return Verdict(
        sent=len(events),
        acknowledged=len(acknowledged),
        in_kafka=len(ids),
        raw_duplicates=copies,
        slowest=max(ledger.seconds, default=0.0),
        p99=p99(ledger.seconds),
        statuses=dict(sorted(ledger.statuses.items())),
        lost=[key for key in acknowledged if key not in ids],
        invented=invented,
        doubled=[key for key, having in ids.items() if len(having) > 1 and events[key].kind != "signal"],
        disordered=[subject for subject, keys in order.items() if not _ascending([k for k in keys if k in in_order])],
        shared=[name for name, keys in owners.items() if len(keys) > 1],
        late=ledger.late,
    )


def _ascending(keys: list[int]) -> bool:
    return keys == sorted(keys)


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
