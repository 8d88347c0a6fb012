"""What is bounded, as a client meets it."""

import resource
import socket
import ssl
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.faults.process_stats import descriptors
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.daemon import PROGRAM, Daemon
from tests.support.http import Connection, get
from tests.support.ports import HOST

needs_certificates = pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)
SIEGE: Final = 900
"""Silent connections, held open."""
DROPPED: Final = "aurora_bridge_connections_dropped_total"


def besiege(stack: ExitStack, url: str, count: int = SIEGE) -> list[socket.socket]:
    """Connect so often, and say nothing."""
    parts = urlsplit(url)
    return [stack.enter_context(socket.create_connection((HOST, parts.port or 0))) for _ in range(count)]


def limited(folder: Path, limits: str, **settings: object) -> Daemon:
    """Return a daemon of which `ulimit` sets how many files it may have open."""
    daemon = Daemon(folder, log__level="warning", **settings)
    daemon.program = ["sh", "-c", f'ulimit {limits} && exec "$0" "$@"', PROGRAM]
    return daemon


def too_many(daemon: Daemon) -> list[str]:
    """Return the ports of which the log says that they have too many connections."""
    return [line["port"] for line in daemon.log_lines() if "too many connections" in line["message"]]


@pytest.mark.proves("An attacker can: Crowd out connections")
def test_who_waits_for_an_answer_is_not_closed_for_one_too_many(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__max_connections=2) as daemon:
        with Connection(daemon.url) as first, Connection(daemon.url) as second, Connection(daemon.url) as third:
            assert first.ended()
            assert [connection.get("/-/healthy").status for connection in (second, third)] == [200, 200]
            assert second.get("/lead_changed?lead_id=1").status == 200
        assert daemon.metrics().value(DROPPED, port="ingress", reason="limit") == 1


@pytest.mark.proves("An attacker cannot: exhaust the file descriptors that the daemon needs for Kafka")
@pytest.mark.parametrize(
    ("limits", "warnings"), [("-Sn 200", 0), ("-n 200", 1)], ids=["which it may raise", "for good"]
)
def test_silent_connections_never_take_the_files_that_the_daemon_itself_needs(
    limits: str, warnings: int, tmp_path: Path
) -> None:
    with limited(tmp_path, limits) as daemon, ExitStack() as stack:
        besiege(stack, daemon.url, 250)
        assert get(daemon.url, "/lead_changed?lead_id=1").status == 200
        assert daemon.ready()[0] == 200
        assert bool(daemon.metrics().value(DROPPED, port="ingress", reason="limit")) is bool(warnings)
        assert sum("open-file limit" in line["message"] for line in daemon.log_lines()) == warnings


@pytest.mark.proves("An attacker cannot: keep webhooks or probes out by connections that say nothing")
@needs_certificates
def test_silent_connections_to_a_tls_port_keep_out_neither_webhooks_nor_probes(tmp_path: Path) -> None:
    """They are no connections yet for TLS, and were not counted."""
    authority = Authority(tmp_path)
    pair = authority.sign("bridge", HOST)
    files = {"ingress__tls_certificate_file": pair, "ingress__tls_key_file": pair}
    with limited(tmp_path, "-n 400", ingress__max_connections=100, **files) as daemon, ExitStack() as stack:
        besiege(stack, daemon.url)
        client = HTTPSConnection(
            HOST, urlsplit(daemon.url).port, timeout=10, context=ssl.create_default_context(cafile=authority.file)
        )
        client.request("GET", "/lead_changed?lead_id=1")
        assert client.getresponse().status == 200
        client.close()
        assert daemon.ready()[0] == 200
        assert daemon.metrics().value(DROPPED, port="ingress", reason="limit") >= SIEGE - 100
        assert too_many(daemon) == ["ingress"]


@pytest.mark.proves("An attacker cannot: keep webhooks or probes out by connections that say nothing")
def test_silent_connections_to_the_admin_port_keep_out_neither_probes_nor_webhooks(tmp_path: Path) -> None:
    with limited(tmp_path, "-n 400") as daemon, ExitStack() as stack:
        besiege(stack, daemon.admin_url)
        assert daemon.ready()[0] == 200
        assert daemon.metrics().value(DROPPED, port="admin", reason="limit") > SIEGE / 2
        assert daemon.get("/lead_changed?lead_id=1").status == 200
        assert too_many(daemon) == ["admin"]


@pytest.mark.proves("An attacker cannot: keep webhooks or probes out by connections that say nothing")
def test_both_ports_besieged_at_once_serve(tmp_path: Path) -> None:
    with limited(tmp_path, "-n 200") as daemon, ExitStack() as stack:
        for url in (daemon.url, daemon.admin_url):
            besiege(stack, url, 400)
        assert daemon.get("/lead_changed?lead_id=1").status == 200
        assert daemon.ready()[0] == 200
        assert sorted(too_many(daemon)) == ["admin", "ingress"]


@pytest.mark.proves("An attacker cannot: exhaust the file descriptors that the daemon needs for Kafka")
def test_a_daemon_without_a_file_left_closes_silent_connections_and_goes_on(tmp_path: Path) -> None:
    """Whatever took them, and with whatever bounds: it does not cease to listen."""
    with Daemon(tmp_path, log__level="warning") as daemon, ExitStack() as stack:
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (descriptors(daemon) + 10, hard))
        besiege(stack, daemon.url, 30)
        assert daemon.get("/-/healthy").status == 200
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (descriptors(daemon) + 100, hard))
        assert daemon.metrics().value(DROPPED, port="ingress", reason="descriptors") > 0
        assert daemon.get("/lead_changed?lead_id=1").status == 200
        assert any("no connection can be accepted" in line["message"] for line in daemon.log_lines())
