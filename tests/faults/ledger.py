"""The ledger: what Aurora was told, held against what lies in Kafka. `judge` decides whether the daemon lied.

Pure functions over the journal that `aurora` wrote and the records that an independent consumer read.
"""

import hashlib
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, Final

from tests.support.topics import Record

LATEST_SECONDS: Final = 8.0
"""The daemon's own deadline; beyond it only what a busy machine adds."""
NOISE_SECONDS: Final = 1.0
BUDGET_SECONDS: Final = 10.0
_REPLICA: Final = "aurora-bridge-instance"
"""Header with the name of the replica that published a record: the order of a subject is promised for each of them."""
DEAD_LETTER: Final = "aurora-bridge.dead_letter"


@dataclass
class Told:
    """One genuine event, and what became of the requests that told it."""

    kind: str
    event: str
    """The last part of its topic's name, and of its CloudEvents type."""
    subject: int
    digest: str
    begun: float
    """When the first request was about to be sent, by the monotonic clock."""
    begun_wall: float
    """The same, in seconds since 1970."""
    accepted_at: float = inf
    """When the first 2xx had come, by the monotonic clock."""
    requests: int = 0
    """How many were about to be sent; less those of which it is known what became of them: `unanswered`."""
    unanswered: int = 0
    ids: set[str] = field(default_factory=set)
    """What it was called in answers with a 2xx."""

    @property
    def accepted(self) -> bool:
        """Whether one of its requests was answered with a 2xx."""
        return self.accepted_at < inf


@dataclass
class Ledger:
    """Everything that Aurora sent and was answered."""

    events: dict[int, Told] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    """Of every answer."""
    late: int = 0
    """Answers after `LATEST_SECONDS` and the machine's noise, and requests without one in Aurora's time."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all answers: 0 where there was none, -1 where it could not be read."""


def read_journal(path: Path) -> Ledger:
    """Return what a journal says."""
    ledger = Ledger()
    for line in _lines(path):
        if "sent" in line:
            new = Told(line["kind"], line["event"], line["subject"], line["digest"], line["at"], line["wall"])
            told = ledger.events.setdefault(line["sent"], new)
            told.requests += 1
            told.unanswered += 1
            continue
        told = ledger.events[line["answered"]]
        told.unanswered -= 1
        if 200 <= line["status"] < 300:
            told.accepted_at = min(told.accepted_at, line["at"])
            told.ids |= {line["id"]} if "id" in line else set()
        if not line["attempt"]:  # accepted before all this (`hand`)
            continue
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
    *whole, rest = path.read_text().split("\n")
    del rest  # nothing, if the last line has its end
    yield from map(json.loads, whole)


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
    renamed: list[int]
    """Events of which an answer with a 2xx named an id that Kafka does not have."""
    invented: list[str]
    """Records of events that nobody sent, or with other content, or in a topic or of a type that is another event's."""
    doubled: list[int]
    """States and once-events that are there under more than one id, and signals under more than they had requests."""
    disordered: list[int]
    """Subjects of which an event lies before one that was accepted before it was even sent."""
    scattered: list[int]
    """Subjects of one kind that lie in more than one partition of their topic."""
    shared: list[str]
    """Ids that two genuine events share."""
    late: int
    unanswered: int
    """Requests of which the client itself did not say what became of them."""

    def faults(self) -> list[str]:
        """Return what is wrong, in words; nothing if the promise was kept."""
        found: dict[str, list[int] | list[str]] = {
            "acknowledged and lost": self.lost,
            "acknowledged under an id that is not in Kafka": self.renamed,
            "in Kafka and never sent": self.invented,
            "one event under several ids": self.doubled,
            "several events under one id": self.shared,
            "subjects out of order": self.disordered,
            "subjects in several partitions": self.scattered,
        }
        words = [f"{what}: {len(items)} ({items[:5]})" for what, items in found.items() if items]
        counted = {
            f"answers later than {LATEST_SECONDS:g} s": self.late,
            "answers 500": self.statuses.get(500, 0),
            "answers that are no HTTP": self.statuses.get(-1, 0),
            "requests that the client forgot": self.unanswered,
        }
        return words + [f"{what}: {count}" for what, count in counted.items() if count]


