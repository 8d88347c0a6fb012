"""The claims under way: what memory adds to the index, so that deliveries arriving together know of each other.

A delivery *claims* its event before it is sent. The claim stands in the index's journal first (written ahead, so that a
crash leaves it in doubt and not forgotten), and becomes *seen* only once the event is durable. On a definite failure it
is given up: a retry after our own failure is no duplicate. On a failure in doubt it stays, with its id.

A pure machine without I/O: `recurrence` has the rules, `deduplicator` drives it. A claim whose deliveries were all
answered is *finished*: it is taken from `finished`, written into the index, and forgotten here once that is confirmed.
"""

from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from operator import attrgetter
from typing import NamedTuple

from aurora_bridge.dedup.following import Followed
from aurora_bridge.dedup.recurrence import RETRIES, Action, Judgement, Known, Slot, Standing, first_id_ms, judge
from aurora_bridge.refusal import Refusal
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event


class End(StrEnum):
    """What becomes of a claim."""

    DURABLE = "durable"
    IN_DOUBT = "in_doubt"
    REFUSED = "refused"
    LATE = "late"
    """It became durable after its delivery was answered; word of that may come before word of the answer."""


TRANSITIONS = {
    (Standing.CLAIMED, End.DURABLE): Standing.SEEN,
    (Standing.CLAIMED, End.IN_DOUBT): Standing.DOUBTFUL,
    (Standing.CLAIMED, End.REFUSED): Standing.REFUSED,
    (Standing.CLAIMED, End.LATE): Standing.OWED,
    (Standing.DOUBTFUL, End.LATE): Standing.OWED,
    (Standing.REFUSED, End.LATE): Standing.OWED,
    (Standing.SEEN, End.LATE): Standing.SEEN,
    (Standing.OWED, End.LATE): Standing.OWED,
    # Kafka's acknowledgement came between the answer and its delivery, which waited for its turn of the loop.
    (Standing.OWED, End.DURABLE): Standing.SEEN,
    (Standing.OWED, End.IN_DOUBT): Standing.OWED,
    (Standing.OWED, End.REFUSED): Standing.OWED,
}


# In Python 3.11 each look-up of a member of an enumeration is a call.
_PUBLISH, _NO_SLOT, _LATE = Action.PUBLISH, Slot.NONE, End.LATE
_MOST_JUMPS = 100
_NOT_STORED = frozenset({Standing.DOUBTFUL, Standing.REFUSED})


class Latest(NamedTuple):
    """The latest state of a family's subject, as the index has it."""

    fingerprint: str
    first_seq: int


class FollowedState(NamedTuple):
    """A record in Kafka that is the latest state of its family, as far as the index knows."""

    family_key: str
    fingerprint: str
    first_seq: int
    time_us: int


@dataclass(eq=False)
class Claim:
    """A claim on a fingerprint: a delivery's, or one remembered by the index that deliveries refer to.

    Without slots, so that what has a default costs nothing to make.
    """

    fingerprint: str
    family_key: str | None
    seq: int
    time_us: int
    id_ms: int
    attempt_us: int
    standing: Standing = Standing.CLAIMED
    repeat: bool = False
    attempt: int = 1
    first_seq: int = 0
    """Number of the event's first attempt: its place in the order of states, whatever the wall clock did."""
    changed: bool = True
    """Whether the index has yet to learn how it stands."""
    recurrence: Recurrence = field(default=Recurrence.SIGNAL, init=False)
    """That of the delivery which made the claim, and so the next two."""
    window_us: int = field(default=0, init=False)
    can_know: bool = field(default=True, init=False)
    """Whether earlier events of its day are known here."""
    unsure: bool = field(default=False, init=False)
    """Whether it was written ahead with the id of one that can know, and cannot."""
    burst: int = field(default=0, init=False)
    """Number of the journal entry it was written ahead in, 0 for one that the index remembered."""
    retries_doubt: bool = field(default=False, init=False)
    """Whether it is the retry of an event that may still become durable by an earlier send."""
    holders: int = field(default=0, init=False)
    """Deliveries that are not answered yet and refer to it."""
    finished: bool = field(default=False, init=False)
    """Whether it stands in `Claims.finished`."""
    writes: int = field(default=0, init=False)
    """Writes of it that the index has not confirmed."""
    refusal: Refusal | None = field(default=None, init=False)
    """What its delivery was told, if it was refused."""
    waiters: "list[Future[None]] | None" = field(default=None, init=False, repr=False)
    """Whoever waits for its end: deliveries of the same event that came while it was in flight."""


