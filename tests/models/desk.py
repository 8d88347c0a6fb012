"""Claims at a desk: the pure machine, with an index of two dictionaries that looks up and learns when it is told to.

`Rows` has the rules of the index's file written down a second time, without SQL.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from aurora_bridge.dedup.claims import Claim, Claims, End, Latest, Verdict

from aurora_bridge.dedup.recurrence import Action, Standing
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
NOW: Final = 1_795_454_645_123_456  # 2026-11-23T17:24:05.123456Z


def state(letter: str, subject: str = "1") -> Event:
    """Return a state of a subject."""
    data: dict[str, str | None] = {"project_id": subject, "status": letter}
    fingerprint = f"{ord(letter):02x}{subject}".ljust(32, "0")
    family = f"fa{subject}".ljust(32, "0")
    return Event("project_status_changed", "", "", Recurrence.STATE, f"project/{subject}", data, fingerprint, family)


ONCE: Final = Event("project_created", "", "", Recurrence.ONCE, "project/1", {}, "0c" * 16, None)
SIGNAL: Final = Event("lead_changed", "", "", Recurrence.SIGNAL, "lead/1", {}, "51" * 16, None)
A, B, C = state("A"), state("B"), state("C")


class Rows:
    """Fingerprints and latest states, as learned from finished claims."""

    def __init__(self) -> None:
        """Know nothing."""
        self.seen: dict[str, Claim] = {}
        self.latest: dict[str, Latest] = {}
        """By family."""

    def learn(self, claims: Iterable[Claim]) -> None:
        """Take finished claims over: of a fingerprint the newest counts, of a family the state that came first last."""
        for claim in claims:
            if claim.fingerprint not in self.seen or self.seen[claim.fingerprint].seq <= claim.seq:
                self.seen[claim.fingerprint] = replace(claim, family_key=None, changed=False)
            key = claim.family_key
            if key is None or claim.standing is Standing.REFUSED:
                continue
            if key not in self.latest or self.latest[key].first_seq <= claim.first_seq:
                self.latest[key] = Latest(claim.fingerprint, claim.first_seq)

    def row(self, fingerprint: str) -> Claim | None:
        """Return what is known of a fingerprint, as a look-up does: a claim of its own each time."""
        known = self.seen.get(fingerprint)
        return replace(known) if known else None

    def state(self, key: str | None) -> Latest | None:
        """Return the latest state of a family."""
        return self.latest.get(key) if key else None

    def expire(self, seq: int) -> None:
        """Forget what is not younger than a number."""
        self.seen = {fingerprint: claim for fingerprint, claim in self.seen.items() if claim.seq > seq}
        self.latest = {key: found for key, found in self.latest.items() if found.first_seq > seq}


class Desk:
    """Claims with an index that looks up, and learns when it is told to."""

    def __init__(self) -> None:
        self.claims = Claims(0)
        self.rows = Rows()

    def deliver(self, event: Event, at: int, *, window: int = DAY, resend: bool = False) -> Verdict:
        """Judge a delivery received `at` microseconds."""
        claim = self.claims.propose(event._replace(repeat_window_us=window), at, can_know=True)
        row, base = self.rows.row(event.fingerprint), self.rows.state(event.family_key)
        return self.claims.judge(claim, row, base, resend=resend)

    def pass_unjudged(self, event: Event, at: int) -> Verdict:
        """Judge a delivery while the index does not answer."""
        claim = self.claims.propose(event._replace(repeat_window_us=DAY), at, can_know=True)
        self.claims.doubt(claim)
        return self.claims.judge(claim, None, None, resend=False)

    def finish(self, verdict: Verdict, end: End | None, at: int, *, in_time: bool = True) -> None:
        """End the claim of a delivery, if it is its own to end, and answer."""
        if end is not None:
            self.claims.end(verdict.claim, end)
        self.claims.answered(verdict.claim, at, in_time=in_time)

    def learn(self) -> None:
        """Let the index learn all that is finished."""
        claims = self.claims.take(self.claims.finished)
        self.rows.learn(claims)
        self.claims.confirmed(claims)

    def happened(self, event: Event, at: int, end: End = End.DURABLE, *, in_time: bool = True) -> Verdict:
        """Let a delivery go its whole way, up to what the index learns of it."""
        verdict = self.deliver(event, at)
        self.finish(verdict, end if verdict.action is Action.PUBLISH else None, at, in_time=in_time)
        self.learn()
        return verdict
