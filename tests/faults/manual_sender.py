"""Webhooks sent by hand, beside the load: exact ones, at exact moments, many at once.

They stand in the same journal as Aurora's, so that the ledger judges them with the rest.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import Barrier
from time import monotonic, time
from typing import Final, TypeVar

from tests.faults.aurora import TOKEN, digest_of
from tests.support import http

FIRST_KEY: Final = 1_000_000_000
"""Keys and subjects from here on are none of Aurora's."""
HEADERS: Final = [("X-Aurora-Webhook-Token", TOKEN)]
KINDS: Final = ("state", "once")

Found = TypeVar("Found")


@dataclass(frozen=True)
class Webhook:
    """An event that is told by hand."""

    key: int
    kind: str
    event: str
    subject: int
    target: str
    data: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Answer:
    """What a request was told; status 0 where nothing was."""

    status: int
    id: str = ""
    outcome: str = ""
    reason: str = ""
    retry_after: str = ""
    """As the header says it."""
    at: float = 0.0
    """When it had come, by the monotonic clock."""

    @property
    def accepted(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class ManualSender:
    """Sends webhooks and writes them down."""

    def __init__(self, journal: Path) -> None:
        """Append to a journal."""
        self._journal = journal.open("a", buffering=1)  # a line is one write, also between Aurora's
        self._keys = count(FIRST_KEY)

    def new(self, kind: str, subject: int | None = None) -> Webhook:
        """Return an event that was never told: one that happens once, or a state, of a new subject if none is given."""
        key = next(self._keys)
        subject = subject or key
        if kind == "state":
            data = {"agreement_id": f"h-{subject}", "status": "signed", "key": str(key)}
            event = "agreement_status_changed"
        else:
            data, event = {"lead_id": f"h-{key}", "key": str(key)}, "lead_created"
        query = "&".join(f"{name}={value}" for name, value in data.items())
        return Webhook(key, kind, event, subject, f"/{event}?{query}", data)

    def large(self, event: str, identifier: str, size: int) -> Webhook:
        """Return an event that happens once, of this name and identifier, of about so many bytes."""
        key = next(self._keys)
        data = {identifier: f"h-{key}", "key": str(key), "note": "x" * size}
        query = "&".join(f"{name}={value}" for name, value in data.items())
        return Webhook(key, "once", event, key, f"/{event}?{query}", data)

    def again(self, webhook: Webhook) -> Webhook:
        """Return another event of the same content: a state that comes back."""
        return replace(webhook, key=next(self._keys))

    def note_accepted(self, webhook: Webhook, wall: float) -> None:
        """Write down that it was accepted before all this, at a time in seconds since 1970, by the attempt 0."""
        self._note_sent(webhook, 0, wall=wall)
        self._note(answered=webhook.key, attempt=0, status=200, seconds=0)

    def send(self, webhook: Webhook, url: str, *, attempt: int = 1, copy: bool = False) -> Answer:
        """Send it once, and return what was answered; a copy is of what was accepted before."""
        self._note_sent(webhook, attempt, copy=copy)
        began, body = monotonic(), ""
        try:
            response = http.get(url, webhook.target, HEADERS)
            told = response.json
            after = response.headers.get("retry-after", "")
            reason = told.get("reason", "")
            body = response.body.decode()
            answer = Answer(response.status, told["id"], told["outcome"], reason, after, monotonic())
        except OSError:
            answer = Answer(0)
        seconds = round(monotonic() - began, 4)
        named = {"id": answer.id} if answer.accepted else {}
        told = {"answered": webhook.key, "attempt": attempt, "copy": copy, "body": body}
        self._note(**told, status=answer.status, seconds=seconds, **named)
        return answer

    def close(self) -> None:
        """Write nothing any more."""
        self._journal.close()

    def _note_sent(self, webhook: Webhook, attempt: int, **more: object) -> None:
        self._note(
            sent=webhook.key,
            kind=webhook.kind,
            event=webhook.event,
            subject=webhook.subject,
            digest=digest_of(webhook.data),
            attempt=attempt,
            **more,
        )

    def _note(self, **line: object) -> None:
        self._journal.write(json.dumps({"at": monotonic(), "wall": time()} | line) + "\n")


def at_once(calls: Sequence[Callable[[], Found]]) -> list[Found]:
    """Make all calls at the same moment, each on a thread of its own; return what they returned, in their order."""
    barrier = Barrier(len(calls))

    def begin(call: Callable[[], Found]) -> Found:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))
