"""The journal that `aurora` and `manual_sender` write: a line before each request, and one for what became of it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

LATEST_SECONDS: Final = 8.0
"""The daemon's own deadline; beyond it only what a busy machine adds."""
NOISE_SECONDS: Final = 1.0
BUDGET_SECONDS: Final = 10.0


@dataclass(slots=True)
class Request:
    """One request that told an event."""

    begun: float
    """When it was about to be sent, by the monotonic clock."""
    begun_wall: float
    """The same, in seconds since 1970."""
    attempt: int
    copy: bool
    """Whether it repeats what was answered with a 2xx already, as no retry does."""
    answered: float = inf
    """When the client knew what became of it, by the monotonic clock."""
    status: int = 0
    """0 where no answer came."""

    @property
    def accepted(self) -> bool:
        """Whether it was answered with a 2xx."""
        return 200 <= self.status < 300

    @property
    def answered_wall(self) -> float:
        """When the client knew what became of it, in seconds since 1970."""
        return self.begun_wall + self.answered - self.begun


@dataclass(slots=True)
class Told:
    """One genuine event, and what became of the requests that told it."""

    kind: str
    event: str
    """The last part of its topic's name, and of its CloudEvents type."""
    subject: int
    digest: str
    requests: list[Request] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    """What it was called in answers with a 2xx."""
    acceptance: Request | None = None
    """The first request that was answered with a 2xx."""

    @property
    def begun(self) -> float:
        """When the first request was about to be sent, by the monotonic clock."""
        return self.requests[0].begun

    @property
    def begun_wall(self) -> float:
        """The same, in seconds since 1970."""
        return self.requests[0].begun_wall

    @property
    def accepted_at(self) -> float:
        """When the first 2xx had come, by the monotonic clock."""
        return self.acceptance.answered if self.acceptance is not None else inf

    @property
    def unanswered(self) -> int:
        """Requests of which the client did not note what became of them."""
        return sum(request.answered == inf for request in self.requests)


@dataclass(slots=True)
class Journal:
    """Everything that Aurora sent and was answered."""

    events: dict[int, Told] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    """Of every answer."""
    late: int = 0
    """Answers after `LATEST_SECONDS` and the machine's noise, and requests without one in Aurora's time."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all answers: 0 where there was none, -1 where it could not be read."""


def read_journal(path: Path) -> Journal:
    """Return what a journal says."""
    journal = Journal()
    for line in _lines(path):
        attempt, copy = line["attempt"], line.get("copy", False)
        if "sent" in line:
            new = Told(line["kind"], line["event"], line["subject"], line["digest"])
            told = journal.events.setdefault(line["sent"], new)
            told.requests.append(Request(line["at"], line["wall"], attempt, copy))
            continue
        told = journal.events[line["answered"]]
        request = next(one for one in told.requests if (one.answered, one.attempt, one.copy) == (inf, attempt, copy))
        request.answered, request.status = line["at"], line["status"]
        if request.accepted:
            told.acceptance = told.acceptance or request
            told.ids |= {line["id"]} if "id" in line else set()
        if not attempt:  # accepted before all this (`manual_sender`)
            continue
        journal.statuses[line["status"]] += 1
        if line["status"]:
            journal.seconds.append(line["seconds"])
        silent = line["status"] == 0 and line["seconds"] >= BUDGET_SECONDS - NOISE_SECONDS
        if silent or (line["status"] and line["seconds"] > LATEST_SECONDS + NOISE_SECONDS):
            journal.late += 1
    return journal


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
