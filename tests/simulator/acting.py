"""What tests of the simulator share: subscriptions, things that happen, and answers without a receiver."""

from random import Random
from typing import Final

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import Answer, Request
from aurora_bridge.simulator.fill_template import suggested
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.simulator.subscriptions import Subscription, created
from aurora_bridge.simulator.values import plausible

OWNER: Final = "tenants/t-1"
EVENT: Final = "agreement_status_changed"
BEGIN: Final = 1_700_000_000.0
GOOD: Final = Answer(200, "")
REFUSED: Final = Answer(503, "")
DAY: Final = 86_400.0


def subscription(
    event: str = EVENT, identity: str = "s-1", to: str = "http://x.test", **fields: object
) -> Subscription:
    """Return a subscription with the suggested template."""
    return created(identity, OWNER, {"event": event, "url_template": suggested(to, event), **fields})


def occurrence(event: str = EVENT, at: float = BEGIN, **values: str) -> Occurrence:
    """Return something that happens, with plausible values for what is not given."""
    return Occurrence(at, event, plausible(event, Random(1), values))


def sent(aurora: Aurora, until: float, answer: Answer) -> list[Request]:
    """Give every attempt that is due until then the same answer, at its time; return the attempts."""
    requests = []
    while (at := aurora.next_due()) is not None and at <= until:
        asked = aurora.due(at)
        assert asked is not None
        aurora.answered(asked, answer, at)
        requests.append(asked)
    return requests