def judge(ledger: Ledger, records: Iterable[Record]) -> Verdict:
    """Hold the records of all topics, by partition and offset, against the ledger."""
    ids: defaultdict[int, set[str]] = defaultdict(set)
    owners: defaultdict[str, set[int]] = defaultdict(set)
    order: defaultdict[tuple[str, int, object], list[Told]] = defaultdict(list)
    places: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    keys = _Keys(ledger)
    invented = []
    copies = 0
    for record in records:
        event = json.loads(record.value or b"{}")
        data: dict[str, Any] = event.get("data", {})
        key = keys.find(_digest(data), event.get("time"))
        if key is None or not _is_of(record, event, ledger.events[key]):
            invented.append(f"{record.topic}-{record.partition}@{record.offset}")
            continue
        owners[event["id"]].add(key)
        if event["id"] in ids[key]:
            copies += 1
            continue
        told = ledger.events[key]
        places[told.kind, told.subject].add(record.partition)
        if not ids[key]:
            order[told.kind, told.subject, record.headers.get(_REPLICA)].append(told)
        ids[key].add(event["id"])
    events = ledger.events
    acknowledged = [key for key, told in events.items() if told.accepted]
    return Verdict(
        sent=len(events),
        acknowledged=len(acknowledged),
        in_kafka=len(ids),
        raw_duplicates=copies,
        slowest=max(ledger.seconds, default=0.0),
        p99=p99(ledger.seconds),
        statuses=dict(sorted(ledger.statuses.items())),
        lost=[key for key in acknowledged if key not in ids],
        renamed=[key for key in acknowledged if key in ids and not events[key].ids <= ids[key]],
        invented=invented,
        doubled=[key for key, having in ids.items() if len(having) > _ids_allowed(events[key])],
        disordered=sorted({subject for (_, subject, _), told in order.items() if not _in_order(told)}),
        scattered=[subject for (_, subject), partitions in places.items() if len(partitions) > 1],
        shared=[name for name, keys in owners.items() if len(keys) > 1],
        late=ledger.late,
        unanswered=sum(told.unanswered for told in events.values()),
    )


def _is_of(record: Record, event: Mapping[str, Any], told: Told) -> bool:
    """Whether a record is under its own id, and in topic and type that of what was told."""
    name = event["id"]
    return (
        (record.key or b"").decode() == name
        and record.topic.rpartition(".")[2] == told.event
        and str(event["type"]).rpartition(".")[2] == told.event
    )


def _ids_allowed(told: Told) -> int:
    """Return under how many ids an event may be there: each request of a signal is an event of its own."""
    return told.requests if told.kind == "signal" else 1


class _Keys:
    """Tells which event a record is. By content; of *turns*, which have the same, by the `time` of the record.

    That is the receipt of the event's first attempt, and the next event of the same content is sent only after it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._begun: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for key, told in ledger.events.items():
            self._begun[told.digest].append((told.begun_wall, key))
        for begun in self._begun.values():
            begun.sort()

    def find(self, digest: str, time: str | None) -> int | None:
        """Return the key of the event, None where none was sent that it could be."""
        begun = self._begun.get(digest, [])
        if len(begun) < 2 or time is None:
            return begun[0][1] if begun else None
        at = bisect_right(begun, (datetime.fromisoformat(time).timestamp(), inf))
        return begun[at - 1][1] if at else None


def _in_order(events: Sequence[Told]) -> bool:
    """Tell whether no event lies before one that had been accepted when it was sent for the first time.

    Only that can be asked: requests that were under way together may come in any order, and what was not accepted yet
    may come late.
    """
    accepted_behind = inf
    for told in reversed(events):
        if accepted_behind < told.begun:
            return False
        accepted_behind = min(accepted_behind, told.accepted_at)
    return True


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
