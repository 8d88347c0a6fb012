"""Whether the daemon can accept deliveries durably, and if not, why: what `/readyz` reports.

It stays ready while Kafka is away and the spool accepts: taking the instance out of service would lose webhooks. It
stays ready while some topics cannot be written: every instance sees the same ones, and none would be left for the rest.
"""

from typing import Any, NamedTuple

from aurora_bridge.bridge import Bridge
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.webhook.catalogue import EVENTS

_SHOWN = 5


class Readiness(NamedTuple):
    """The parts that readiness depends on. Without a sender, the spool is the event log."""

    bridge: Bridge
    sender: Sender | None
    spool: Spool | None

    def is_ready(self) -> bool:
        """Return whether deliveries can be accepted durably."""
        return self.report()[0]

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the daemon is ready, and the JSON document of `/readyz`."""
        kafka_problem = self._kafka_problem()
        spool_problem = self._spool_problem()
        why = [f"kafka: {problem}" for problem in self.sender.problems] if self.sender else []
        reasons = [reason for reason in (*why, kafka_problem, spool_problem) if reason]
        if self.bridge.stopping:
            reasons.insert(0, "the daemon is stopping")
        failed = self.spool is not None and self.spool.failed.is_set()
        kafka_away = self.sender is None or len(self.sender.missing()) == len(EVENTS)
        ready = not self.bridge.stopping and not failed and not (kafka_away and spool_problem)
        return ready, {"ready": ready, "reasons": reasons}

    def _kafka_problem(self) -> str | None:
        if self.sender is None:
            return "kafka: not configured; events stay in the embedded log"
        missing = self.sender.missing()
        if not missing:
            return None
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        meanwhile = "their deliveries are refused" if self.spool is None else "their events go to the spool"
        return f"kafka: no leader for {', '.join(missing[:_SHOWN])}{more}; {meanwhile}"

    def _spool_problem(self) -> str | None:
        if self.spool is None:
            return "spool: switched off; while Kafka is away, deliveries are refused"
        if self.spool.failed.is_set():
            return "spool: the disk failed; the daemon is about to stop"
        if self.spool.full:
            relief = "Kafka takes events again" if self.sender else "old events expire (AURORA_BRIDGE_SPOOL__MAX_BYTES)"
            return f"spool: full; nothing more is accepted until {relief}"
        return None
