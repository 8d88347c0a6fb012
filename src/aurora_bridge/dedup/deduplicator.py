"""Judges deliveries: asks the index about a burst at a time, and keeps it up to date.

`dedup.claims` decides, `index` remembers in the file that `index_file` keeps, this module drives them: one look-up
for all deliveries of a turn of the loop, verdicts in the order of receipt. A claim that is no ordinary new one is
written before its event may be sent, and those behind it wait, so that order holds.

An index that is late or fails blocks nothing: its deliveries pass unjudged, with ids of a millisecond, and are counted.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from math import inf
from operator import attrgetter
from pathlib import Path
from time import clock_gettime_ns, monotonic
from typing import Any, Protocol

from aurora_bridge.dedup import index
from aurora_bridge.dedup.claims import Claim, Claims, End, Verdict
from aurora_bridge.dedup.following import Followed, followed
from aurora_bridge.dedup.index_file import IndexFile, time_us
from aurora_bridge.dedup.recurrence import Action, Standing, event_id
from aurora_bridge.metrics import Metrics
from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.state.database import error_code
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event

log = logging.getLogger(__name__)

GAP_SECONDS = 0.008
"""Between two look-ups under load: each is a commit, and more share one. At once when idle."""
# In Python 3.11 each look-up of a member of an enumeration is a call.
_PUBLISH, _LATE = Action.PUBLISH, End.LATE
_DAY_US = 86_400_000_000
_JUMP_US = 10_000_000
"""A wall clock that is set by more has jumped. Less does not matter to windows and slots."""
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a clock (Linux)."""
_LEARN_SECONDS = 0.05
_LEARN_AT_ONCE = 64
_RECENT = 10_000
_AT_ONCE = 8
"""Slices, of 256, that are learned together: a round takes 1.6 s, in which neighbours come together on a page."""
_MOST_FINISHED = 50_000
"""Claims kept for an index that does not answer: about 50 MB."""
_SPARE = 200_000
"""Numbers kept free behind records that are followed, for what is under way: two for each claim, with room."""
_RELEARNED = 1000
"""Events of the spool that are read together."""

Positions = Mapping[tuple[str, int], int]


_Asked = tuple[Claim, "asyncio.Future[Verdict]"]


class Spool(Protocol):
    """What is asked of the spool."""

    async def newest_keys(self, limit: int) -> list[str]:
        """Return the ids of the last events that came here, at most `limit`."""

    async def read(self, seq: int, limit: int) -> list[Any]:
        """Return up to `limit` records with a row after `seq`."""


class _Burst:
    """Deliveries that are looked up together. Released, in order, when all it has to write is written."""

    __slots__ = ("asked", "number", "timer", "verdicts", "written")

    def __init__(self, number: int, asked: list[_Asked]) -> None:
        self.number = number
        self.asked = asked
        self.verdicts: list[Verdict] = []
        self.written = False
        self.timer: asyncio.TimerHandle | None = None


