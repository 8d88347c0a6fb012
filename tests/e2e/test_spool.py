"""The spool from outside: full, and found by a daemon that has a Kafka where the one before had none."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.load import Load, lost, out_of_order
from tests.e2e.stores import Place, spooled
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.ports import HOST, free_ports


@pytest.mark.proves("memory and files are bounded", "An attacker cannot: fill the volume with a valid credential")
def test_when_the_spool_is_full_and_kafka_away_deliveries_are_503_and_not_kept(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    settings = {"kafka__bootstrap_servers": f"{HOST}:{nobody}", "spool__max_bytes": 200_000}
    with Daemon(tmp_path, **settings) as daemon:
        answers = [daemon.get(f"/lead_changed?lead_id={uuid4()}&note={'x' * 8000}") for _ in range(40)]
        status, document = daemon.ready()
        kept = [stored.key for stored in spooled(daemon.state)]
    accepted = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert [answer.json["id"] for answer in accepted] == kept
    assert {(503, "30", "spool_full")} == {
        (answer.status, answer.headers["retry-after"], answer.json["reason"]) for answer in refused
    }
    assert (status, document["ready"]) == (503, False)


def test_the_embedded_log_drains_in_order_once_kafka_is_configured(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    load, place = Load(), Place(prefix, kafka.bootstrap)
    with Place().daemon(tmp_path) as embedded:
        with load.on(embedded.url):
            load.wait_for(500, "spooled")
        assert embedded.terminate() == 0
    with place.daemon(tmp_path) as daemon:
        with load.on(daemon.url):
            load.wait_for(100, "published")
        daemon.wait_until_drained()
        kept = place.read(daemon)
    assert {status for status, _, _ in load.outcomes()} == {200}
    assert lost(load.acknowledged, kept) == []
    assert out_of_order(load.acknowledged, kept) == {}
