"""Aurora in the model: what happens there, and the webhooks by which it tells."""

from dataclasses import dataclass, field
from typing import Final

from tests.models.clock import SECOND
from tests.models.instance import Request

SCHEDULE: Final = tuple(seconds * SECOND for seconds in (30, 5 * 60, 30 * 60, 3 * 3600, 20 * 3600))
"""From one attempt to the next."""


@dataclass(slots=True, eq=False)
class Occurrence:
    """Something that genuinely happened: what no other occurrence may hide."""

    target: str


@dataclass(slots=True, eq=False)
class Webhook:
    """What one subscription tells of an occurrence, with its retries: after a failure or a missed answer only."""

    occurrence: Occurrence
    attempts: int = 0
    due_us: int | None = None
    """When the next attempt is made; None: none is."""
    requests: list[Request] = field(default_factory=list)
    """The attempts that came through, in order."""

    def attempted(self, now_us: int) -> None:
        """Note an attempt, of which nothing good is known so far."""
        self.due_us = now_us + SCHEDULE[self.attempts] if self.attempts < len(SCHEDULE) else None
        self.attempts += 1

    def heard(self) -> None:
        """Take the answer of the last attempt, if there is one."""
        if self.requests and self.requests[-1].told:
            self.due_us = None


def at_retry_interval(elapsed_us: int) -> bool:
    """Whether an attempt can be the one after another, as wide as the design takes Aurora's schedule."""
    return any(
        interval - max(10 * SECOND, interval / 10) <= elapsed_us <= interval + max(30 * SECOND, interval / 5)
        for interval in SCHEDULE
    )
