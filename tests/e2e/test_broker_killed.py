"""kill -9 of the broker under load: every 2xx is kept, in order, and in the topics at the end."""

from pathlib import Path

import pytest

from tests.e2e.load import Load, lost, out_of_order
from tests.e2e.stores import Place
from tests.support.broker import KafkaCluster

pytestmark = [pytest.mark.slow, pytest.mark.brokers]


@pytest.mark.proves("events of a subject stay in order, through an outage too")
def test_with_a_spool_nothing_is_refused_lost_or_out_of_order(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    (node,), load = kafka1.nodes, Load()
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, "published")
            node.kill()
            load.wait_for(300, "spooled")
            assert daemon.ready()[0] == 200
            node.restart()
            load.wait_for(300, "published")
        daemon.wait_until_drained()
        kept = place.read(daemon)
    assert {(200, "published", None), (200, "spooled", None)} == load.outcomes().keys()
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert load.slowest < 8


@pytest.mark.proves("a 2xx means stored")
def test_without_a_spool_deliveries_are_refused_meanwhile_and_no_2xx_is_lost(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    (node,), load = kafka1.nodes, Load()
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path, spool__enabled=False) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, "published")
            node.kill()
            load.wait_for(30, "refused")
            daemon.wait_until("it is not ready", lambda daemon: daemon.ready()[0] == 503)
            node.restart()
            load.wait_for(300, "published")
        kept = place.read(daemon)
    assert {(200, "published", None), (503, "refused", "kafka_unavailable")} == load.outcomes().keys()
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert load.slowest < 8


@pytest.mark.proves("every answer leaves within 8 s")
def test_a_frozen_broker_holds_no_answer_up_beyond_its_deadline(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    (node,), load = kafka1.nodes, Load()
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, "published")
            node.pause()
            load.wait_for(300, "spooled")
            node.resume()
            load.wait_for(300, "published")
        daemon.wait_until_drained()
        kept = place.read(daemon)
    assert {(200, "published", None), (200, "spooled", None)} == load.outcomes().keys()
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert load.slowest < 5


@pytest.mark.proves("the start waits for nothing, and Kafka away is ready")
def test_an_outage_is_told_in_readiness_and_does_not_flood_the_log(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        lines = len(daemon.log_lines())
        kafka1.nodes[0].kill()
        assert daemon.get("/lead_changed?lead_id=1").json["outcome"] == "spooled"
        daemon.wait_until("the outage is told", lambda daemon: daemon.ready()[1]["reasons"])
        assert daemon.metrics().value("aurora_bridge_kafka_connected") == 0
        assert len(daemon.log_lines()) - lines < 50


def test_one_node_of_three_can_die_without_a_refusal(kafka3: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    load = Load()
    place = Place(prefix, kafka3.bootstrap)
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, "published")
            kafka3.nodes[0].kill()
            load.wait_for(2000, "published")
        daemon.wait_until_drained()
        kept = place.read(daemon)
    assert {status for status, _, _ in load.outcomes()} == {200}
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert load.slowest < 8
