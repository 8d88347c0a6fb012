"""Behind a proxy that passes on TCP: the client is known, also under TLS, and no stranger is believed."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import certificates, http
from tests.support.certificates import Authority
from tests.support.daemon import Daemon
from tests.support.ports import HOST

CLIENT: Final = "203.0.113.9"
LINE: Final = f"PROXY TCP4 {CLIENT} 198.51.100.1 51234 443\r\n".encode()
REQUEST: Final = http.request("/lead_created?lead_id=1")


@contextmanager
def behind_proxy(folder: Path, trusted: str = "127.0.0.0/8", **more: object) -> Iterator[Daemon]:
    tokens = folder / "tokens"
    tokens.write_text("good-token\n")
    settings = {"ingress__proxy_protocol": True, "ingress__trusted_proxies": trusted, "auth__tokens_file": tokens}
    with Daemon(folder, **settings | more) as daemon:
        yield daemon


def port(daemon: Daemon) -> int:
    return int(daemon.url.rpartition(":")[2])


def refused(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the lines about refusals; the page's answer comes behind that of the last one."""
    http.get(daemon.admin_url, "/")
    return [line for line in daemon.log_lines() if line["message"] == "delivery refused"]


@pytest.mark.parametrize(
    ("header", "client"), [(b"", CLIENT), (b"X-Forwarded-For: 198.51.100.7\r\n", CLIENT)], ids=["alone", "forged"]
)
def test_the_client_is_whom_the_proxy_names(tmp_path: Path, header: bytes, client: str) -> None:
    with behind_proxy(tmp_path) as daemon, http.Connection(daemon.url) as connection:
        connection.send(LINE + REQUEST.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n"))
        assert connection.receive().status == 401
        assert [line["client"] for line in refused(daemon)] == [client]


def test_an_http_proxy_behind_the_tcp_proxy_is_looked_through(tmp_path: Path) -> None:
    with behind_proxy(tmp_path, f"127.0.0.0/8,{CLIENT}") as daemon, http.Connection(daemon.url) as connection:
        connection.send(LINE + REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"))
        assert connection.receive().status == 401
        assert [line["client"] for line in refused(daemon)] == ["198.51.100.7"]


@pytest.mark.proves("An attacker cannot: hide where it comes from behind a header")
def test_a_stranger_is_not_believed(tmp_path: Path) -> None:
    with behind_proxy(tmp_path, "192.0.2.1") as daemon, http.Connection(daemon.url) as connection:
        connection.send(LINE + REQUEST)
        assert connection.receive().status == 401
        assert [line["client"] for line in refused(daemon)] == [HOST]


def test_without_it_a_connection_is_closed_and_the_log_says_so(tmp_path: Path) -> None:
    with behind_proxy(tmp_path) as daemon, http.Connection(daemon.url) as connection:
        connection.send(REQUEST)
        assert connection.ended()
        assert daemon.metrics().value("aurora_bridge_connections_dropped_total", reason="handshake") == 1
        (line,) = [line for line in daemon.log_lines() if "PROXY protocol" in line["message"]]
        assert line["peer"] == HOST


@pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)
def test_it_stands_before_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem = authority.sign("bridge", "bridge")
    context = ssl.create_default_context(cafile=str(authority.file))
    tls = behind_proxy(tmp_path, ingress__tls_certificate_file=pem, ingress__tls_key_file=pem)
    with tls as daemon, socket.create_connection((HOST, port(daemon)), 30) as plain:
        plain.sendall(LINE)
        with context.wrap_socket(plain, server_hostname=HOST) as client:
            client.sendall(REQUEST)
            assert client.recv(100).startswith(b"HTTP/1.1 401")
        assert [line["client"] for line in refused(daemon)] == [CLIENT]
