"""What happened at Aurora against what is stored, by content: what happened twice has to be there twice."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from aurora_bridge.simulator.deliveries import Answer
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.web.words import counted

_MOST_NAMED: Final = 3


class Sums:
    """The two sides, and what the daemon answered between them."""

    def __init__(self) -> None:
        self.happened: Counter[bytes] = Counter()
        self.stored: dict[str, bytes] = {}
        """Content by id: an id that comes again is the same event."""
        self.copies = 0
        """Records with an id that was there before."""
        self.outcomes: Counter[str] = Counter()
        """Of deliveries, in the daemon's own words."""

    def happen(self, occurrence: Occurrence) -> None:
        """Enter what happened at Aurora."""
        self.happened[_content(occurrence.event, occurrence.attributes)] += 1

    def store(self, line: bytes) -> None:
        """Enter an event as `tail` prints it. What did not happen here is by others, who write to the same topics."""
        event = orjson.loads(line)
        data = event.get("data")
        if not isinstance(data, dict):
            return
        content = _content(event["type"].rpartition(".")[2], data)
        if content in self.happened:
            self.copies += event["id"] in self.stored
            self.stored[event["id"]] = content

    def answer(self, answer: Answer) -> str:
        """Enter what was answered; return it in words."""
        if answer.status is None:
            return "no answer"
        if not answer.succeeded:
            return str(answer.status)
        outcome = str(orjson.loads(answer.text)["outcome"])
        self.outcomes[outcome] += 1
        return f"{answer.status} {outcome}"

    def problems(self) -> list[str]:
        """Return what is wrong: each event has to be stored once, after dropping equal ids."""
        stored = Counter(self.stored.values())
        missing, more = self.happened - stored, stored - self.happened
        return [
            f"{counted(wrong.total(), 'event')} {words}: {_named(wrong)}"
            for wrong, words in ((missing, "not stored"), (more, "stored more than once"))
            if wrong
        ]


def _content(event: str, attributes: Mapping[str, str | None]) -> bytes:
    """Return an event and its attributes; what came empty is null in a CloudEvent."""
    values = {name: value or None for name, value in attributes.items()}
    return orjson.dumps([event, values], option=orjson.OPT_SORT_KEYS)


def _named(contents: Iterable[bytes]) -> str:
    names = [content.decode() for content in contents]
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
