"""Aurora, as the fault tests need it: sends webhooks at a steady rate, tries again what failed, writes all of it down.

A program of its own that shares no code with the daemon, nor with the tests. Before each request its intent goes into
the journal, after it what became of it (`ledger` reads both). SIGTERM ends what is new; what was not answered with a
2xx is tried again to the end of the schedule, and then the program ends.

Events are of three kinds. A *state* belongs to a subject, whose next one is sent when the one before was answered, so
that the order of a subject is known; *once* events and *signals* have subjects of their own. One request in ten is a
second copy of a state or once event that was just accepted. A copy is not tried again.

On `--turns` subjects there are *turns* besides: a state A, then B, then A again, with nothing that tells the one A from
the other. Each is an event of its own. With `--lost`, of such a share the answer is lost, since the connection is
closed with the request; its retry comes after the B. The next A is told only once the first was accepted: a retry that
is expected cannot be told from a state that comes back. With `--stale`, that share of the states that are refused has a
copy of the state before it come after it. With `--leaving`, that share of first attempts does not wait for its answer.
"""

import argparse
import asyncio
import hashlib
import heapq
import json
import random
import signal
import socket
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from itertools import count, cycle
from time import monotonic, time
from typing import IO
from urllib.parse import urlsplit

PATIENCE_SECONDS = 10.0
"""Aurora gives up then. "Subscribing to Webhooks", Delivery."""
CONNECTIONS = 1800
"""At once: as many as 500 a second are under way while each waits for 3.5 s. More than that is not offered."""
SUBJECTS = 300
TURN_STATES = ("signed", "viewed")
LOST_SECONDS = 8.5
"""Until the retry of a turn whose answer was lost, at least. Aurora's comes after 30 s, when nothing of it is under way
any more; on the compressed clock it would."""
KINDS = ("state", "state", "state", "once", "once", "signal")
COPIED = ("state", "once")
REFUSED = 500
"""Statuses from here on say that the event was not stored."""
LEFT_SECONDS = 1.5
"""After a client that left, which a busy daemon may hear later than one that came after it."""
CUT_OFF = (OSError, TimeoutError, EOFError)
LEFT = "left"
"""What is noted in the place of an answer that was not waited for."""
TOKEN = "of-the-fault-tests"  # noqa: S105 - a secret of nobody's


@dataclass(eq=False)
class Webhook:
    """One event to be told, and how often that was tried."""

    key: int
    kind: str
    subject: int
    event: str
    target: str
    digest: str
    attempt: int = 0
    copy: bool = False
    lost: bool = False
    """Whether the answer to the first attempt is lost."""
    refused: bool = False
    """Whether the last attempt was."""
    settled: bool = False
    """Whether it is not tried again."""
    port: int = 0
    """Of the daemon that was told last."""


