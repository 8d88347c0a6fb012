"""Tells new events, repeats and duplicates apart. This is what the bridge calls.

A delivery *claims* its event before the event is sent. Memory is consulted first, then the file, but only if the
Bloom filter says "maybe". So a new event touches no disk, no thread and no timer before it is sent; its result is
written later. `recurrence` has the rules, `lifecycle` the states of an event.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time

from aurora_bridge.dedup import index
from aurora_bridge.dedup.bloom_filter import BloomFilter
from aurora_bridge.dedup.dead_letter_replays import Replays
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_EXPECTED, RETRY_PENDING, SEEN, Happening
from aurora_bridge.dedup.log_reader import LogReader, Spool
from aurora_bridge.dedup.log_record import has_same_id
from aurora_bridge.dedup.lookups import Lookups
from aurora_bridge.dedup.memory import Entry, Memory
from aurora_bridge.dedup.outstanding_poll import OutstandingPoll
from aurora_bridge.dedup.recurrence import RETRIES, Action, Interval, decide, new_id_ms
from aurora_bridge.dedup.resend import Resend
from aurora_bridge.dedup.write_behind import WriteBehind
from aurora_bridge.metrics import Metrics
from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.tasks import keep_running
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event

log = logging.getLogger(__name__)

# In Python 3.11, each access to an enum member is a call.
_ONCE, _STATE = Recurrence.ONCE, Recurrence.STATE
_NEW, _NO_RETRY, _STORED = Action.NEW, Interval.NONE, Happening.STORED
_UNKNOWN = index.Answer({}, {})


@dataclass(slots=True)
class Decision:
    """What to do with a delivery, and the event that it creates or repeats."""

    action: Action
    entry: Entry
    interval: Interval
    """Which attempt of Aurora's schedule the delivery fits."""
    result: "asyncio.Future[Refusal | None] | None" = None
    """For a delivery that joins another one: that one's refusal, None if it gets a 2xx."""