class Deduplicator:
    """Tells new events, repeats and duplicates apart. All methods belong to the event loop."""

    def __init__(  # noqa: PLR0913 - its parts, and what it may rely on
        self,
        directory: Path,
        settings: IndexSettings,
        patience: float,
        metrics: Metrics,
        *,
        first_knows: bool = True,
        follows: bool = False,
    ) -> None:
        """Open the index of a state directory; a look-up may take `patience` seconds. Raises `StateError`.

        `first_knows` says that a new index knows all there is: nothing was published before. `follows` says that a
        follower will tell what others published, and what this instance forgot: until then nothing can be known.
        """
        self._settings = settings
        self._patience = patience
        self._metrics = metrics
        self._file = IndexFile(directory, settings, metrics, first_knows=first_knows)
        self._state = self._file.state
        self._worker = self._file.worker
        self._claims = Claims(self._state.last_seq)
        self._claims.on_owed = self._count_owed
        self.followed = not follows
        """Whether the index was up to date with Kafka once since the start."""
        self._known_until = -inf if follows else inf
        self._held = follows
        """Whether a catch-up is under way, for which judging waits."""
        self._hold: asyncio.TimerHandle | None = None
        self._spool: Spool | None = None
        self.known_positions: Callable[[], Positions] = dict
        """Gives the offsets up to which the topics are known; the follower sets it."""
        self._checkpoint: tuple[int, Positions] | None = None
        self._written_positions = dict(self._state.positions)
        self._followed_seq = 0
        """The last number that was given to a record in Kafka."""
        self._asked: list[_Asked] = []
        self._asking = False
        self._burst_at = 0.0
        self._bursts: deque[_Burst] = deque()
        self._late: set[_Burst] = set()
        self._ahead_us = time_us() - clock_gettime_ns(_STEADY) // 1000
        self._entries = 0
        self._unlearned: dict[int, int] = {}
        self._learning: asyncio.TimerHandle | None = None
        self._slices = cycle(self._claims.finished)
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time

    def _count_owed(self) -> None:
        self._metrics.owed_retries[()] += 1

    def start(self) -> None:
        """Start the thread, on the running loop."""
        self._worker.start()

    async def stop(self, patience: float) -> bool:
        """Write what is left and close; False if that took longer than `patience` seconds."""
        if self._learning is not None:
            self._learning.cancel()
        last = self._claims.take(self._claims.finished)
        self._learn(last)
        if sum(self._unlearned.values()) == sum(claim.burst > 0 for claim in last):
            self._write_checkpoint(self.known_positions())
        return await self._file.stop(patience)

    async def care(self) -> None:
        """Let old rows expire, until cancelled."""
        await self._file.care(lambda: self._claims.last_seq)

    async def recover(self, spool: Spool) -> None:
        """Learn from the spool which events in doubt are durable after all."""
        self._spool = spool
        in_doubt = self._state.in_doubt
        if in_doubt:
            spooled = set(await spool.newest_keys(len(in_doubt) + _RECENT))
            doubtful = await self._worker.call(lambda db: index.doubtful(db, in_doubt))
            owed = [claim[0] for claim in doubtful if not spooled.isdisjoint(_possible_ids(*claim))]
            await self._worker.call(lambda db: index.owe(db, owed))

    # The way of a delivery.

    async def claim(self, event: Event, received_us: int) -> Verdict:
        """Return the verdict over a delivery, once its claim is in the index."""
        usable = not self._file.failed and not self._late
        if self._held:
            forgotten_us, followed = self._state.forgotten_before_us, True
        else:
            forgotten_us, followed = self._file.forgotten_us, monotonic() < self._known_until
        can_know = usable and followed and forgotten_us < received_us - received_us % _DAY_US
        claim = self._claims.propose(event, received_us, can_know=can_know)
        answer: asyncio.Future[Verdict] = self._loop.create_future()
        if usable:
            if not self._asked and not self._asking:
                self._ask_soon()
            self._asked.append((claim, answer))
        else:
            answer.set_result(self._pass(claim))
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._give_back(answer.result(), received_us)
            raise

    def _give_back(self, verdict: Verdict, received_us: int) -> None:
        """Note that the delivery of a verdict was given up: nobody will send its event, or hear of it."""
        if verdict.action is _PUBLISH:
            self.end(verdict.claim, End.REFUSED, Refusal(Reason.TOO_LATE))
        self.answered(verdict.claim, received_us, in_time=True)

    def _ask_soon(self) -> None:
        """Look up what comes: at once when idle, else together with what comes within a short gap."""
        wait = self._burst_at + GAP_SECONDS - monotonic()
        self._loop.call_later(wait, self._ask) if wait > 0 else self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        """Look up what has come; what comes meanwhile is for the next burst."""
        if not self._asked:
            return
        if self._held:
            self._hold_on()
            return
        if self._asked[0][0].seq < self._followed_seq:
            self._claims.renumber(claim for claim, _ in self._asked)
        self._notice_jump()
        self._asking = True
        self._burst_at = monotonic()
        self._entries = number = self._entries + 1
        burst = _Burst(number, self._asked)
        self._asked = []
        self._bursts.append(burst)
        burst.timer = self._loop.call_later(self._patience, self._give_up, burst)
        rows = index.proposals_of([claim for claim, _ in burst.asked])
        self._worker.post(lambda db: index.claim(db, number, rows), lambda *answer: self._judge(burst, *answer))

    def _notice_jump(self) -> None:
        """Notice that the wall clock was set: windows and slots go on as if it had not been."""
        now_us = time_us()
        ahead_us = now_us - clock_gettime_ns(_STEADY) // 1000
        forward_us, self._ahead_us = ahead_us - self._ahead_us, ahead_us
        if abs(forward_us) < _JUMP_US:
            return
        log.warning("the wall clock was set by %+.0f s", forward_us / 1e6)
        since = (claim.seq - 1 for claim, _ in self._asked if abs(now_us - claim.time_us) < _JUMP_US)
        self._claims.jumped(next(since, self._claims.last_seq), forward_us)

    def _judge(self, burst: _Burst, answer: index.Answer, error: Exception | None) -> None:
        """Judge a burst by what the index found."""
        self._late.discard(burst)
        self._asking = False
        if self._asked:
            self._ask_soon()
        if burst.verdicts:
            return  # given up meanwhile
        if error is not None:
            self._file.failure(error)
            self._judge_unseen(burst)
            self._release()
            return
        rows, states = index.known_claims(answer), index.known_states(answer)
        judge, resend = self._claims.judge, self._settings.resend_in_progress
        burst.verdicts = [
            judge(claim, rows.get(claim.fingerprint), states.get(claim.family_key or ""), resend=resend)
            for claim, _ in burst.asked
        ]
        burst.written = self._rewrite(burst)
        self._release()

    def _pass(self, claim: Claim) -> Verdict:
        """Return the verdict over a delivery that the index is not asked about.

        It stands in no journal; its number keeps the checkpoint behind it all the same.
        """
        verdict = self._unseen(claim)
        if verdict.action is _PUBLISH:
            self._entries = claim.burst = self._entries + 1
            self._unlearned[claim.burst] = 1
        return verdict

    def _unseen(self, claim: Claim) -> Verdict:
        """Return the verdict over a delivery without a look into the index."""
        self._metrics.unjudged[()] += 1
        self._claims.doubt(claim)
        return self._claims.judge(claim, None, None, resend=self._settings.resend_in_progress)

    def _rewrite(self, burst: _Burst) -> bool:
        """Keep account of the burst's claims, and write those ahead anew that are no ordinary new ones.

        Return whether nothing had to be written.
        """
        published, rewritten = 0, []
        for action, claim, _, again in burst.verdicts:
            if action is _PUBLISH:
                claim.burst = burst.number
                published += 1
                if again:
                    rewritten.append(claim)
        if published:
            self._unlearned[burst.number] = published
        if not rewritten or self._file.failed:
            return True
        self._entries = number = self._entries + 1
        rows = index.rows_of(rewritten)
        self._worker.post(lambda db: index.rewrite(db, number, rows), lambda *answer: self._written(burst, *answer))
        return False

    def _written(self, burst: _Burst, _answer: object, error: Exception | None) -> None:
        if error is not None:
            self._file.failure(error)
        self._late.discard(burst)
        burst.written = True
        self._release()

    def _give_up(self, burst: _Burst) -> None:
        """Let a burst go whose look-up, or whose write, takes too long, and with it what waits for its turn."""
        log.warning("the index is late; events pass unjudged until it answers")
        self._late.add(burst)
        if self._asked:
            self._entries += 1
            self._bursts.append(_Burst(self._entries, self._asked))
            self._asked = []
        for waiting in self._bursts:
            if not waiting.verdicts:
                self._judge_unseen(waiting)
            waiting.written = True
        self._release()

    def _judge_unseen(self, burst: _Burst) -> None:
        burst.verdicts = [self._unseen(claim) for claim, _ in burst.asked]
        self._rewrite(burst)
        burst.written = True

    def _release(self) -> None:
        """Answer the bursts at the head that are judged and written: order is kept."""
        while self._bursts and self._bursts[0].written:
            burst = self._bursts.popleft()
            if burst.timer is not None:
                burst.timer.cancel()
            for (claim, answer), verdict in zip(burst.asked, burst.verdicts, strict=True):
                if not answer.done():
                    answer.set_result(verdict)
                else:
                    self._give_back(verdict, claim.attempt_us)

    # What Kafka knows: the follower tells.

    def _hold_on(self) -> None:
        """Judge nothing until the catch-up that is under way has ended, or took too long."""
        if self._hold is None:
            self._hold = self._loop.call_later(self._patience, self._go_on, False)  # noqa: FBT003 - of `_go_on`

    def _go_on(self, caught_up: bool) -> None:  # noqa: FBT001 - a callback
        """Judge what waited for a catch-up."""
        if not self._held:
            return
        self._held = False
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if not caught_up:
            for claim, _ in self._asked:
                self._claims.doubt(claim)
        if self._asked and not self._asking:
            self._ask_soon()

    def follow_began(self) -> None:
        """Note that a catch-up with Kafka is under way: while the index is out of date, judging waits for it."""
        self._held = self._held or self._known_until < monotonic()

    def follow_failed(self) -> None:
        """Note that no catch-up is under way: Kafka does not answer."""
        self._go_on(caught_up=False)

    def follow_succeeded(self, until: float | None) -> None:
        """Note that the index is up to date with Kafka; without another look until monotonic time `until`, or always.

        With what the spool holds, that is all there is: nothing that was lost before this start is unknown any more.
        """
        self._known_until = inf if until is None else until
        if not self.followed:
            self.followed = True
            log.info("the index is up to date with Kafka")
            if self._file.forgotten_us == self._state.forgotten_us:
                self._file.forgotten_us = forgotten_us = self._state.forgotten_before_us
                self._worker.post(lambda db: index.remember(db, forgotten_us), self._file.noted)
        self._go_on(caught_up=True)

    @property
    def positions(self) -> Positions:
        """By topic and partition: the offset up to which Kafka's records were known at the start."""
        return self._state.positions

    @property
    def instances(self) -> Mapping[str, int]:
        """Instances whose records were read before the start, and the time of the latest, in microseconds."""
        return self._state.instances

    async def relearn(self, instance: str) -> bool:
        """Learn what the spool of this `instance` holds, if it may have been forgotten, now or at an earlier start.

        Return whether the index took it all.
        """
        if self._spool is None or not self._state.forgotten_us:
            return True
        seq = 0
        while records := await self._spool.read(seq, _RELEARNED):
            seq = records[-1].seq or seq
            told = (followed(record.key, record.headers) for record in records)
            if not await self.follow([event for event in told if event is not None], instance):
                return False
        return True

    async def follow(self, records: Sequence[Followed], instance: str) -> bool:
        """Learn of events in Kafka; those of `instance` are ours.

        Return whether the index took them: a full one does so only when it has made room.
        """
        claims = self._claims
        first = claims.last_seq + 1
        spare = first + len(records)
        self._followed_seq = claims.last_seq = spare + _SPARE
        numbered = [
            (first + at, record)
            for at, record in enumerate(records)
            if not claims.cover(record, ours=record.instance == instance)
        ]
        if numbered and not self._file.failed:
            try:
                states = await self._worker.call(lambda db: index.follow(db, numbered, claims.last_seq, instance))
                claims.follow(numbered, states, spare)
            except sqlite3.Error as error:
                if error_code(error) == sqlite3.SQLITE_FULL:
                    return False
                self._file.failure(error)
        self._learn_soon()  # what is under way changed, perhaps
        self._metrics.followed_records[()] += len(records)
        return True

    def checkpoint(self) -> None:
        """Note how far Kafka is known, once every claim that was made before now is in the index.

        So what a crash takes from the index is read again.
        """
        if self._checkpoint is None:
            self._checkpoint = self._entries, self.known_positions()
        entries, positions = self._checkpoint
        if self._cut() > entries:
            self._write_checkpoint(positions)
            self._checkpoint = None

    def _write_checkpoint(self, positions: Positions) -> None:
        rows = [(*place, at) for place, at in positions.items() if self._written_positions.get(place) != at]
        if rows and not self._file.failed and not self._file.lost:
            self._written_positions.update(positions)
            self._worker.post(lambda db: index.checkpoint(db, rows), self._file.noted)

    def _cut(self) -> int:
        """Return the first journal entry that still has a claim the index has not learned."""
        return min([*self._unlearned, *(burst.number for burst in self._bursts)], default=self._entries + 1)

    async def join(self, claim: Claim) -> None:
        """Wait for the end of a claim in flight. Raises the `Refusal` that its own delivery got."""
        if claim.standing is Standing.CLAIMED:
            waiter: asyncio.Future[None] = self._loop.create_future()
            claim.waiters = [*(claim.waiters or ()), waiter]
            await waiter
        if claim.refusal is not None:
            raise Refusal(claim.refusal.reason, doubtful=claim.refusal.doubtful)

    def end(self, claim: Claim, end: End, refusal: Refusal | None = None) -> None:
        """Note what became of a claim, and tell whoever waits for it."""
        self._claims.end(claim, end)
        claim.refusal = refusal
        if claim.waiters is not None:
            for waiter in claim.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            claim.waiters = None
        if end is _LATE:
            self._learn_soon()

    def answered(self, claim: Claim, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery was answered; not `in_time`: a retry of it is owed."""
        self._claims.answered(claim, attempt_us, in_time=in_time)
        self._learn_soon()

    # Finished claims: a slice of the fingerprints at a time, so that neighbours share a page and no write is long.

    def _learn_soon(self) -> None:
        if self._learning is None:
            self._learning = self._loop.call_later(_LEARN_SECONDS, self._learn_slice)

    def _learn_slice(self) -> None:
        self._learning = None
        slices = self._claims.finished
        count = sum(map(len, slices.values()))
        if self._late:
            if count > _MOST_FINISHED:
                self._drop_finished()
        elif count > _LEARN_AT_ONCE:
            self._learn(self._claims.take(islice(self._slices, _AT_ONCE)))
        else:
            self._learn(self._claims.take(slices))
        if count:
            self._learn_soon()

    def _drop_finished(self) -> None:
        """Forget what an index that does not answer cannot take, before it fills the memory."""
        self._file.forgotten_us, self._file.lost = time_us(), True
        self._learned(self._claims.take(self._claims.finished), None, None)

    def _learn(self, claims: list[Claim]) -> None:
        """Write claims that were taken."""
        if not claims:
            return
        claims.sort(key=attrgetter("fingerprint"))
        if self._file.failed:
            self._learned(claims, None, None)
            return
        rows, last_seq, cut = index.rows_of(claims), self._claims.last_seq, self._cut()
        self._worker.post(
            lambda db: index.learn(db, rows, last_seq, cut), lambda *answer: self._learned(claims, *answer)
        )

    def _learned(self, claims: list[Claim], _answer: object, error: Exception | None) -> None:
        if error is not None:
            self._file.failure(error)
        for claim in claims:
            if claim.burst:
                left = self._unlearned[claim.burst] - 1
                if left:
                    self._unlearned[claim.burst] = left
                else:
                    del self._unlearned[claim.burst]
                claim.burst = 0
        self._claims.confirmed(claims)


def _possible_ids(fingerprint: str, time_us: int, id_ms: int) -> set[str]:
    """Return the ids that a claim's event can have: the index does not keep its recurrence."""
    return {event_id(fingerprint, recurrence, time_us, id_ms) for recurrence in Recurrence}
