"""Compares what happened at Aurora with what is stored, by content: what happened twice must be stored twice."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from aurora_bridge.simulator.deliveries import Answer
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.web.formatting import counted

_MOST_NAMED: Final = 3


class Sums:
    """What happened, what is stored, and what the daemon answered in between."""

    def __init__(self) -> None:
        self.happened: Counter[bytes] = Counter()
        self.stored: dict[str, bytes] = {}
        """Content by id: the same id again is the same event."""
        self.copies = 0
        """Records with an id that was stored before."""
        self.outcomes: Counter[str] = Counter()
        """Deliveries by the outcome that the daemon answered."""

    def happen(self, occurrence: Occurrence) -> None:
        """Record what happened at Aurora."""
        self.happened[_content(occurrence.event, occurrence.attributes)] += 1

    def store(self, line: bytes) -> None:
        """Record a line of `tail`. Ignore what did not happen here: others write to the same topics."""
        event = orjson.loads(line)
        data = event.get("data")
        if not isinstance(data, dict):
            return
        content = _content(event["type"].rpartition(".")[2], data)
        if content in self.happened:
            self.copies += event["id"] in self.stored
            self.stored[event["id"]] = content

    def answer(self, answer: Answer) -> str:
        """Record an answer; return its status and outcome in words."""
        if answer.status is None:
            return "no answer"
        if not answer.succeeded:
            return str(answer.status)
        outcome = str(orjson.loads(answer.text)["outcome"])
        self.outcomes[outcome] += 1
        return f"{answer.status} {outcome}"

    def problems(self) -> list[str]:
        """Return what is wrong: each event must be stored once, not counting copies with the same id."""
        stored = Counter(self.stored.values())
        missing, more = self.happened - stored, stored - self.happened
        return [
            f"{counted(wrong.total(), 'event')} {words}: {_named(wrong)}"
            for wrong, words in ((missing, "not stored"), (more, "stored more than once"))
            if wrong
        ]


def _content(event: str, attributes: Mapping[str, str | None]) -> bytes:
    """Return event and attributes as comparable bytes; what came empty is null, as in a CloudEvent."""
    values = {name: value or None for name, value in attributes.items()}
    return orjson.dumps([event, values], option=orjson.OPT_SORT_KEYS)


def _named(contents: Iterable[bytes]) -> str:
    names = [content.decode() for content in contents]
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
