"""What is bounded, as a client meets it."""

from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.http import Connection


def test_a_connection_too_many_is_closed_and_counted_and_the_others_go_on(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__max_connections=2) as daemon:
        with Connection(daemon.url) as first, Connection(daemon.url) as second:
            assert [connection.get("/-/healthy").status for connection in (first, second)] == [200, 200]
            with Connection(daemon.url) as third:
                assert third.ended()
            assert first.get("/lead_changed?lead_id=1").status == 200
        assert daemon.metrics().value("aurora_bridge_refusals_total", reason="overloaded") == 1
