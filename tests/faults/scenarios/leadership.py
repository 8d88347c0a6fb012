"""Leaders that append a batch, wait for a replica that lags, and lose their leadership. Spans are those at scale 1.

They answer NOT_LEADER_OR_FOLLOWER, though the next leader has the batch as well: its sequence is used.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.scenario import Scenario
from tests.faults.scenarios.line import TOPICS
from tests.faults.scenarios.order import rounds
from tests.faults.scenarios.partitions import LOOK_SECONDS
from tests.faults.stage import EVENTS, READ_SECONDS, Stage, Turns
from tests.support.admin import elect_preferred
from tests.support.broker import KafkaCluster
from tests.support.node import KafkaNode
from tests.support.reassign import reassign
from tests.support.topics import create_topics, partition_of, read_all

PARTITIONS: Final = 3
FROZEN_SECONDS: Final = 4.5
"""Longer than the publish deadline: what a leader appended is to be decided about while nobody knows of it."""
EARLY_SECONDS: Final = (0.3, 1.9)
"""From the freeze to the election. A leader waits for its replicas for 2 s."""
LATE_SECONDS: Final = (2.8, 3.1)
"""The same: what waited for the requests before comes to its deadline just when a leader says that it is none."""
PAIRED: Final = [event for event in TOPICS if event not in EVENTS.values()]
"""Events of which two are told in each round, to topics of one partition."""
APART_SECONDS: Final = 0.05
"""From one topic's to the next one's."""
SESSION_MS: Final = 30_000
"""A replica that freezes is to lag, and not to be missed."""
COPIES: Final = "records are there twice"


def with_a_spool(stage: Stage) -> None:
    """Whoever leads appends, waits for a replica that is frozen, and loses its leadership, again and again."""
    topics = _lose_leadership(stage)
    keys = [record.key for record in read_all(stage.cluster.plain, topics, READ_SECONDS)]
    twice = len(keys) - len(set(keys))
    stage.expect(not twice, f"{COPIES}, though the next leader knew our sequence: {twice}")


def without_a_spool(stage: Stage) -> None:
    """The same without a spool: what is in doubt is refused at its deadline, and comes again under the same id."""
    _lose_leadership(stage)


def _lose_leadership(stage: Stage) -> list[str]:
    """Do so, under load; return the topics that the load goes to."""
    topics = {stage.prefix + event: PARTITIONS for event in EVENTS.values()}
    topics |= {stage.prefix + event: 1 for event in PAIRED}
    lagging = next(node for node in reversed(stage.cluster.nodes) if node.number != controller_of(stage.cluster))
    leader, other = (node for node in stage.cluster.nodes if node is not lagging)
    awake = f"{leader.internal},{other.internal}"
    for topic, count in topics.items():
        create_topics(stage.cluster.plain, topic, replicas=[[leader.number, other.number, lagging.number]] * count)
    appended = 0
    with stage.load(turns=Turns()):
        for round_ in range(rounds(stage, 60)):
            stage.daemon.wait_until_connected()
            order = [other.number, leader.number, lagging.number]
            for topic, count in topics.items():
                reassign(stage.cluster.plain, [topic], [order] * count)  # the order alone: who leads goes on
            before, began = _bytes(other, stage.prefix), monotonic()
            lagging.pause()
            with ThreadPoolExecutor(len(PAIRED)) as pool:
                pool.map(partial(_tell_two, stage), range(len(PAIRED)), PAIRED)
                Event().wait(stage.random.uniform(*(LATE_SECONDS if round_ % 2 else EARLY_SECONDS)))
                appended += _bytes(other, stage.prefix) - before
                for topic, count in topics.items():
                    elect_preferred(awake, [topic], count)
                Event().wait(began + FROZEN_SECONDS - monotonic())
                lagging.resume()
            _wait_until_led(stage, topics, other)
            leader, other = other, leader
        stage.wait(20)
        errors = stage.daemon.metrics().value("aurora_bridge_publish_errors_total", reason="not_leader_or_follower")
    stage.measured["answers that a leadership was lost"] = errors
    stage.expect(appended, "the next leader had nothing before it led: nothing was tried")
    stage.expect(errors, "no leadership was lost over a batch")
    return [stage.prefix + event for event in EVENTS.values()]


def _tell_two(stage: Stage, number: int, event: str) -> None:
    """Tell an event, and once that is decided, another for the same partition; nobody tries them again."""
    Event().wait(number * APART_SECONDS)
    for _ in range(2):
        stage.manual.send(stage.manual.large(event, TOPICS[event], 1), stage.daemon.url)


def controller_of(cluster: KafkaCluster) -> int:
    """Return the node that is the controller, by what the nodes wrote last."""
    became = {}
    for node in cluster.nodes:
        lines = [line for line in node.log.read_text(errors="replace").splitlines() if "the active controller" in line]
        became[node.number] = lines[-1][:30] if lines else ""
    return max(became, key=lambda number: became[number])


def _bytes(node: KafkaNode, prefix: str) -> int:
    """Return how much a node has of the topics."""
    return sum(path.stat().st_size for path in node.directory.rglob(f"{prefix}*/*.log"))


def _wait_until_led(stage: Stage, topics: Mapping[str, int], node: KafkaNode) -> None:
    """Return once a node leads everything, with all replicas in sync."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        found = [
            partition_of(stage.cluster.plain, topic, number)
            for topic, count in topics.items()
            for number in range(count)
        ]
        if all(one.leader == node.number and len(one.isrs) == len(stage.cluster.nodes) for one in found):
            return
        Event().wait(LOOK_SECONDS)
    stage.expect(None, f"node {node.number} does not lead everything")


_patient = partial(KafkaCluster, properties={"broker.session.timeout.ms": str(SESSION_MS)})

SCENARIOS = [
    Scenario("06-leadership-lost", with_a_spool, cluster=_patient),
    Scenario("06-leadership-lost-no-spool", without_a_spool, cluster=_patient, settings={"spool__enabled": False}),
]
