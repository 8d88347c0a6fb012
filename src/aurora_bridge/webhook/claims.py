"""The claims under way: what memory adds to the index, so that deliveries arriving together know of each other.

A delivery *claims* its event before it is sent. The claim stands in the index's journal first (written ahead, so that a
crash leaves it in doubt and not forgotten), and becomes *seen* only once the event is durable. On a definite failure it
is given up: a retry after our own failure is no duplicate. On a failure in doubt it stays, with its id.

A pure machine without I/O: `recurrence` has the rules, `state.dedup` drives it. A claim whose deliveries were all
answered is *finished*: it is taken from `finished`, written into the index, and forgotten here once that is confirmed.
"""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aurora_bridge.refusal import Refusal
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.recurrence import RETRIES, Action, Judgement, Known, Slot, Standing, first_id_ms, judge


class End(StrEnum):
    """What becomes of a claim."""

    DURABLE = "durable"
    IN_DOUBT = "in_doubt"
    REFUSED = "refused"
    LATE = "late"
    """It became durable after its delivery was refused."""


TRANSITIONS = {
    (Standing.CLAIMED, End.DURABLE): Standing.SEEN,
    (Standing.CLAIMED, End.IN_DOUBT): Standing.DOUBTFUL,
    (Standing.CLAIMED, End.REFUSED): Standing.REFUSED,
    (Standing.CLAIMED, End.LATE): Standing.OWED,
    (Standing.DOUBTFUL, End.LATE): Standing.OWED,
    (Standing.REFUSED, End.LATE): Standing.OWED,
    (Standing.SEEN, End.LATE): Standing.SEEN,
    (Standing.OWED, End.LATE): Standing.OWED,
}


class Latest(NamedTuple):
    """The latest state of a family's subject, as the index has it."""

    fingerprint: str
    first_seq: int


@dataclass(slots=True, eq=False)
class Claim:
    """A claim on a fingerprint: a delivery's, or one remembered by the index that deliveries refer to."""

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
    burst: int = 0
    """Number of the journal entry it was written ahead in, 0 for one that the index remembered."""
    changed: bool = True
    """Whether the index has yet to learn how it stands."""
    retries_doubt: bool = False
    """Whether it is the retry of an event that may still become durable by an earlier send."""
    holders: int = 0
    """Deliveries that are not answered yet and refer to it."""
    writes: int = 0
    """Writes of it that the index has not confirmed."""
    refusal: Refusal | None = None
    """What its delivery was told, if it was refused."""
    waiters: "list[Future[None]]" = field(default_factory=list, repr=False)
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
        self.finished: dict[str, dict[int, Claim]] = {f"{number:02x}": {} for number in range(256)}
        """Claims that the index has to learn, by the first two digits of their fingerprint and by number."""
        self._newest: dict[str, Claim] = {}
        self._families: dict[str, _Family] = {}

    def __len__(self) -> int:
        """Return how many fingerprints memory holds something about."""
        return len(self._newest)

    def propose(self, event: Event, now_us: int, *, can_know: bool) -> Claim:
        """Return the claim of a delivery as if its fingerprint were new: what is written ahead."""
        self.last_seq = seq = self.last_seq + 1
        id_ms = first_id_ms(event.recurrence, now_us, can_know=can_know)
        return Claim(event.fingerprint, event.family_key, seq, now_us, id_ms, now_us, first_seq=seq)

    def judge(  # noqa: PLR0913 - the facts of one verdict
        self,
        claim: Claim,
        recurrence: Recurrence,
        row: Claim | None,
        base: Latest | None,
        *,
        window_us: int,
        can_know: bool,
        resend: bool,
    ) -> Verdict:
        """Judge the delivery that proposed `claim`, by what the index knows (`row`, `base`) and what is under way."""
        fingerprint, key, now_us = claim.fingerprint, claim.family_key, claim.attempt_us
        earlier = self._newest.get(fingerprint, row)
        family = self._families.get(key) if key is not None else None
        known = None
        if earlier is not None:
            latest = family.latest() if family else base
            known = Known(
                earlier.standing,
                earlier.repeat,
                earlier.time_us,
                earlier.id_ms,
                earlier.attempt_us,
                earlier.attempt,
                latest is not None and latest.fingerprint == fingerprint,
            )
        action, repeat, time_us, id_ms, attempt, slot = judgement = judge(
            recurrence, known, now_us, window_us, can_know=can_know, resend=resend
        )
        if earlier is not None and action is not Action.PUBLISH:
            return Verdict(action, self._refer(earlier, judgement, now_us), slot, rewritten=False)
        rewritten = earlier is not None or id_ms != claim.id_ms
        claim.repeat, claim.time_us, claim.id_ms, claim.attempt = repeat, time_us, id_ms, attempt
        if earlier is not None and (time_us, id_ms) == (earlier.time_us, earlier.id_ms):
            claim.first_seq = earlier.first_seq
            claim.retries_doubt = earlier.standing is Standing.DOUBTFUL
        claim.holders = 1
        self._newest[fingerprint] = claim
        if key is not None:
            if family is None:
                family = self._families[key] = _Family(base)
            family.claims.append(claim)
        return Verdict(Action.PUBLISH, claim, slot, rewritten)

    def _refer(self, claim: Claim, judgement: Judgement, now_us: int) -> Claim:
        """Let another delivery refer to a claim. A retry that was owed is owed no more."""
        self._newest[claim.fingerprint] = claim
        claim.holders += 1
        if claim.standing is Standing.OWED and judgement.slot in RETRIES:
            claim.standing, claim.attempt_us, claim.attempt = Standing.SEEN, now_us, judgement.attempt
            claim.changed = True
        return claim

    def end(self, claim: Claim, end: End) -> None:
        """Note what became of a claim. The refused retry of an event in doubt leaves that in doubt."""
        if end is End.REFUSED and claim.retries_doubt:
            end = End.IN_DOUBT
        claim.standing = TRANSITIONS[claim.standing, end]
        if end is End.LATE:
            if self._newest.get(claim.fingerprint, claim) is not claim:
                return  # a retry of the same event is under way, or the story went on
            claim.changed = True
            self._finish(claim)

    def answered(self, claim: Claim, attempt_us: int, *, in_time: bool) -> None:
        """Note that a delivery which refers to a claim was answered; not `in_time`: its 2xx may not have arrived."""
        claim.holders -= 1
        if not in_time and claim.standing is Standing.SEEN:
            claim.standing, claim.attempt_us, claim.changed = Standing.OWED, attempt_us, True
        self._finish(claim)

    def take(self, claims: Sequence[Claim]) -> None:
        """Note that finished claims are being written as they stand."""
        for claim in claims:
            del self.finished[claim.fingerprint[:2]][claim.seq]
            claim.writes += 1

    def confirmed(self, claims: Sequence[Claim]) -> None:
        """Note that claims which were taken stand in the index."""
        for claim in claims:
            claim.writes -= 1
            self._finish(claim)

    def _finish(self, claim: Claim) -> None:
        """Hand a claim that nobody refers to over to the index, or forget it if the index has it as it stands."""
        if claim.holders:
            return
        if claim.changed:
            claim.changed = False
            self.finished[claim.fingerprint[:2]][claim.seq] = claim
        elif not claim.writes and claim.seq not in self.finished[claim.fingerprint[:2]]:
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
