"""Clients that do not wait, and a daemon that is asked to end while one waits."""

import signal
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.stores import Place, spooled
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.http import Connection, request


def target() -> str:
    """Return a target that nobody used before."""
    return f"/project_created?project_id={uuid4()}&source=app"


def test_a_delivery_is_kept_though_its_client_is_gone_before_the_answer(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        with Connection(daemon.url) as connection:
            connection.send(request(target()))
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_until("the event is kept", lambda daemon: spooled(daemon.state))
        assert daemon.get(target()).status == 200
        assert [line for line in daemon.log_lines() if line["level"] == "ERROR"] == []


def test_a_head_that_does_not_come_to_its_end_is_cut_off_in_time(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__keepalive_seconds=1) as daemon, Connection(daemon.url) as connection:
        connection.send(b"GET /lead_changed?lead_id=1 HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        assert connection.ended()


def test_clients_that_come_and_go_leave_no_descriptor_or_thread_behind(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        process = Path(f"/proc/{daemon.process.pid}")

        def held() -> Counter[str]:
            return Counter({kind: len(list((process / kind).iterdir())) for kind in ("fd", "task")})

        assert daemon.get(target()).status == 200
        first = held()
        for _ in range(50):
            with Connection(daemon.url) as connection:
                connection.send(request(target()))
        daemon.wait_until("all is kept", lambda daemon: len(spooled(daemon.state)) == 51)
        daemon.wait_until("no more is open than at first", lambda _: held() <= first)


@pytest.mark.slow
def test_what_is_in_flight_at_the_end_is_still_answered(kafka1: KafkaCluster, prefix: str, tmp_path: Path) -> None:
    place = Place(prefix, kafka1.bootstrap)
    with place.daemon(tmp_path) as daemon, Connection(daemon.url) as connection:
        place.settle(daemon)
        kafka1.nodes[0].pause()
        connection.send(request(target()))
        daemon.wait_until("it waits", lambda daemon: daemon.metrics().value("aurora_bridge_in_flight_deliveries"))
        daemon.process.terminate()
        response = connection.receive()
        code = daemon.terminate()
        kept = [stored.key for stored in spooled(daemon.state)]
    assert (response.status, response.json["outcome"], [response.json["id"]]) == (200, "spooled", kept)
    assert code == 0
