"""Judges deliveries: asks the index about a burst at a time, and keeps it up to date.

`webhook.claims` decides, `index` remembers, this module drives both: one look-up for all deliveries of a turn of the
loop, verdicts in the order of receipt. A claim that is no ordinary new one is written before its event may be sent, and
those behind it wait, so that order holds.

An index that is late or fails blocks nothing: its deliveries pass unjudged, with ids of a millisecond, and are counted.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import monotonic, time_ns
from typing import NamedTuple

from aurora_bridge.metrics import Metrics
from aurora_bridge.refusal import Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.state import index
from aurora_bridge.state.database import error_code, suspect
from aurora_bridge.state.spool import Spool
from aurora_bridge.state.worker import Worker
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.claims import Claim, Claims, End, Latest, Verdict
from aurora_bridge.webhook.event import Event

log = logging.getLogger(__name__)

_DAY_US = 86_400_000_000
_CARE_SECONDS = 1.0
_MARK_TICKS = 60
_SETTLE_SECONDS = 0.05
_NEARLY_FULL = 0.95


class _Asked(NamedTuple):
    claim: Claim
    recurrence: Recurrence
    window_us: int
    can_know: bool
    answer: "asyncio.Future[Verdict]"


class _Burst:
    """Deliveries that are looked up together. Released, in order, when all it has to write is written."""

    __slots__ = ("asked", "timer", "verdicts", "written")

    def __init__(self, asked: list[_Asked]) -> None:
        self.asked = asked
        self.verdicts: list[Verdict] = []
        self.written = False
        self.timer: asyncio.TimerHandle | None = None


class Deduplicator:
    """Tells new events, repeats and duplicates apart. All methods belong to the event loop."""

    def __init__(self, directory: Path, settings: IndexSettings, patience: float, metrics: Metrics) -> None:
        """Open the index of a state directory; a look-up may take `patience` seconds. Raises `StateError`."""
        self._settings = settings
        self._patience = patience
        self._metrics = metrics
        self._path = directory / index.FILE
        connection, self._state = index.open_index(directory, settings.max_bytes, time_us())
        self._forgotten_us = self._state.forgotten_us
        self._started = monotonic() - self._state.ran_us / 1e6
        self._claims = Claims(self._state.last_seq)
        self._asked: list[_Asked] = []
        self._bursts: deque[_Burst] = deque()
        self._late: set[_Burst] = set()
        self._settled = 0
        self._settling: asyncio.TimerHandle | None = None
        self._failed = False
        self._bytes = 0
        self._worker = Worker("index", connection)
        metrics.index_bytes.source = lambda: self._bytes
        metrics.index_failed.source = lambda: int(self._failed)

    def start(self) -> None:
        """Start the thread, on the running loop."""
        self._worker.start()

    async def stop(self, patience: float) -> bool:
        """Write what is left and close; False if that took longer than `patience` seconds."""
        if self._settling is not None:
            self._settling.cancel()
        self._write()
        last_seq, settled, ran_us = self._claims.last_seq, self._claims.settled, self._ran_us()
        self._worker.post(lambda db: index.close(db, last_seq, settled, ran_us), self._noted)
        return await self._worker.stop(patience)

    async def recover(self, spool: Spool) -> None:
        """Learn from the spool which claims of an ended process are durable after all: their answers are owed."""
        doubts = self._state.doubts
        if doubts:
            fingerprints = await spool.newest_fingerprints(sum(high - low for low, high in doubts))
            await self._worker.call(lambda db: index.owe(db, fingerprints, doubts))

    # The way of a delivery.

    async def claim(self, event: Event, received_us: int, window_us: int) -> Verdict:
        """Return the verdict over a delivery. Its claim is in the index before this returns."""
        usable = not self._failed and not self._late
        can_know = usable and self._forgotten_us < received_us - received_us % _DAY_US
        claim = self._claims.propose(event, received_us, can_know=can_know)
        loop = asyncio.get_running_loop()
        asked = _Asked(claim, event.recurrence, window_us, can_know, loop.create_future())
        if not usable:
            self._metrics.unjudged[()] += 1
            return self._verdict(asked, None, None)
        if not self._asked:
            loop.call_soon(self._ask)
        self._asked.append(asked)
        return await asked.answer

    def _ask(self) -> None:
        burst = _Burst(self._asked)
        self._asked = []
        self._bursts.append(burst)
        burst.timer = asyncio.get_running_loop().call_later(self._patience, self._give_up, burst)
        rows, states = index.encode_claims([asked.claim for asked in burst.asked])
        last_seq, self._settled = self._claims.last_seq, self._claims.settled
        settled = self._settled
        self._worker.post(
            lambda db: index.claim(db, rows, states, last_seq, settled), lambda *answer: self._judge(burst, *answer)
        )

    def _judge(self, burst: _Burst, answer: index.Answer, error: Exception | None) -> None:
        """Judge a burst by what the index found."""
        self._late.discard(burst)
        if burst.verdicts:
            return  # given up meanwhile
        if error is not None:
            self._failure(error)
            self._judge_unseen(burst)
            return
        known = index.found(answer, self._state)
        for asked in burst.asked:
            row = known.rows.get(asked.claim.fingerprint)
            base = known.latest.get(asked.claim.family_key or "")
            burst.verdicts.append(self._verdict(asked, row, base))
        rewritten = [verdict.claim for verdict in burst.verdicts if verdict.rewritten]
        if rewritten:
            self._write(rewritten, burst)
        else:
            burst.written = True
            self._release()

    def _verdict(self, asked: _Asked, row: Claim | None, base: Latest | None) -> Verdict:
        return self._claims.judge(
            asked.claim,
            asked.recurrence,
            row,
            base,
            window_us=asked.window_us,
            can_know=asked.can_know,
            resend=self._settings.resend_in_progress,
        )

    def _give_up(self, burst: _Burst) -> None:
        """Let a burst go whose look-up, or whose write, takes too long."""
        log.warning("the index is late; events pass unjudged until it answers")
        self._late.add(burst)
        if burst.verdicts:
            burst.written = True
            self._release()
        else:
            self._judge_unseen(burst)

    def _judge_unseen(self, burst: _Burst) -> None:
        self._metrics.unjudged[()] += len(burst.asked)
        burst.verdicts = [self._verdict(asked._replace(can_know=False), None, None) for asked in burst.asked]
        burst.written = True
        self._write([verdict.claim for verdict in burst.verdicts if verdict.rewritten])
        self._release()

    def _release(self) -> None:
        """Answer the bursts at the head that are judged and written: order is kept."""
        while self._bursts and self._bursts[0].written:
            burst = self._bursts.popleft()
            if burst.timer is not None:
                burst.timer.cancel()
            for asked, verdict in zip(burst.asked, burst.verdicts, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(verdict)

    async def join(self, claim: Claim) -> None:
        """Wait for the end of a claim in flight. Raises the `Refusal` that its own delivery got."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        claim.waiters.append(waiter)
        await waiter

    def end(self, claim: Claim, end: End, refusal: Refusal | None = None) -> None:
        """Note what became of a claim, and tell whoever waits for it."""
        self._claims.end(claim, end)
        waiters, claim.waiters = claim.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(refusal) if refusal else waiter.set_result(None)
        self._settle_soon()

    def answered(self, claim: Claim, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery was answered; not `in_time`: a retry of it is owed."""
        self._claims.answered(claim, attempt_us, in_time=in_time)
        self._settle_soon()

    # Writes.

    def _settle_soon(self) -> None:
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._settle)

    def _settle(self) -> None:
        self._settling = None
        claims = self._claims
        if claims.updates or claims.restored or claims.settled != self._settled:
            self._write()

    def _write(self, rewritten: Sequence[Claim] = (), burst: _Burst | None = None) -> None:
        claims = self._claims
        updates, claims.updates = claims.updates, {}
        restored, claims.restored = claims.restored, {}
        self._settled = claims.settled
        written = [*rewritten, *updates.values()]
        for claim in rewritten:
            claim.writes += 1
        if self._failed:
            self._written(written, burst, None)
            return
        writes = index.encode_writes(
            rewritten, updates.values(), restored, last_seq=claims.last_seq, settled=self._settled
        )
        self._worker.post(lambda db: index.write(db, writes), lambda _, error: self._written(written, burst, error))

    def _written(self, claims: Sequence[Claim], burst: _Burst | None, error: Exception | None) -> None:
        if error is not None:
            self._failure(error)
        self._claims.confirmed(claims)
        if burst is not None:
            self._late.discard(burst)
            burst.written = True
            self._release()

    def _noted(self, _result: object, error: Exception | None) -> None:
        if error is not None:
            self._failure(error)

    def _failure(self, error: Exception) -> None:
        if error_code(error) == sqlite3.SQLITE_FULL:
            log.warning("the index is full; its oldest rows expire early")
            return
        suspect(self._path, error)
        if not self._failed:
            log.error("the index failed: %s; events pass unjudged until the daemon is started again", error)
        self._failed = True

    # Age.

    def _ran_us(self) -> int:
        """Return how long daemons have run on this file, in microseconds."""
        return int((monotonic() - self._started) * 1e6)

    async def care(self) -> None:
        """Let old rows expire, a slice a second, and the oldest early when the file is nearly full; until cancelled."""
        window_us = self._settings.window_days * _DAY_US
        for tick in count():
            if self._failed:
                return
            try:
                if tick % _MARK_TICKS == 0:
                    await self._worker.call(lambda db: index.mark(db, self._ran_us(), time_us()))
                self._bytes = await self._worker.call(index.used_bytes)
                if self._bytes > self._settings.max_bytes * _NEARLY_FULL:
                    await self._make_room()
                seq = await self._worker.call(lambda db: index.expired_seq(db, self._ran_us() - window_us))
                if seq:
                    await self._expire(tick % index.SLICES, seq)
            except sqlite3.Error as error:
                self._failure(error)
            await asyncio.sleep(_CARE_SECONDS)

    async def _expire(self, number: int, seq: int) -> None:
        await self._worker.call(lambda db: index.expire(db, number, seq))
        if number == index.SLICES - 1:
            await self._worker.call(lambda db: index.forget_marks(db, seq))

    async def _make_room(self) -> None:
        """Forget the oldest tenth. Until the day of its youngest is over, this replica cannot know."""
        oldest = await self._worker.call(index.oldest_tenth)
        if oldest is None:
            await self._worker.call(lambda db: index.mark(db, self._ran_us(), time_us()))
            return
        seq, wall_us = oldest
        self._forgotten_us = max(self._forgotten_us, wall_us)
        await self._worker.call(lambda db: index.forget(db, wall_us))
        for number in range(index.SLICES):
            await self._expire(number, seq)


def time_us() -> int:
    """Return the wall clock in microseconds since the epoch."""
    return time_ns() // 1000
