"""Events that a daemon was told before something happens, whose like it must decide in the same way afterwards."""

from collections.abc import Mapping

from tests.faults.faulty import FaultyDaemon
from tests.faults.manual_sender import Answer, Webhook
from tests.faults.stage import Stage

EACH = 40


class Known:
    """Events that happen once, states that are the latest of their subjects, and states before these."""

    def __init__(self, stage: Stage, daemon: FaultyDaemon | None = None, count: int = EACH) -> None:
        """Tell them to a daemon, the first unless told otherwise: as many of each kind."""
        self._stage, self._daemon = stage, daemon or stage.daemon
        once = [stage.manual.new("once") for _ in range(count)]
        older = [stage.manual.new("state") for _ in range(count)]
        latest = [stage.manual.new("state", webhook.subject) for webhook in older]
        told = {webhook: self._tell(webhook) for webhook in (*once, *older, *latest)}
        refused = sum(not answer.accepted for answer in told.values())
        stage.expect(not refused, f"{refused} of {len(told)} events that were to be known are refused")
        self._once = {webhook: told[webhook] for webhook in once}
        self._latest = {webhook: told[webhook] for webhook in latest}
        self._older = dict(zip(latest, older, strict=True))

    def expect_same_decisions(self, when: str) -> None:
        """Expect copies of what happened once, and of the latest states, to be duplicates, and others to be none.

        Then the older states are the latest.
        """
        expect, daemon = self._stage.expect, f"{when}, of {len(self._latest)}"
        expect(not (new := self._new(self._once)), f"{daemon} events that happened once, copies of {new} are new")
        expect(not (new := self._new(self._latest)), f"{daemon} states that are the latest, copies of {new} are new")
        back = {latest: self._stage.manual.again(older) for latest, older in self._older.items()}
        told = {webhook: self._tell(webhook) for webhook in back.values()}
        hidden = sum(answer.outcome == "duplicate" for answer in told.values())
        expect(not hidden, f"{daemon} states that came back, {hidden} are duplicates")
        refused = sum(not answer.accepted for answer in told.values())
        expect(not refused, f"{daemon} states that came back, {refused} are refused")
        self._older = {webhook: latest for latest, webhook in back.items()}
        self._latest = told

    def _new(self, known: Mapping[Webhook, Answer]) -> int:
        """Return how many of them are no duplicates of what they were called at first."""
        again = {webhook: self._tell(webhook, copy=True) for webhook in known}
        return sum((one.id, one.outcome) != (known[webhook].id, "duplicate") for webhook, one in again.items())

    def _tell(self, webhook: Webhook, *, copy: bool = False) -> Answer:
        return self._stage.manual.send(webhook, self._daemon.url, copy=copy)
