"""Brokers that give no producer ids: a real Kafka behind a proxy that takes them away, in either of two ways."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stores import Place, published
from tests.faults.frames import FrameProxy, Request
from tests.faults.proxied import ProxiedCluster
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.jars import possible
from tests.support.missing import unavailable

API_VERSIONS: Final = 18
INIT_PRODUCER_ID: Final = 22
UNSUPPORTED_VERSION: Final = 35
CHANGED: Final = "/lead_changed?lead_id={}"
_HEAD = struct.Struct(">hi")
"""Of an ApiVersionsResponse: error code, and number of the entries that follow."""
_ENTRY = struct.Struct(">hhh")
"""API key, and the versions of it."""

pytestmark = pytest.mark.slow


class NoProducerIds(FrameProxy):
    """Of a broker that gives none: it does not know the request, or knows it and refuses it."""

    refuses = False

    def response(self, request: Request, body: bytes) -> bytes:
        """Return the response without what this broker has not."""
        if request.api == API_VERSIONS and not self.refuses:
            return _without(INIT_PRODUCER_ID, body)
        if request.api == INIT_PRODUCER_ID:
            assert self.refuses
            return struct.pack(">ihqh", 0, UNSUPPORTED_VERSION, -1, -1)
        return body


def _without(api: int, body: bytes) -> bytes:
    code, count = _HEAD.unpack_from(body)
    end = _HEAD.size + count * _ENTRY.size
    left = [entry for entry in _ENTRY.iter_unpack(body[_HEAD.size : end]) if entry[0] != api]
    assert len(left) == count - 1
    return _HEAD.pack(code, len(left)) + b"".join(_ENTRY.pack(*entry) for entry in left) + body[end:]


@pytest.fixture(scope="module")
def cluster(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[ProxiedCluster]:
    """A broker that gives no producer ids."""
    if not possible():
        unavailable("no Apache Kafka")
    with ProxiedCluster(1, NoProducerIds) as cluster:
        brokers.append(cluster)
        yield cluster
        brokers.remove(cluster)


def problem(daemon: Daemon) -> float:
    """Return whether the daemon says that there are none."""
    return daemon.metrics().value("aurora_bridge_kafka_problem", reason="producer_id_unavailable")


def is_drained(daemon: Daemon) -> bool:
    """Whether nothing waits in the spool."""
    return daemon.metrics().value("aurora_bridge_spool_events") == 0


@pytest.mark.parametrize("refuses", [False, True], ids=["unknown", "refused"])
def test_without_producer_ids_events_wait_with_the_remedy_which_has_them_published(
    cluster: ProxiedCluster, prefix: str, tmp_path: Path, *, refuses: bool
) -> None:
    cluster.tell(lambda proxy: setattr(proxy, "refuses", refuses))
    place = Place(prefix, cluster.bootstrap)
    with place.daemon(tmp_path) as daemon:
        waiting = [daemon.get(CHANGED.format(number)).json for number in range(3)]
        assert {answer["outcome"] for answer in waiting} == {"spooled"}
        daemon.wait_until("it is told", problem)
        (reason,) = (reason for reason in daemon.ready()[1]["reasons"] if "producer id" in reason)
        assert "AURORA_BRIDGE_KAFKA__IDEMPOTENCE=false" in reason
        assert daemon.terminate() == 0
    assert published(cluster.plain, prefix) == []
    with place.daemon(tmp_path, kafka__idempotence=False) as daemon:
        daemon.wait_until_connected()
        more = [daemon.get(CHANGED.format(number)).json for number in range(3, 6)]
        daemon.wait_until("all is published", is_drained)
        assert problem(daemon) == 0
        assert daemon.metrics().value("aurora_bridge_producer_ids_total") == 0
        keys = [stored.key for stored in published(cluster.plain, prefix)]
        assert sorted(keys) == sorted(answer["id"] for answer in (*waiting, *more))