class Aurora:
    """The sender of webhooks."""

    def __init__(self, journal: IO[str], options: argparse.Namespace) -> None:
        """Note in `journal` what is done; `options` are those of the program."""
        self._journal = journal
        self._options = options
        self._rate: float = options.rate
        self._copied: list[str] = options.copied.split(",")
        self._share: float = options.copies * len(KINDS) / sum(kind in self._copied for kind in KINDS)
        self._retries = [float(seconds) for seconds in options.retries.split(",")]
        self._addresses = [(url.hostname or "", url.port or 80) for url in map(urlsplit, options.urls)]
        self._keys = count(1)
        self._random = random.Random(1)
        self._idle = deque(range(SUBJECTS))
        self._due: list[tuple[float, int, Webhook]] = []
        self._numbers = count()
        self._pool: dict[tuple[str, int], list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._ending = False
        self._fault: BaseException | None = None
        """A fault of this program, which ends it."""

    async def run(self) -> None:
        """Send until SIGTERM, and then until nothing is left to try."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        for number in range(self._options.turns):
            self._keep(self._take_turns(SUBJECTS + number))
        next_at = monotonic()
        while not self._ending or self._due or self._under_way:
            if self._fault is not None:
                raise self._fault
            now = monotonic()
            while self._due and self._due[0][0] <= now and len(self._under_way) < CONNECTIONS:
                self._begin(heapq.heappop(self._due)[2])
            if not self._ending and next_at <= now:
                next_at = max(next_at + 1 / self._rate, now - 0.1)  # what could not be offered is not made up for
                if len(self._under_way) < CONNECTIONS:
                    self._begin(self._new())
                continue
            wake = now + 0.05 if self._ending else next_at
            if self._due:
                wake = min(wake, self._due[0][0])
            await asyncio.sleep(max(0.0005, wake - now))

    def _end(self) -> None:
        self._ending = True

    def _new(self) -> Webhook:
        key, kind = next(self._keys), self._random.choice(KINDS)
        if kind == "state" and not self._idle:
            kind = "once"
        if kind == "state":
            subject = self._idle.popleft()
            data = {"project_id": f"p-{subject}", "agreement_id": f"a-{subject}", "status": "signed", "key": str(key)}
            event = "agreement_status_changed"
        elif kind == "once":
            subject, data, event = key, {"lead_id": f"l-{key}", "key": str(key)}, "lead_created"
        else:
            subject, data, event = key, {"lead_id": f"s-{key}", "key": str(key)}, "lead_changed"
        target = f"/{event}?" + "&".join(f"{name}={value}" for name, value in data.items())
        return Webhook(key, kind, subject, event, target, digest_of(data))

    def _begin(self, webhook: Webhook) -> None:
        self._keep(self._tell(webhook))

    async def _take_turns(self, subject: int) -> None:
        """Tell of a subject one state, another, and the first again, until the end."""
        last: dict[str, Webhook] = {}
        await asyncio.sleep(self._random.uniform(0, self._options.turn_seconds))
        for status in cycle(TURN_STATES):
            while status in last and not last[status].settled:  # noqa: ASYNC110 - at most 60 s, and only after a failure
                await asyncio.sleep(0.01)
            if self._ending:
                return
            data = {"project_id": f"p-{subject}", "agreement_id": f"a-{subject}", "status": status}
            event = "agreement_status_changed"
            target = f"/{event}?" + "&".join(f"{name}={value}" for name, value in data.items())
            lost = self._random.random() < self._options.lost
            before = last.get(TURN_STATES[status == TURN_STATES[0]])
            last[status] = told = Webhook(next(self._keys), "turn", subject, event, target, digest_of(data), lost=lost)
            await self._tell(told)
            if told.refused and before and before.settled and self._random.random() < self._options.stale:
                await self._tell(replace(before, attempt=0, copy=True))
            if not told.refused:  # else the next is there before the retry
                await asyncio.sleep(
                    max(LEFT_SECONDS, self._options.turn_seconds) if lost else self._options.turn_seconds
                )

    def _keep(self, telling: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(telling)
        self._under_way.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if (error := task.exception()) is not None:
            self._fault = error

    async def _tell(self, webhook: Webhook) -> None:
        webhook.attempt += 1
        self._note(
            sent=webhook.key,
            kind=webhook.kind,
            event=webhook.event,
            subject=webhook.subject,
            digest=webhook.digest,
            attempt=webhook.attempt,
            copy=webhook.copy,
        )
        began = monotonic()
        status, body = await self._ask(webhook)
        seconds = monotonic() - began
        accepted = 200 <= status < 300
        self._note(
            answered=webhook.key,
            attempt=webhook.attempt,
            copy=webhook.copy,
            to=webhook.port,
            status=status,
            seconds=round(seconds, 4),
            body=body,
            **({"id": json.loads(body)["id"]} if accepted else {}),
        )
        webhook.settled = accepted or webhook.attempt > len(self._retries)
        webhook.refused = status >= REFUSED
        if not accepted and not webhook.copy and webhook.attempt <= len(self._retries):
            seconds = self._retries[webhook.attempt - 1]
            self._later(webhook, max(seconds, LOST_SECONDS) if webhook.lost and webhook.attempt == 1 else seconds)
        elif accepted and webhook.attempt == 1 and webhook.kind in self._copied and self._copies(webhook):
            await self._tell(replace(webhook, attempt=0, copy=True, settled=False))
            return
        if webhook.kind == "state" and (webhook.attempt == 1 or webhook.copy) and webhook.subject not in self._idle:
            self._idle.append(webhook.subject)

    def _copies(self, webhook: Webhook) -> bool:
        return not webhook.copy and self._random.random() < self._share

    def _later(self, webhook: Webhook, seconds: float) -> None:
        heapq.heappush(self._due, (monotonic() + seconds, next(self._numbers), webhook))

    async def _ask(self, webhook: Webhook) -> tuple[int, str]:
        """Send a request; return status and body of its answer: 0 where none came, -1 where it is no HTTP, and why."""
        address = self._random.choice(self._addresses)
        webhook.port = address[1]
        connection = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                idle = self._pool.setdefault(address, [])
                connection = idle.pop() if idle else await asyncio.open_connection(*address)
                reader, writer = connection
                first = webhook.attempt == 1 and not webhook.copy
                leaves = first and (webhook.lost or self._random.random() < self._options.leaving)
                if leaves:  # then the request and the end of the connection are one packet: the answer is never first
                    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                head = f"GET {webhook.target} HTTP/1.1\r\nHost: bridge\r\nX-Aurora-Webhook-Token: {TOKEN}\r\n\r\n"
                writer.write(head.encode())
                if leaves:
                    writer.close()
                    return 0, LEFT
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(answer.partition("content-length:")[2].split("\r\n", 1)[0])
                body = (await reader.readexactly(length)).decode()
                status = int(answer.split(" ", 2)[1])
                if "connection: close" in answer:
                    writer.close()
                else:
                    idle.append(connection)
                return status, body
        except (*CUT_OFF, ValueError, IndexError, asyncio.LimitOverrunError) as error:
            if connection is not None:
                connection[1].close()
            return 0 if isinstance(error, CUT_OFF) else -1, repr(error)

    def _note(self, **line: object) -> None:
        self._journal.write(json.dumps(line | {"at": monotonic(), "wall": time()}) + "\n")


def digest_of(data: dict[str, str]) -> str:
    """Return the digest of an event's attributes."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    """Run as the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal", help="file that gets a line before and after each request")
    parser.add_argument("rate", type=float, help="webhooks a second")
    parser.add_argument("retries", help="seconds from each attempt to the next, with commas between")
    parser.add_argument("urls", nargs="+", help="of the daemons; each request goes to one of them")
    parser.add_argument("--copies", type=float, default=0.1, help="share of requests that tell again what was accepted")
    parser.add_argument("--copied", default=",".join(COPIED), help="kinds of events that these tell")
    parser.add_argument("--turns", type=int, default=0, help="subjects whose states come back")
    parser.add_argument("--turn-seconds", type=float, default=0.3, help="between two states of such a subject")
    parser.add_argument("--lost", type=float, default=0.1, help="share of the answers to turns that are lost")
    parser.add_argument(
        "--stale", type=float, default=0.0, help="share of refused turns that a copy of the older follows"
    )
    parser.add_argument(
        "--leaving", type=float, default=0.0, help="share of first attempts whose answer is not awaited"
    )
    options = parser.parse_args()
    with open(options.journal, "a", buffering=1) as journal:  # noqa: PTH123 - a line is with the system before the request
        asyncio.run(Aurora(journal, options).run())


if __name__ == "__main__":
    main()
