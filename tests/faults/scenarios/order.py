"""Order and identity where ways change, requests arrive late and acknowledgements are lost. Spans are those at scale 1.

In all of it states take turns: A, B, and A again, each an event of its own.
"""

from threading import Event

from tests.faults.broker_proxy import BrokerProxy, ProxiedBrokers
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage, Turns

HANG_SECONDS = 3.0
"""Longer than a request may take, whatever the scale: then the topics get a backlog."""


def there_and_back(stage: Stage) -> None:
    """All brokers are frozen for 3 s again and again: topics go from direct to backlog and back under load."""
    with stage.load(turns=Turns()):
        for _ in range(rounds(stage, 20)):
            stage.wait(20)
            for node in stage.cluster.nodes:
                node.pause()
            Event().wait(HANG_SECONDS)
            spooled = stage.daemon.metrics().value("aurora_bridge_backlog_events")
            stage.measured["most waiting at a thaw"] = max(spooled, stage.measured.get("most waiting at a thaw", 0))
            for node in stage.cluster.nodes:
                node.resume()
            stage.daemon.wait_until_drained()
        stage.wait(20)
    stage.expect(stage.measured["most waiting at a thaw"], "no topic ever had a backlog")


def late_copies(stage: Stage) -> None:
    """A connection is cut with requests under way; the daemon goes on, and then their copies arrive."""
    with stage.load(turns=Turns()):
        _copies_land_late(stage, crash=False)
        stage.wait(20)


def late_copies_after_a_crash(stage: Stage) -> None:
    """The same, with a kill -9 before the copies arrive: Kafka cannot recognise them, and takes them."""
    with stage.load():
        _copies_land_late(stage, crash=True)
        stage.wait(20)


def _copies_land_late(stage: Stage, *, crash: bool) -> None:
    late = 0
    for _ in range(rounds(stage, 20)):
        stage.wait(10)
        proxies = _proxies(stage)
        for proxy in proxies:
            proxy.hold()
        Event().wait(stage.random.uniform(0.05, 0.3))  # requests get under way
        if crash:
            stage.daemons[0].kill_and_start()
        for proxy in proxies:
            proxy.cut()
        Event().wait(stage.random.uniform(0, HANG_SECONDS))
        late += sum(proxy.release() for proxy in proxies)
    stage.expect(late, "nothing that was held back arrived late")
    stage.measured["connections with late requests"] = late


def acknowledgement_lost(stage: Stage) -> None:
    """Kafka's acknowledgements are lost and connections cut, again and again, while states go from A to B to A."""
    with stage.load(turns=Turns()):
        for round_ in range(rounds(stage, 20)):
            stage.wait(10)
            for proxy in _proxies(stage):
                proxy.lose_answers()
            Event().wait(HANG_SECONDS if round_ % 2 else 0.2)
            for proxy in _proxies(stage):
                proxy.cut()
        stage.wait(20)


def rounds(stage: Stage, full: int) -> int:
    """Return how many rounds are played of as many as `full` at scale 1."""
    return max(3, int(stage.span(full)))


def _proxies(stage: Stage) -> list[BrokerProxy]:
    assert isinstance(stage.cluster, ProxiedBrokers)
    return stage.cluster.proxies


SCENARIOS = [
    Scenario("19-direct-backlog-direct", there_and_back),
    Scenario("19-late-copies", late_copies, cluster=ProxiedBrokers),
    Scenario("19-late-copies-after-a-crash", late_copies_after_a_crash, cluster=ProxiedBrokers),
    Scenario("19-acknowledgement-lost", acknowledgement_lost, cluster=ProxiedBrokers),
    Scenario(
        "19-acknowledgement-lost-no-spool",
        acknowledgement_lost,
        cluster=ProxiedBrokers,
        settings={"spool__enabled": False},
    ),
]
