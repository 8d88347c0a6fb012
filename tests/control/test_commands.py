"""The commands: what one dead letter cannot be replayed for is its result, and holds up no other."""

from typing import cast
from unittest.mock import create_autospec

import pytest

from aurora_bridge.control.commands import REPLAY, commands
from aurora_bridge.control.server import Request
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.kafka.cluster_guard import ClusterGuard
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.replay import Replay

LETTER: Request = {
    "id": "12ce9b27067856622ff6967e1acf4d41.20261124T030511454",
    "source": "/aurora/default",
    "type": "aurora-bridge.dead_letter",
    "time": "2026-11-24T03:05:11.454Z",
    "data": {"event": "lead_changed", "reason": "not_as_template", "route": "default", "target": "/lead_changed?a=1"},
}


@pytest.mark.parametrize(
    ("failure", "reason"), [(Refusal(Reason.SPOOL_FULL), "spool_full"), (RuntimeError("canary"), "internal_error")]
)
async def test_a_dead_letter_that_is_not_replayed_has_a_result_too(
    failure: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    replay = create_autospec(Replay, instance=True, side_effect=failure)
    publisher, guard, dedup = (create_autospec(each) for each in (Publisher, ClusterGuard, Deduplicator))
    replay_one = commands(None, publisher, guard, dedup, cast("Replay", replay))[REPLAY]
    result = await replay_one({"event": LETTER, "dry_run": False})
    assert (result["outcome"], result["reason"]) == ("refused", reason)
    assert "canary" not in caplog.text  # the text of an exception can quote the delivery