class Deduplicator:
    """Tells new events, repeats and duplicates apart. Not thread-safe: call it from the event loop only."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        directory: Path,
        settings: IndexSettings,
        patience: float,
        metrics: Metrics,
        *,
        instance: str,
        spool: Spool | None,
        kafka: bool,
        has_backlog: Callable[[str], bool],
    ) -> None:
        """Keep the index of a state directory. No delivery waits for it longer than `patience` seconds.

        `instance` is this replica's name in its records. The index is filled from the `spool` and, with `kafka`, from
        the topics, which a follower passes to `log`. `has_backlog` tells whether events of a name wait in the spool.
        """
        self.resend = Resend(directory)
        self._index_bypassed, self._expected_retries = metrics.index_bypassed, metrics.expected_retries
        self._has_backlog = has_backlog
        self.memory = Memory()
        self.file = IndexFile(directory, settings, patience, metrics, self._opened)
        self._bloom_filter = BloomFilter(self.file)
        self._lookups = Lookups[Decision](self.file, self._decide, self._undo)
        self.log = LogReader(
            self.memory, self.file, self._bloom_filter, self._lookups, spool, instance=instance, kafka=kafka
        )
        self.replays = Replays(self.memory, self._lookups, self.log, instance=instance)
        metrics.index_complete.source = lambda: int(self.log.complete(int(time() * 1000)))
        metrics.resend_in_progress.source = lambda: int(self.resend.lasts(int(time() * 1000)))
        self.outstanding = OutstandingPoll(self.file, metrics)
        self._write_behind = WriteBehind(self.memory, self.file, self._bloom_filter, self.log)
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time

    def start(self) -> None:
        """Open the file, on its thread."""
        self.file.start()

    async def run(self) -> None:
        """Read the log, and keep the file up to date and within its bounds, until cancelled."""
        async with asyncio.TaskGroup() as group:
            parts = (self.log, self._lookups, self._write_behind, self.outstanding, self.resend)
            for work in (*(part.run for part in parts), self.file.maintain):
                group.create_task(keep_running(work.__qualname__, work))

    async def stop(self, patience: float) -> bool:
        """Write what is left, and close. Returns False if that took longer than `patience` seconds."""
        self._write_behind.flush()
        self.outstanding.note_alive()
        return all(await asyncio.gather(self.resend.stop(patience), self.file.stop(patience)))

    async def recreate(self) -> None:
        """Empty the index, and fill it again from the current log. Raises `sqlite3.Error`, `OSError`."""
        self.memory.give_up()
        await self.file.recreate()

    def _opened(self, found: index.Found) -> None:
        self._bloom_filter.build(found.bytes)
        self.memory.change_all()
        self.log.opened(found)

    # Deciding about a delivery.

    def claim(self, event: Event, received_us: int) -> Decision | None:
        """Claim a delivery's event; return what to do with it, or None if it must `wait` for its turn."""
        return None if self._lookups.busy else self._decide(event, received_us // 1000, None)

    async def wait(self, event: Event, received_us: int) -> Decision:
        """Wait until it is known what to do with a delivery; return it."""
        return await self._lookups.wait(event, received_us // 1000)

    def _decide(self, event: Event, now_ms: int, answer: index.Answer | None) -> Decision | None:
        """Return what to do with a delivery, None if the file must be consulted first."""
        fingerprint, family_key, memory = event.fingerprint, event.family_key, self.memory
        known: Entry | index.Row | None = memory.entries.get(fingerprint)
        if known is None and answer is None and fingerprint not in self._bloom_filter:
            return self._publish_new(event, now_ms)
        latest = None if family_key is None else memory.latest.get(family_key)
        if answer is None and (known is None or (latest is None and family_key is not None)):
            if self.file.usable:
                return None
            self._index_bypassed[()] += 1
        answer = answer or _UNKNOWN
        known = known or answer.rows.get(fingerprint)
        if known is None:
            return self._publish_new(event, now_ms)
        latest = latest or answer.latest.get(family_key or "")
        action, interval = decide(
            event.recurrence,
            known,
            now_ms,
            event.repeat_window_us // 1000,
            is_latest=latest is not None and latest.fingerprint == fingerprint and has_same_id(latest, known),
            complete=self.log.complete(now_ms),
            resend=self.resend.lasts(now_ms),
        )
        if action is Action.REPEAT:
            accepted = known.state is SEEN or known.state is RETRY_EXPECTED or known.repeat
            # Strictly later than every earlier id, even if the clock was set back. The file keeps the row until both
            # days, that of its time and that of its id, are over.
            id_ms = 0 if event.recurrence is _ONCE else max(now_ms, known.id_ms + 1, known.time_ms)
            decision = self._publish(action, event, now_ms, id_ms, interval, repeat=accepted)
            decision.entry.listed = known.listed
            return decision
        entry = (
            known if isinstance(known, Entry) else Entry(fingerprint, family_key, *known[1:], event.name, known.listed)
        )
        memory.entries[fingerprint] = entry
        entry.refcount += 1
        self.resend.count(now_ms, known=action is not Action.RETRY)
        if action is Action.JOIN:
            result: asyncio.Future[Refusal | None] = self._loop.create_future()
            entry.waiters = [*(entry.waiters or ()), result]
            return Decision(action, entry, interval, result)
        retried = interval in RETRIES
        if action is Action.RETRY or (retried and entry.state is RETRY_EXPECTED):
            entry.attempt_ms = now_ms if retried else entry.attempt_ms
            entry.attempt, entry.retry_left = entry.attempt + 1, not retried
            memory.apply(entry, Happening.PUBLISHED if action is Action.RETRY else Happening.RETRIED)
        return Decision(action, entry, interval)

    def _publish_new(self, event: Event, now_ms: int) -> Decision:
        recurrence, complete = event.recurrence, True
        if recurrence is _STATE:
            behind = self.log.others and self._has_backlog(event.name)
            complete = not behind and self.log.complete(now_ms)
        id_ms = new_id_ms(recurrence, now_ms, complete=complete)
        return self._publish(_NEW, event, now_ms, id_ms, _NO_RETRY, repeat=False)

    def _publish(  # noqa: PLR0913 - the properties of one event
        self, action: Action, event: Event, now_ms: int, id_ms: int, interval: Interval, *, repeat: bool
    ) -> Decision:
        entry = Entry(event.fingerprint, event.family_key, IN_FLIGHT, now_ms, id_ms, now_ms, 1, repeat, event.name)
        entry.refcount = 1
        self.resend.count(now_ms, known=False)
        self.memory.enter(entry)
        return Decision(action, entry, interval)

    def _undo(self, decision: Decision) -> None:
        """Note that a delivery was cancelled before it got its decision: nobody will send its event."""
        if decision.action in (Action.NEW, Action.REPEAT, Action.RETRY):
            self.refused(decision.entry, Refusal(Reason.TOO_LATE))
        self.answered(decision.entry, decision.entry.attempt_ms * 1000, in_time=False)

    # Results.

    def stored(self, entry: Entry) -> None:
        """Note that an event is durable."""
        self._end(entry, _STORED, None)
        if entry.retry_left:
            self.memory.apply(entry, Happening.UNHEARD)

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """Note that an event's delivery is refused. The file gets this at once, even if nobody waits for that."""
        self._end(entry, Happening.REFUSED, refusal)
        self._write_behind.hasten(entry)

    async def note_durably(self, entry: Entry) -> None:
        """Wait until the file has a refused event, or does not answer in time."""
        await self._write_behind.through(entry)

    def stored_late(self, entry: Entry) -> None:
        """Note that an event became durable after its delivery was refused."""
        if not self.memory.apply_to(entry, Happening.STORED_LATE) and not self.file.failed:
            event = (entry.fingerprint, entry.time_ms, entry.id_ms)
            job = partial(index.change, events=[event], state=RETRY_PENDING, happening=Happening.STORED_LATE)
            self.file.post(job)

    def _end(self, entry: Entry, happening: Happening, refusal: Refusal | None) -> None:
        self.memory.apply(entry, happening)
        if entry.waiters is not None:
            waiters, entry.waiters = entry.waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(refusal)

    def answered(self, entry: Entry, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery was answered. If not `in_time`, its 2xx may be lost, and a retry is expected."""
        entry.refcount -= 1
        if not in_time and entry.state is SEEN:
            entry.attempt_ms = attempt_us // 1000
            self.memory.apply(entry, Happening.UNHEARD)
            self._expected_retries[()] += 1
        if entry.changed:
            if not in_time or entry.attempt > 1:
                self._write_behind.hasten(entry)  # the log does not tell whether a retry is expected
        elif not entry.stays:
            self.memory.release(entry)
