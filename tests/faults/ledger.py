"""The ledger: what Aurora was told, held against what lies in Kafka. `judge` decides whether the daemon lied.

Pure functions over the journal (`journal`) and the records that an independent consumer read. What the daemon could not
know, and is excused for, `histories` says.
"""

import hashlib
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Final

from tests.faults.histories import MILLISECOND, STATES, Histories, Limits
from tests.faults.journal import LATEST_SECONDS, Journal, Told, p99
from tests.support.topics import Record

_REPLICA: Final = "aurora-bridge-instance"
"""Header with the name of the replica that published a record: the order of a subject is promised for each of them."""


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
    excused: dict[str, int] = field(default_factory=dict)
    """How often something was held to be within the limits, by what it was."""

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


def judge(journal: Journal, records: Iterable[Record], limits: Limits | None = None) -> Verdict:
    """Hold the records of all topics, by partition and offset, against the journal."""
    ids: defaultdict[int, set[str]] = defaultdict(set)
    owners: defaultdict[str, set[int]] = defaultdict(set)
    order: defaultdict[tuple[str, int, object], list[Told]] = defaultdict(list)
    places: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    times: defaultdict[str, list[float]] = defaultdict(list)
    keys = _Keys(journal)
    events = journal.events
    invented = []
    copies = 0
    for record in records:
        event = json.loads(record.value or b"{}")
        data: dict[str, Any] = event.get("data", {})
        digest = _digest(data)
        key = keys.find(digest, event.get("time"))
        if key is None or not _is_of(record, event, events[key]):
            invented.append(f"{record.topic}-{record.partition}@{record.offset}")
            continue
        owners[event["id"]].add(key)
        if event["id"] in ids[key]:
            copies += 1
            continue
        told = events[key]
        places[told.kind, told.subject].add(record.partition)
        if not ids[key]:
            order[told.kind, told.subject, record.headers.get(_REPLICA)].append(told)
        ids[key].add(event["id"])
        times[digest].append(_seconds(event["time"]))
    acknowledged = [key for key, told in events.items() if told.acceptance]
    histories = Histories(events.values(), limits or Limits())
    missing = [key for key in acknowledged if key not in ids]
    why = {key: histories.why_not_lost(events[key], times[events[key].digest]) for key in missing}
    several = {key for key, having in ids.items() if len(having) > 1}
    doubled = [key for key in several if len(ids[key]) > histories.ids_allowed(events[key])]
    excused = Counter(reason for reason in why.values() if reason)
    excused["states told twice within the limits of the design"] = sum(
        events[key].kind in STATES for key in several.difference(doubled)
    )
    return Verdict(
        sent=len(events),
        acknowledged=len(acknowledged),
        in_kafka=len(ids),
        raw_duplicates=copies,
        slowest=max(journal.seconds, default=0.0),
        p99=p99(journal.seconds),
        statuses=dict(sorted(journal.statuses.items())),
        lost=[key for key, reason in why.items() if reason is None],
        renamed=[key for key in acknowledged if key in ids and not events[key].ids <= ids[key]],
        invented=invented,
        doubled=sorted(doubled),
        disordered=sorted({subject for (_, subject, _), told in order.items() if not _in_order(told)}),
        scattered=[subject for (_, subject), partitions in places.items() if len(partitions) > 1],
        shared=[name for name, keys in owners.items() if len(keys) > 1],
        late=journal.late,
        unanswered=sum(told.unanswered for told in events.values()),
        excused={reason: count for reason, count in excused.items() if count},
    )


def _is_of(record: Record, event: Mapping[str, Any], told: Told) -> bool:
    """Whether a record is under its own id, and in topic and type that of what was told."""
    name = event["id"]
    return (
        (record.key or b"").decode() == name
        and record.topic.rpartition(".")[2] == told.event
        and str(event["type"]).rpartition(".")[2] == told.event
    )


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


class _Keys:
    """Tells which event a record is. By content; of *turns*, which have the same, by the `time` of the record.

    That is the receipt of the event's first attempt, and the next event of the same content is sent only after it.
    """

    def __init__(self, journal: Journal) -> None:
        self._begun: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for key, told in journal.events.items():
            self._begun[told.digest].append((told.begun_wall, key))
        for begun in self._begun.values():
            begun.sort()

    def find(self, digest: str, time: str | None) -> int | None:
        """Return the key of the event, None where none was sent that it could be."""
        begun = self._begun.get(digest, [])
        if len(begun) < 2 or time is None:
            return begun[0][1] if begun else None
        at = bisect_right(begun, (_seconds(time) + MILLISECOND, inf))
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
