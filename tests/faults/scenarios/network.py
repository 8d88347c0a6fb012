"""What a network does between daemon and brokers: it loses, forgets, parts and moves. Spans are those at scale 1."""

from time import monotonic
from typing import cast

from tests.faults.proxied import ProxiedCluster
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.support.proxy import Proxy


def acknowledgements_lost(stage: Stage) -> None:
    """Whatever the brokers say is lost for half a minute, while what the daemon sends arrives. Four times."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(4):
            stage.wait(20)
            cluster.tell(Proxy.lose_answers)
            stage.wait(30)
            cluster.tell(Proxy.cut)
        stage.wait(20)


def connections_half_open(stage: Stage) -> None:
    """Ten times all connections to the brokers are dead without either side being told; new ones work."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(10):
            stage.wait(20)
            cluster.tell(Proxy.forget)
        stage.wait(20)


def addresses_change(stage: Stage) -> None:
    """All brokers come back under other addresses; only the bootstrap list still leads to them. Twice."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(2):
            stage.wait(30)
            cluster.move()
            moved = monotonic()
            stage.daemon.wait_until_connected()
            stage.measured["found the new addresses after, s"] = monotonic() - moved
            stage.expect(monotonic() - moved < FOUND_SECONDS, f"the new addresses were not found in {FOUND_SECONDS} s")
        stage.wait(30)


FOUND_SECONDS = 15.0
"""The client is made anew after 5 s of silence; the rest is for what waits in the spool."""

SCENARIOS = [
    Scenario("08-acknowledgements-lost", acknowledgements_lost, cluster=ProxiedCluster),
    Scenario("08-connections-half-open", connections_half_open, cluster=ProxiedCluster),
    Scenario("08-addresses-change", addresses_change, cluster=ProxiedCluster),
]
