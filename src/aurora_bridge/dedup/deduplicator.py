"""Same event or new one: the front that the bridge calls.

A delivery *claims* its event before that is sent. Judged in order of receipt: by what memory holds, else by what the
file holds, which is asked only where the membership filter says "maybe". So a new event touches no disk, no thread and
no timer before it is sent; what becomes of it is written behind.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import Happening, State
from aurora_bridge.dedup.log_reader import LogReader, Spool
from aurora_bridge.dedup.membership import Membership
from aurora_bridge.dedup.memory import Entry, Latest, Memory
from aurora_bridge.dedup.recurrence import RETRIES, Action, Interval, judge, new_id_ms
from aurora_bridge.dedup.write_behind import WriteBehind
from aurora_bridge.metrics import Metrics
from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event

# In Python 3.11 each look-up of a member of an enumeration is a call.
_NEW, _NONE, _PUBLISHED = Action.NEW, Interval.NONE, Happening.PUBLISHED
_IN_FLIGHT, _SEEN, _RETRY_EXPECTED, _RETRY_PENDING = State
_STATE = Recurrence.STATE
_MOST_ATTEMPTS = 99


class Decision(NamedTuple):
    """What to do with a delivery, and the event it made or refers to."""

    action: Action
    entry: Entry
    interval: Interval
    """Which attempt of Aurora's schedule the delivery fits."""
    result: "asyncio.Future[Refusal | None] | None" = None
    """For a delivery that joins another: what that one is told, None for a 2xx."""


class _Found(NamedTuple):
    """What the file says of a delivery's fingerprint and family."""

    row: index.Row | None
    latest: Latest | None


_UNKNOWN = _Found(None, None)


class _Waiting:
    """A delivery that waits: for the file, for a reading of the log, or for those before it."""

    __slots__ = ("asked", "decided", "event", "found", "now_ms", "since")

    def __init__(self, event: Event, now_ms: int, decided: "asyncio.Future[Decision]") -> None:
        self.event = event
        self.now_ms = now_ms
        self.decided = decided
        self.found: _Found | None = None
        self.asked: float = inf
        """Number of the job that asks the file."""
        self.since = monotonic()


