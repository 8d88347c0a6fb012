"""Mutants: daemons with one careless step. The ledger must find each of them out, or it would miss ours.

The switches exist here only. Each replaces one step of the daemon's by what a careless one would do. Those of the index
judge by a memory of their own, at the door of the bridge: they are wrong in the same way, whatever the index does.
Those of the sender are in `sender_mutants`.
"""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from aurora_bridge import daemon
from aurora_bridge.bridge import Answer, Bridge
from aurora_bridge.dedup import index
from aurora_bridge.dedup.deduplicator import Decision, Deduplicator
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action, Interval
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.produce_protocol import Produce, ProduceAnswer
from aurora_bridge.outbox import spool_file
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Refusal
from aurora_bridge.settings import Settings
from aurora_bridge.state import worker
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event
from tests.faults.sender_mutants import SENDER_MUTANTS

_STARTED: set[object] = set()
_UNDURABLE_SECONDS: Final = 1.0
"""How long an event of `early` stays in memory alone: whenever that daemon is killed under load, it loses some."""
OK: Final = 200


def acks_0() -> None:
    """Take a request as acknowledged once it was written to the socket."""
    produce = Client.produce

    async def careless(client: Client, node: int, request: Produce) -> ProduceAnswer:
        task = asyncio.ensure_future(produce(client, node, request))
        _STARTED.add(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0)
        assert isinstance(request, Remembering)
        return ProduceAnswer(request.places)  # what Kafka would say

    class Remembering(Produce):
        def __init__(self, batches: dict[str, list[tuple[int, bytes]]], timeout_ms: int) -> None:
            super().__init__(batches, timeout_ms)
            self.places = [(topic, place, 0, -1) for topic, parts in batches.items() for place, _ in parts]

    Client.produce = careless  # type: ignore[assignment, method-assign]
    from aurora_bridge.kafka import produce_requests  # noqa: PLC0415 - it has taken its own name of the class

    produce_requests.Produce = Remembering  # type: ignore[attr-defined]


def no_spool() -> None:
    """Say "spooled" and keep nothing."""

    def forget(
        _spool: Spool, records: Sequence[OutboxRecord], done: Callable[..., None], *, quarantined: str | None = None
    ) -> None:
        done(records, None, quarantined)

    Spool.append = forget  # type: ignore[assignment, method-assign]


def early() -> None:
    """Answer before anything is durable."""
    publish = Publisher.publish

    async def soon(publisher: Publisher, record: OutboxRecord) -> Outcome:
        async def rest() -> None:
            await asyncio.sleep(_UNDURABLE_SECONDS)
            try:
                await publish(publisher, record)
            except Refusal:
                return

        task = asyncio.ensure_future(rest())
        _STARTED.add(task)
        task.add_done_callback(_STARTED.discard)
        return Outcome.PUBLISHED

    Publisher.publish = soon  # type: ignore[assignment, method-assign]


def no_dedup() -> None:
    """Take every delivery for a new event."""

    def new(dedup: Deduplicator, event: Event, now_ms: int, _answer: index.Answer | None) -> Decision:
        return dedup._publish(Action.NEW, event, now_ms, now_ms, Interval.NONE, repeat=False)

    Deduplicator._decide = new  # type: ignore[assignment, method-assign]


def seen_early() -> None:
    """Take an event for seen although it was refused, as if the mark had been set before it was durable."""

    def seen(dedup: Deduplicator, entry: Entry, _refusal: Refusal) -> None:
        dedup.stored(entry)

    Deduplicator.refused = seen  # type: ignore[assignment, method-assign]


def fsync_ignored() -> None:
    """Take an I/O error of the spool for a success, and go on."""
    stored = Spool._stored

    def blind(spool: Spool, appended: list[Any], seqs: list[int], _error: Exception | None) -> None:
        stored(spool, appended, seqs, None)

    worker._FINAL = frozenset()
    Spool._stored = blind  # type: ignore[assignment, method-assign]


def commit_unsynced() -> None:
    """Have the spool's commits written and not fsynced, as SQLite does with its usual setting of a write-ahead log."""
    spool_file.FORMAT = replace(spool_file.FORMAT, synchronous="NORMAL")


TROUBLE: Final = "FAULTS_TROUBLE"
"""Names a file that is there while the index of a daemon has trouble, in the scenarios in which it has."""


def forgets_refused() -> None:
    """Take a state for a duplicate that equals the last one that was stored: what was refused since is forgotten."""
    latest: dict[bytes, tuple[bytes, Answer]] = {}

    async def forgetful(bridge: Bridge, delivery: Delivery) -> Answer:
        subject = _subject_of(delivery)
        target, stored = latest.get(subject, (b"", None))
        if subject and target == delivery.target and stored is not None:
            return replace(stored, outcome=Outcome.DUPLICATE, entry=None)
        answer = await accept(bridge, delivery)
        if answer.status == OK:
            latest[subject] = (delivery.target, answer)
        return answer

    accept = Bridge.accept
    Bridge.accept = forgetful  # type: ignore[assignment, method-assign]


def stale_in_trouble() -> None:
    """While the index has trouble, judge by what was known before it."""
    latest: dict[bytes, tuple[bytes, Answer]] = {}
    has_trouble = Path(os.environ.get(TROUBLE, "nowhere")).exists

    async def stale(bridge: Bridge, delivery: Delivery) -> Answer:
        subject = _subject_of(delivery)
        target, stored = latest.get(subject, (b"", None))
        trouble = has_trouble()
        if trouble and subject and target == delivery.target and stored is not None:
            return replace(stored, outcome=Outcome.DUPLICATE, entry=None)
        answer = await accept(bridge, delivery)
        if answer.status == OK and not trouble:
            latest[subject] = (delivery.target, answer)
        return answer

    accept = Bridge.accept
    Bridge.accept = stale  # type: ignore[assignment, method-assign]


def _subject_of(delivery: Delivery) -> bytes:
    """Return what a delivery is about, if it tells a state."""
    found = re.search(rb"[?&]agreement_id=([^&]+)", delivery.target)
    return found[1] if found else b""


def needs_its_index() -> None:
    """Do not start with an index that is damaged."""
    run = daemon.run

    async def careful(settings: Settings, on_ready: Callable[[str, str], None]) -> str:
        path = settings.state_dir / "index.db"
        if path.exists():
            with closing(sqlite3.connect(path)) as index:
                for verdict, *_ in index.execute("PRAGMA quick_check(1)"):
                    if verdict != "ok":
                        raise sqlite3.DatabaseError(verdict)
        return await run(settings, on_ready)

    daemon.run = careful


MUTANTS = SENDER_MUTANTS | {
    "acks-0": acks_0,
    "no-spool": no_spool,
    "early": early,
    "no-dedup": no_dedup,
    "seen-early": seen_early,
    "fsync-ignored": fsync_ignored,
    "commit-unsynced": commit_unsynced,
    "forgets-refused": forgets_refused,
    "stale-in-trouble": stale_in_trouble,
    "needs-its-index": needs_its_index,
}
