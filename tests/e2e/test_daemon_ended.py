"""The daemon's end under load, crash or not: every 2xx is kept, in order."""

from pathlib import Path

import pytest

from tests.e2e.load import Load, lost, out_of_order
from tests.e2e.stores import Place, spooled
from tests.support.broker import KafkaCluster

CRASHES = 4


@pytest.mark.proves("a 2xx means stored")
def test_kill_9_again_and_again_loses_no_2xx_and_no_order(place: Place, tmp_path: Path) -> None:
    load = Load()
    daemon = place.daemon(tmp_path, kafka__partitions=None)
    for _ in range(CRASHES):
        with daemon, load.on(daemon.url):
            load.wait_for(200, "published", "spooled")
            daemon.kill()
    with daemon:
        if place.bootstrap:
            daemon.wait_until_drained()
        kept = place.read(daemon)
    assert {status for status, _, _ in load.outcomes()} == {200}
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}


def test_sigterm_ends_the_daemon_in_order_and_loses_no_2xx(place: Place, tmp_path: Path) -> None:
    load = Load()
    with place.daemon(tmp_path, kafka__partitions=None) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, place.outcome)
            code = daemon.terminate()
        kept = [*place.read(daemon), *spooled(daemon.state)]
    assert code == 0
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
    assert [line for line in daemon.log_lines() if line["level"] in {"ERROR", "CRITICAL"}] == []
    assert "Kafka is away" not in {line["message"] for line in daemon.log_lines()}


@pytest.mark.slow
def test_sigterm_while_kafka_is_away_loses_no_2xx(kafka1: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    load = Load()
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path, kafka__partitions=None) as daemon:
        place.settle(daemon)
        with load.on(daemon.url):
            load.wait_for(300, "published")
            kafka1.nodes[0].kill()
            load.wait_for(100, "spooled")
            code = daemon.terminate()
        kafka1.nodes[0].restart()
        kept = [*place.read(daemon), *spooled(daemon.state)]
    assert code == 0
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
