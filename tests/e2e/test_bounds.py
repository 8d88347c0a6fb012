"""What is bounded, as a client meets it."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemon import PROGRAM, Daemon
from tests.support.http import Connection


def test_a_connection_too_many_is_closed_and_counted_and_the_others_go_on(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__max_connections=2) as daemon:
        with Connection(daemon.url) as first, Connection(daemon.url) as second:
            assert [connection.get("/-/healthy").status for connection in (first, second)] == [200, 200]
            with Connection(daemon.url) as third:
                assert third.ended()
            assert first.get("/lead_changed?lead_id=1").status == 200
        assert daemon.metrics().value("aurora_bridge_refusals_total", reason="overloaded") == 1


@pytest.mark.parametrize(
    ("limits", "warnings"), [("-Sn 200", 0), ("-n 200", 1)], ids=["which it may raise", "for good"]
)
def test_silent_connections_never_take_the_files_that_the_daemon_itself_needs(
    limits: str, warnings: int, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, log__level="warning")
    daemon.program = ["sh", "-c", f'ulimit {limits} && exec "$0" "$@"', PROGRAM]
    with daemon, ExitStack() as stack:
        connections = [stack.enter_context(Connection(daemon.url)) for _ in range(250)]
        assert connections[-1].ended() if warnings else connections[-1].get("/-/healthy").status == 200
        assert daemon.ready()[0] == 200
        overloaded = daemon.metrics().value("aurora_bridge_refusals_total", reason="overloaded")
        assert bool(overloaded) is bool(warnings)
        assert sum("open files" in line["message"] for line in daemon.log_lines()) == warnings
