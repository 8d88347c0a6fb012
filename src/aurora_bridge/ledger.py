"""What is counted and logged of an answered delivery.

Nothing is logged of an ordinary one unless asked for: the metrics tell the same. What is out of the ordinary gets one
line, and a flood of one kind only so many a minute, with the number of those left out.
"""

import logging
from time import monotonic, time

from aurora_bridge.bridge import Answer
from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.refusal import Defect, Reason
from aurora_bridge.webhook.delivery import Delivery

log = logging.getLogger(__name__)

_LINES_A_MINUTE = 20


class Ledger:
    """Counts and logs answers."""

    def __init__(self, metrics: Metrics, *, log_deliveries: bool) -> None:
        """Count in `metrics`; with `log_deliveries`, each ordinary delivery gets a line, too."""
        self._metrics = metrics
        self._answer_seconds = metrics.stage_seconds["answer"]
        self._log_deliveries = log_deliveries
        self._quotas = {reason: Quota(_LINES_A_MINUTE, monotonic) for reason in (*Reason, *Defect)}

    def enter(self, delivery: Delivery, answer: Answer, since: float) -> None:
        """Enter one answer, which was ready at monotonic time `since`."""
        now = monotonic()
        metrics = self._metrics
        self._answer_seconds.observe(now - since)
        metrics.response_seconds[answer.outcome].observe(now - delivery.received)
        metrics.deliveries[answer.event, answer.outcome] += 1
        if answer.reason is not None:
            self._enter_reason(answer, answer.reason)
        elif self._log_deliveries:
            log.info("delivery", extra=_fields(answer, seconds=round(now - delivery.received, 4)))

    def enter_refusal(self, reason: Reason) -> None:
        """Enter what was refused, also before it was a delivery."""
        self._metrics.refusals[reason] += 1
        self._metrics.last_refused[reason] = time()

    def _enter_reason(self, answer: Answer, reason: Reason | Defect) -> None:
        if isinstance(reason, Reason):
            self.enter_refusal(reason)
        else:
            self._metrics.dead_letters[reason] += 1
        left_out = self._quotas[reason].take()
        if left_out is not None:
            log.warning(
                "delivery %s",
                answer.outcome.value,
                extra=_fields(answer, **({"left_out": left_out} if left_out else {})),
            )


def _fields(answer: Answer, **more: object) -> dict[str, dict[str, object]]:
    found = {"status": answer.status, "outcome": answer.outcome.value, "event": answer.event, "id": answer.id}
    if answer.reason is not None:
        found["reason"] = answer.reason.value
    if answer.route is not None:
        found["route"] = answer.route
    return fields(**found, **more)