class Deduplicator:
    """Tells new events, repeats and duplicates apart. All methods belong to the event loop."""

    def __init__(  # noqa: PLR0913 - its parts, and what it may rely on
        self,
        directory: Path,
        settings: IndexSettings,
        patience: float,
        metrics: Metrics,
        *,
        instance: str,
        spool: Spool | None,
        kafka: bool,
        has_backlog: Callable[[str], bool] = lambda _event: False,
    ) -> None:
        """Keep the index of a state directory; nothing waits for it longer than `patience` seconds.

        `kafka` says that a follower reads the topics (`log`); `has_backlog` tells whether events of a name wait in the
        spool.
        """
        self._resend = settings.resend_in_progress
        self._patience = patience
        self._metrics = metrics
        self._has_backlog = has_backlog
        self._memory = Memory()
        self._file = IndexFile(directory, settings, patience, metrics, self._opened)
        self._members = Membership(self._file)
        self._write_behind = WriteBehind(
            self._memory, self._file, self._members, self._positions, self._oldest_question, self._give_up
        )
        self.log = LogReader(
            self._memory,
            self._file,
            self._members,
            spool,
            instance=instance,
            kafka=kafka,
            patience=patience,
            moved=self._write_behind.schedule,
            released=self._advance,
        )
        self._queue: deque[_Waiting] = deque()
        self._asking = False
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time

    # Lifetime.

    def start(self) -> None:
        """Open the file, on its thread."""
        self._file.start()

    async def run(self) -> None:
        """Read the log and keep the file within its bounds, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.log.run())
            group.create_task(self._file.maintain())

    async def stop(self, patience: float) -> bool:
        """Write what is left and close; False if that took longer than `patience` seconds."""
        self._write_behind.flush()
        return await self._file.stop(patience)

    def _opened(self, found: index.Found) -> None:
        self._members.build(found.bytes)
        self._write_behind.opened(found.positions)
        self.log.opened(found)

    def _positions(self) -> dict[index.Place, int]:
        return self.log.positions()

    def _give_up(self) -> None:
        """Forget what a file that does not answer cannot take, before it fills the memory; the log has it."""
        self._memory.give_up()
        self._file.give_up()

    def complete(self, now_ms: int) -> bool:
        """Tell whether nothing of the day of `now_ms`, in UTC, can be unknown here."""
        return self.log.complete(now_ms)

    # The way of a delivery.

    async def claim(self, event: Event, received_us: int) -> Decision:
        """Return what to do with a delivery, whose event is claimed then."""
        now_ms = received_us // 1000
        if not self._queue and not self.log.held:
            decision = self._decide(event, now_ms, None)
            if decision is not None:
                return decision
        return await self._wait(event, now_ms)

    def _decide(self, event: Event, now_ms: int, found: _Found | None) -> Decision | None:
        """Return what to do with a delivery, None if the file has to be asked first."""
        fingerprint, family_key, memory = event.fingerprint, event.family_key, self._memory
        known: Entry | index.Row | None = memory.entries.get(fingerprint)
        if known is None and found is None and fingerprint not in self._members:
            return self._publish_new(event, now_ms)
        latest = memory.latest.get(family_key) if family_key is not None else None
        if known is None or (latest is None and family_key is not None):
            if found is None:
                if self._file.usable:
                    return None
                self._metrics.unjudged[()] += 1
                found = _UNKNOWN
            known, latest = known or found.row, latest or found.latest
        if known is None:
            return self._publish_new(event, now_ms)
        action, interval = judge(
            event.recurrence,
            known,
            now_ms,
            event.repeat_window_us // 1000,
            is_latest=latest is not None and latest.fingerprint == fingerprint,
            complete=self.log.complete(now_ms),
            resend=self._resend,
        )
        if action is Action.REPEAT:
            return self._repeat(event, known, now_ms, interval)
        entry = known if isinstance(known, Entry) else Entry(fingerprint, family_key, *known[1:])
        entry.refcount += 1
        memory.entries[fingerprint] = entry
        if action is Action.JOIN:
            result: asyncio.Future[Refusal | None] = self._loop.create_future()
            entry.waiters = [*(entry.waiters or ()), result]
            return Decision(action, entry, interval, result)
        if action is Action.RETRY:
            self._note_attempt(entry, now_ms)
            memory.apply(entry, _PUBLISHED)
        elif entry.state is _RETRY_EXPECTED and interval in RETRIES:
            self._note_attempt(entry, now_ms)
            memory.apply(entry, Happening.RETRIED)
            self._write_behind.schedule()
        return Decision(action, entry, interval)

    def _publish_new(self, event: Event, now_ms: int) -> Decision:
        """Claim the first event of a fingerprint, as far as is known."""
        recurrence, complete = event.recurrence, True
        if recurrence is _STATE:
            behind = self.log.others and self._has_backlog(event.name)
            complete = not behind and self.log.complete(now_ms)
        id_ms = new_id_ms(recurrence, now_ms, complete=complete)
        return self._enter(_NEW, event, now_ms, id_ms, _NONE, repeat=False)

    def _repeat(self, event: Event, known: Entry | index.Row, now_ms: int, interval: Interval) -> Decision:
        """Claim another event of a fingerprint. The one before counts for `repeat` if it was accepted."""
        accepted = known.state is _SEEN or known.state is _RETRY_EXPECTED or known.repeat
        return self._enter(Action.REPEAT, event, now_ms, max(now_ms, known.id_ms + 1), interval, repeat=accepted)

    def _enter(  # noqa: PLR0913 - of one event
        self, action: Action, event: Event, now_ms: int, id_ms: int, interval: Interval, *, repeat: bool
    ) -> Decision:
        entry = Entry(event.fingerprint, event.family_key, _IN_FLIGHT, now_ms, id_ms, now_ms, 1, repeat)
        entry.refcount = 1
        self._memory.enter(entry)
        return Decision(action, entry, interval)

    def _note_attempt(self, entry: Entry, now_ms: int) -> None:
        entry.attempt_ms, entry.attempt = now_ms, min(entry.attempt + 1, _MOST_ATTEMPTS)

    # Those who wait.

    async def _wait(self, event: Event, now_ms: int) -> Decision:
        decided: asyncio.Future[Decision] = self._loop.create_future()
        self._queue.append(_Waiting(event, now_ms, decided))
        if self.log.held:
            self.log.wait()
        else:
            self._ask_soon()
        try:
            return await decided
        except asyncio.CancelledError:
            if decided.done() and not decided.cancelled():
                action, entry, *_ = decided.result()
                if action is not Action.DUPLICATE and action is not Action.JOIN:
                    self.refused(entry, Refusal(Reason.TOO_LATE))
                self.answered(entry, now_ms * 1000, in_time=True)
            raise

    def _ask_soon(self) -> None:
        """Ask the file for all who have come in this turn of the loop."""
        if not self._asking:
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        asked = [waiting for waiting in self._queue if waiting.asked == inf]
        fingerprints = [waiting.event.fingerprint for waiting in asked]
        families = [key for waiting in asked if (key := waiting.event.family_key) is not None]
        if not asked or not self._file.usable:
            self._asking = False
            self._advance()
            return
        left = asked[0].since + self._patience - monotonic()  # less, if the log was waited for before
        timer = self._loop.call_later(max(left, self._patience / 2), self._give_up_asking)

        def answered(result: index.Answer | None, _error: Exception | None) -> None:
            timer.cancel()
            self._asking = False
            if result is not None:
                rows, latest = result
                for waiting in asked:
                    event = waiting.event
                    waiting.found = _Found(rows.get(event.fingerprint), latest.get(event.family_key or ""))
            self._advance()

        number = self._file.post(lambda db: index.find(db, fingerprints, families), answered)
        for waiting in asked:
            waiting.asked = number

    def _give_up_asking(self) -> None:
        self._file.note_late()
        self._advance()

    def _oldest_question(self) -> float:
        """Return the number of the first job whose answer somebody waits for."""
        return self._queue[0].asked if self._queue else inf

    def _advance(self) -> None:
        """Judge who waits, in order, as far as the file has answered or need not be asked."""
        if self.log.held:
            return
        queue = self._queue
        while queue:
            waiting = queue[0]
            if not waiting.decided.done():
                decision = self._decide(waiting.event, waiting.now_ms, waiting.found)
                if decision is None:
                    break
                waiting.decided.set_result(decision)
            queue.popleft()
        if queue:
            self._ask_soon()
        else:
            self._write_behind.forget()

    # What becomes of an event.

    def stored(self, entry: Entry) -> None:
        """Note that an event is durable."""
        self._end(entry, Happening.STORED, None)

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """Note that an event's delivery is refused."""
        self._end(entry, Happening.REFUSED, refusal)

    async def note_durably(self, entry: Entry) -> None:
        """Return when the file has an event that was refused, or does not answer in time."""
        await self._write_behind.through(entry, self._patience)

    def stored_late(self, entry: Entry) -> None:
        """Note that an event is durable whose delivery was refused already."""
        self._memory.stored_late(entry)
        self._write_behind.schedule()

    def _end(self, entry: Entry, happening: Happening, refusal: Refusal | None) -> None:
        self._memory.apply(entry, happening)
        self._write_behind.schedule()
        if entry.waiters is not None:
            waiters, entry.waiters = entry.waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(refusal)

    def answered(self, entry: Entry, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery was answered; not `in_time`: its 2xx may not have arrived, and a retry is expected."""
        entry.refcount -= 1
        if not in_time and entry.state is _SEEN:
            entry.attempt_ms = attempt_us // 1000
            self._memory.apply(entry, Happening.UNHEARD)
            self._metrics.owed_retries[()] += 1
        elif entry.changed or entry.writes or entry.refcount:
            return
        else:
            self._memory.release(entry, self._file.posted + 1)
        self._write_behind.schedule()
