"""What a network does between daemon and brokers: it loses, forgets, parts and moves. Spans are those at scale 1.

A lossy one is what Jepsen's `net/flaky!` and Kafka's Trogdor (`DegradedNetworkFaultSpec`) make with netem. That is not
in every kernel, so iptables loses and doubles here; a packet that was lost comes again behind later ones.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import cast

from tests.faults.netns import Wall
from tests.faults.proxied import ProxiedCluster
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.support.broker import KafkaCluster
from tests.support.proxy import Proxy


def acknowledgements_lost(stage: Stage) -> None:
    """Whatever the brokers say is lost for half a minute, while what the daemon sends arrives. Four times."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(4):
            stage.wait(20)
            with _felt(stage):
                cluster.tell(Proxy.lose_answers)
                stage.wait(30)
            cluster.tell(Proxy.cut)
            stage.fixed()
        stage.wait(20)


def connections_half_open(stage: Stage) -> None:
    """Ten times all connections to the brokers are dead without either side being told; new ones work."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(10):
            stage.wait_until_usual()  # else there may be no connection that could be forgotten
            with _felt(stage):
                cluster.tell(Proxy.forget)
                stage.wait(20)


def network_slow(stage: Stage) -> None:
    """Everything between daemon and brokers takes a quarter of a second longer, either way, for two minutes."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        stage.wait_until_usual()
        cluster.tell(lambda proxy: setattr(proxy, "delay_seconds", DELAY_SECONDS))
        slow = monotonic() + LOOK_SECONDS
        stage.wait(120)
        answers = [line for line in stage.answers(slow) if '"published"' in line["body"]]
        begun = [line["seconds"] for line in answers if line["at"] - line["seconds"] > slow]
        fastest = min(begun, default=0.0)
        stage.measured["fastest publish over the slow network, s"] = round(fastest, 2)
        stage.expect(fastest >= 2 * DELAY_SECONDS, f"a publish took {fastest:.2f} s: the network was not slow")
        cluster.tell(lambda proxy: setattr(proxy, "delay_seconds", 0.0))
        stage.fixed()
        stage.wait(20)


def network_lossy(stage: Stage) -> None:
    """Of the packets between daemon and brokers, 5 % are lost and 5 % come twice, for two minutes."""
    wall = Wall()
    with stage.load():
        stage.wait(20)
        before = tcp_counts()
        wall.leak(stage.cluster.nodes, LEAK)
        stage.wait(120)
        wall.fall()
        stage.fixed()
        counts = tcp_counts() - before
        stage.wait(20)
    for name, words in TOLD.items():
        stage.measured[words] = counts[name]
        stage.expect(counts[name], f"{words}: none, so nothing was tried")


def tcp_counts() -> Counter[str]:
    """Return what the system counts of TCP in this network namespace (proc_net(5))."""
    counts: Counter[str] = Counter()
    for table in ("snmp", "netstat"):
        lines = [line.split() for line in Path("/proc/net", table).read_text().splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            if names[0].startswith("Tcp"):
                counts.update(dict(zip(names[1:], map(int, values[1:]), strict=True)))
    return counts


def addresses_change(stage: Stage) -> None:
    """All brokers come back under other addresses; only the bootstrap list still leads to them. Twice."""
    cluster = cast("ProxiedCluster", stage.cluster)
    with stage.load():
        for _ in range(2):
            stage.wait(30)
            with _felt(stage):
                cluster.move()
            stage.fixed()
            moved = monotonic()
            stage.daemon.wait_until_connected()
            seconds = monotonic() - moved
            words = "found the new addresses after at most, s"
            stage.measured[words] = max(stage.measured.get(words, 0.0), round(seconds, 2))
            stage.expect(seconds < FOUND_SECONDS, f"the new addresses were not found in {FOUND_SECONDS} s")
        stage.wait(30)


def parted_from_all(stage: Stage) -> None:
    """The network between daemon and brokers drops everything for a minute, three times."""
    wall = Wall()
    with stage.load():
        for _ in range(3):
            stage.wait(20)
            with _felt(stage):
                wall.before(stage.cluster.nodes)
                stage.wait(60)
            wall.fall()
            stage.fixed()
        stage.wait(20)


def parted_from_one(stage: Stage) -> None:
    """The network between the daemon and one broker drops everything for a minute; brokers see each other. For each."""
    wall = Wall()
    with stage.load():
        for node in stage.cluster.nodes:
            stage.wait(20)
            with _felt(stage):
                wall.before([node])
                stage.wait(60)
            wall.fall()
            stage.fixed()
        stage.wait(20)


def brokers_parted(stage: Stage) -> None:
    """One broker is parted from the others for a minute: both ways, then only into it, then only out of it."""
    wall, nodes = Wall(), stage.cluster.nodes
    with stage.load():
        for node, (into, out) in zip(nodes, ((True, True), (True, False), (False, True)), strict=True):
            stage.wait(20)
            with _felt(stage):
                wall.around(node, nodes, into=into, out=out)
                stage.wait(60)
            wall.fall()
            stage.fixed()
            stage.cluster.wait_until_ready()
        stage.wait(20)


@contextmanager
def _felt(stage: Stage) -> Iterator[None]:
    """Go on until the daemon counts an error of publishing, which what the block does has to bring about."""
    before = _errors(stage)
    yield
    deadline = monotonic() + FELT_SECONDS
    while _errors(stage) == before and monotonic() < deadline:
        Event().wait(LOOK_SECONDS)
    stage.expect(_errors(stage) > before, "the daemon was not disturbed: the network did nothing")


def _errors(stage: Stage) -> float:
    return stage.daemon.metrics().value("aurora_bridge_publish_errors_total")


def grouped(nodes: int) -> KafkaCluster:
    """Return a cluster in which the packets of each broker can be told from others'."""
    cluster = KafkaCluster(nodes)
    for node in cluster.nodes:
        node.group = FIRST_GROUP + node.number
    return cluster


FIRST_GROUP = 47_000
"""Groups that nobody has."""
DELAY_SECONDS = 0.25
LEAK = 0.05
TOLD = {"RetransSegs": "packets sent again", "TCPDSACKOldSent": "packets that came twice"}
FELT_SECONDS = 10.0
"""A request ends after 2.5 s without an answer; the rest is for a busy machine."""
LOOK_SECONDS = 0.1
FOUND_SECONDS = 15.0
"""The client is recreated after 5 s of silence; the rest is for what waits in the spool."""

SCENARIOS = [
    Scenario("08-acknowledgements-lost", acknowledgements_lost, cluster=ProxiedCluster),
    Scenario("08-connections-half-open", connections_half_open, cluster=ProxiedCluster),
    Scenario("08-network-slow", network_slow, cluster=ProxiedCluster),
    Scenario("08-network-lossy", network_lossy, netns=True),
    Scenario("08-addresses-change", addresses_change, cluster=ProxiedCluster),
    Scenario("08-parted-from-all", parted_from_all, netns=True),
    Scenario("08-parted-from-one", parted_from_one, netns=True),
    Scenario("08-brokers-parted", brokers_parted, netns=True, cluster=grouped),
]