@dataclass(slots=True)
class _Family:
    base: Latest | None
    claims: list[Claim] = field(default_factory=list)

    def latest(self) -> Latest | None:
        """Return the latest state, by receipt of the first attempt: that is the order in which things happened."""
        latest = self.base
        for claim in self.claims:
            if claim.standing is not Standing.REFUSED and (latest is None or claim.first_seq >= latest.first_seq):
                latest = Latest(claim.fingerprint, claim.first_seq)
        return latest


class Verdict(NamedTuple):
    """What to do with a delivery, and the claim that it made or refers to."""

    action: Action
    claim: Claim
    slot: Slot
    """Which attempt of Aurora's schedule the delivery fits."""
    rewritten: bool
    """Whether the claim differs from the one written ahead, and must be written again before the event is sent."""


class Claims:
    """All claims under way."""

    def __init__(self, last_seq: int) -> None:
        """Number claims after `last_seq`."""
        self.last_seq = last_seq
        self.finished: dict[str, list[Claim]] = {f"{number:02x}": [] for number in range(256)}
        """Claims that the index has to learn, by the first two digits of their fingerprint."""
        self.on_owed: Callable[[], None] = lambda: None
        """Called when a retry of an event is owed because its answer was not heard in time."""
        self._jumps: deque[tuple[int, int]] = deque(maxlen=_MOST_JUMPS)
        """Of the wall clock: the last number before each, and microseconds forward."""
        self._newest: dict[str, Claim] = {}
        self._families: dict[str, _Family] = {}

    def __len__(self) -> int:
        """Return how many fingerprints memory holds something about."""
        return len(self._newest)

    def propose(self, event: Event, now_us: int, *, can_know: bool) -> Claim:
        """Return the claim of a delivery as if its fingerprint were new: what is written ahead."""
        self.last_seq = seq = self.last_seq + 1
        recurrence = event.recurrence
        id_ms = first_id_ms(recurrence, now_us, can_know=can_know)
        claim = Claim(event.fingerprint, event.family_key, seq, now_us, id_ms, now_us, first_seq=seq)
        claim.recurrence, claim.window_us, claim.can_know = recurrence, event.repeat_window_us, can_know
        return claim

    def doubt(self, claim: Claim) -> None:
        """Note that earlier events of a proposed claim's day cannot be known after all."""
        id_ms = first_id_ms(claim.recurrence, claim.time_us, can_know=False)
        claim.can_know, claim.unsure, claim.id_ms = False, id_ms != claim.id_ms, id_ms

    def judge(self, claim: Claim, row: Claim | None, base: Latest | None, *, resend: bool) -> Verdict:
        """Judge the delivery that proposed `claim`, by what the index knows (`row`, `base`) and what is under way."""
        earlier = self._newest.get(claim.fingerprint, row)
        if earlier is not None:
            return self._judge_known(claim, earlier, base, resend=resend)
        self._enter(claim, base)
        return Verdict(_PUBLISH, claim, _NO_SLOT, claim.unsure)

    def _judge_known(self, claim: Claim, earlier: Claim, base: Latest | None, *, resend: bool) -> Verdict:
        key, now_us = claim.family_key, claim.attempt_us
        family = self._families.get(key) if key is not None else None
        latest = family.latest() if family else base
        known = Known(
            earlier.standing,
            earlier.repeat,
            earlier.time_us,
            earlier.id_ms,
            earlier.attempt_us + self._jumped_us(earlier.seq),
            earlier.attempt,
            latest is not None and latest.fingerprint == claim.fingerprint,
        )
        action, repeat, time_us, id_ms, attempt, slot = judgement = judge(
            claim.recurrence,
            known,
            now_us,
            claim.window_us,
            can_know=claim.can_know,
            resend=resend,
            jumped_us=self._jumped_us(earlier.first_seq),
        )
        if action is not Action.PUBLISH:
            return Verdict(action, self._refer(earlier, judgement, now_us), slot, rewritten=False)
        claim.repeat, claim.time_us, claim.id_ms, claim.attempt = repeat, time_us, id_ms, attempt
        if (time_us, id_ms) == (earlier.time_us, earlier.id_ms):
            claim.first_seq = earlier.first_seq
            claim.retries_doubt = earlier.standing is Standing.DOUBTFUL
        self._enter(claim, base)
        return Verdict(action, claim, slot, rewritten=True)

    def jumped(self, last_seq: int, forward_us: int) -> None:
        """Note that the wall clock was set by so much, after the claim of this number."""
        self._jumps.append((last_seq, forward_us))

    def _jumped_us(self, seq: int) -> int:
        """Return by how much the wall clock was set since the claim of this number."""
        return sum(forward_us for last_seq, forward_us in self._jumps if seq <= last_seq)

    def _enter(self, claim: Claim, base: Latest | None) -> None:
        """Take a claim whose event is to be sent as the newest of its fingerprint."""
        claim.holders = 1
        self._newest[claim.fingerprint] = claim
        key = claim.family_key
        if key is not None:
            family = self._families.get(key)
            if family is None:
                family = self._families[key] = _Family(base)
            family.claims.append(claim)

    def _refer(self, claim: Claim, judgement: Judgement, now_us: int) -> Claim:
        """Let another delivery refer to a claim. A retry that was owed is owed no more."""
        self._newest[claim.fingerprint] = claim
        claim.holders += 1
        if claim.standing is Standing.OWED and judgement.slot in RETRIES:
            claim.standing, claim.attempt_us, claim.attempt = Standing.SEEN, now_us, judgement.attempt
            claim.changed = True
        return claim

    def cover(self, record: Followed, *, ours: bool) -> bool:
        """Whether a claim under way is the event of a record in Kafka: then the index learns of it by the claim.

        A record of ours whose claim is in doubt is the acknowledgement that did not arrive.
        """
        claim = self._newest.get(record.fingerprint)
        if claim is None or not record.is_event_of(claim.time_us, claim.id_ms):
            return False
        if claim.standing in _NOT_STORED:
            if not ours:
                return False
            self.end(claim, End.LATE)
        return True

    def follow(self, records: Iterable[tuple[int, Followed]], states: Iterable[FollowedState], spare: int) -> None:
        """Take over what others published: records with their numbers, and the latest states among them.

        What is under way here may have come later than they did, and has a lower number all the same: it gets another,
        from `spare` on, below those of whatever comes after the records.
        """
        numbers = count(spare)
        for seq, record in records:
            claim = self._newest.get(record.fingerprint)
            if claim is not None and claim.seq < seq and claim.time_us > record.time_us:
                claim.seq = next(numbers)
                self._learn_anew(claim)
        for family_key, fingerprint, first_seq, time_us in states:
            family = self._families.get(family_key)
            if family is None:
                continue
            family.base = Latest(fingerprint, first_seq)
            for claim in sorted(family.claims, key=attrgetter("first_seq")):
                if claim.first_seq < first_seq and claim.time_us > time_us:
                    claim.first_seq = next(numbers)
                    self._learn_anew(claim)

    def _learn_anew(self, claim: Claim) -> None:
        claim.changed = True
        self._finish(claim)

    def renumber(self, claims: Iterable[Claim]) -> None:
        """Number proposed claims anew, behind the records that were followed while they waited."""
        for claim in claims:
            self.last_seq += 1
            claim.seq = claim.first_seq = self.last_seq

    def end(self, claim: Claim, end: End) -> None:
        """Note what became of a claim. The refused retry of an event in doubt leaves that in doubt."""
        if claim.retries_doubt and end is End.REFUSED:
            end = End.IN_DOUBT
        claim.standing = TRANSITIONS[claim.standing, end]
        if end is _LATE:
            if self._newest.get(claim.fingerprint, claim) is not claim:
                return  # a retry of the same event is under way, or the story went on
            self._newest[claim.fingerprint] = claim  # until the index has learned it
            claim.changed = True
            self._finish(claim)

    def answered(self, claim: Claim, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery which refers to a claim was answered; not `in_time`: its 2xx may not have arrived."""
        claim.holders -= 1
        if not in_time and claim.standing is Standing.SEEN:
            claim.standing, claim.attempt_us, claim.changed = Standing.OWED, attempt_us, True
            self.on_owed()
        self._finish(claim)

    def take(self, slices: Iterable[str]) -> list[Claim]:
        """Return the finished claims of these slices, which are now being written as they stand."""
        taken = []
        for name in slices:
            claims, self.finished[name] = self.finished[name], []
            for claim in claims:
                claim.finished = claim.changed = False
                claim.writes += 1
            taken += claims
        return taken

    def confirmed(self, claims: Iterable[Claim]) -> None:
        """Note that claims which were taken stand in the index."""
        for claim in claims:
            claim.writes -= 1
            self._finish(claim)

    def _finish(self, claim: Claim) -> None:
        """Hand a claim that nobody refers to over to the index, or forget it if the index has it as it stands."""
        if claim.holders or claim.finished:
            return
        if claim.changed:
            claim.finished = True
            self.finished[claim.fingerprint[:2]].append(claim)
        elif not claim.writes:
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        if self._newest.get(claim.fingerprint) is claim:
            del self._newest[claim.fingerprint]
        key = claim.family_key
        family = self._families.get(key) if key is not None else None
        if key is None or family is None or claim not in family.claims:
            return
        family.claims.remove(claim)
        base = family.base
        if claim.standing is not Standing.REFUSED and (base is None or claim.first_seq >= base.first_seq):
            family.base = Latest(claim.fingerprint, claim.first_seq)
        if not family.claims:
            del self._families[key]
