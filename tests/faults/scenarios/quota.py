"""Quotas of the daemon's client id: a broker that was asked too much answers late, and says how long it will be mute.

Whoever does not hear that takes the silence for a lost connection; a new connection goes round the quota. Spans are
those at scale 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.process_stats import connections_to
from tests.faults.scenario import Scenario
from tests.faults.scenarios.line import leave_behind, left
from tests.faults.stage import SETTLE_SECONDS, Stage
from tests.support.admin import PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE, set_quota

CLIENT_ID: Final = "aurora-bridge"
HEAVY: Final = {"project_created": "project_id"}
"""Its topic has a backlog; no live webhook tells of it."""
IDLE: Final = ("project_deleted", "project_id")
"""Its topic has nothing to do but an event now and then."""
CREDIT_SECONDS: Final = 11
"""Whose bytes Kafka lets pass at first: it looks at the last samples, of a second each."""
PERCENTAGE: Final = 0.1
"""Of one thread of the broker: a millisecond a second."""
MUTE_SECONDS: Final = 0.2
"""Half of what is published takes longer under the quota of request time."""
MOST: Final = 20.0
"""Webhooks a second."""
LEAST_SECONDS: Final = 15.0
PROBE_SECONDS: Final = 0.5
FEW: Final = 5
SPOOLED: Final = "events of an idle topic are not published under a quota"
UNNAMED: Final = "a quota is not named"
LOST: Final = "a quota was taken for a lost connection"


def bytes_limited(stage: Stage) -> None:
    """A quota allows the daemon 2 MB/s. It has a backlog of 30 MB of one topic, while others have little to do."""
    _limit_bytes(stage, 2_000_000, 30_000_000)


def few_bytes_limited(stage: Stage) -> None:
    """A quota allows the daemon 300 kB/s. It has a backlog of 6 MB of one topic, while others have little to do."""
    # A request of the largest size would take three seconds of it, and each more adds to the pause that Kafka asks
    # for, until what came at first is eleven seconds old.
    _limit_bytes(stage, 300_000, 6_000_000)


def _limit_bytes(stage: Stage, rate: int, size: int) -> None:
    set_quota(stage.cluster.plain, CLIENT_ID, PRODUCER_BYTE_RATE, rate)  # a broker takes note of it a moment later
    leave_behind(stage, HEAVY, size)
    with stage.load(connected=False, most=MOST):
        began = monotonic()
        stage.daemon.wait_until("Kafka is connected", lambda one: one.metrics().value("aurora_bridge_kafka_connected"))
        with _undisturbed(stage, since_start=True):
            while left(stage.daemon, HEAVY) and monotonic() < began + SETTLE_SECONDS:
                _tell_idle(stage)
        seconds = monotonic() - began
        stage.measured["through the quota in, s"] = round(seconds, 1)
        least = size / rate - CREDIT_SECONDS
        stage.expect(seconds > least, f"{size} bytes took {seconds:.1f} s: the quota was none, or was evaded")
        set_quota(stage.cluster.plain, CLIENT_ID, PRODUCER_BYTE_RATE, None)
        stage.wait(20)


def requests_limited(stage: Stage) -> None:
    """A quota allows the daemon a millisecond a second of a broker's time, for two minutes, under load."""
    with stage.load(most=MOST):
        stage.wait_until_usual()
        set_quota(stage.cluster.plain, CLIENT_ID, REQUEST_PERCENTAGE, PERCENTAGE)
        began = monotonic()
        with _undisturbed(stage):
            while monotonic() < began + max(LEAST_SECONDS, stage.span(120)):
                _tell_idle(stage)
        seconds = [line["seconds"] for line in stage.answers(began) if '"published"' in line["body"]]
        usual = median(seconds) if seconds else 0.0
        stage.measured["half of the publishes took, s"] = round(usual, 2)
        stage.expect(
            usual > MUTE_SECONDS, f"half of the publishes took {usual:.2f} s: the quota was none, or was evaded"
        )
        set_quota(stage.cluster.plain, CLIENT_ID, REQUEST_PERCENTAGE, None)
        stage.wait(20)


def _tell_idle(stage: Stage) -> None:
    """Tell an event whose topic has nothing else to do."""
    stage.manual.send(stage.manual.large(*IDLE, 10), stage.daemon.url)
    Event().wait(PROBE_SECONDS)


@contextmanager
def _undisturbed(stage: Stage, *, since_start: bool = False) -> Iterator[None]:
    """Expect the daemon to keep its connections while the block runs, and what is idle to be published.

    `since_start` of the daemon, batches that were lost before the block count as well.
    """
    (node,) = stage.cluster.nodes
    port = int(node.client.rpartition(":")[2])
    connections, lost, began = connections_to(port), 0.0 if since_start else _lost(stage), monotonic()
    yield
    reasons = stage.daemon.ready()[1]["reasons"]
    stage.expect(any("quota" in reason for reason in reasons), f"{UNNAMED}: readiness says {reasons}")
    gone = connections - connections_to(port)
    stage.expect(not gone, f"{LOST}: {len(gone)} of {len(connections)} connections are others")
    more = _lost(stage) - lost
    stage.expect(not more, f"{LOST}: {more:g} batches")
    idle = [line["body"] for line in stage.answers_by_event(began).get(IDLE[0], [])]
    spooled = sum('"published"' not in body for body in idle)
    stage.measured["events of an idle topic"] = len(idle)
    stage.expect(len(idle) >= FEW, f"only {len(idle)} events of an idle topic: nothing was tried")
    stage.expect(not spooled, f"{SPOOLED}: {spooled} of {len(idle)}")


def _lost(stage: Stage) -> float:
    metrics = stage.daemon.metrics()
    reasons = ("connection_lost", "broker_away")
    return sum(metrics.value("aurora_bridge_publish_errors_total", reason=reason) for reason in reasons)


SCENARIOS = [
    Scenario("21-quota-on-bytes", bytes_limited, nodes=1),
    Scenario("21-quota-on-bytes-small", few_bytes_limited, nodes=1),
    Scenario("21-quota-on-request-time", requests_limited, nodes=1),
]
