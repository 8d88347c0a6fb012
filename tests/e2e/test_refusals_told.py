"""The log alone tells why a delivery was refused, from where, and what to do. So does the status page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import http
from tests.support.daemon import Daemon

HEADER: Final = "X-Aurora-Webhook-Token"
CLIENT: Final = "203.0.113.9"
FORWARDED: Final = ("X-Forwarded-For", f"198.51.100.1, {CLIENT}")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that wants a token, behind a proxy on this machine."""
    tokens = tmp_path / "tokens"
    tokens.write_text("good-token\n")
    with Daemon(tmp_path, auth__tokens_file=tokens, ingress__trusted_proxies="127.0.0.0/8") as daemon:
        yield daemon


def lines(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the lines about refusals; another request's answer comes behind the line of the last one."""
    daemon.get("/-/healthy")
    return [line for line in daemon.log_lines() if line["message"] == "delivery refused"]


def page(daemon: Daemon) -> str:
    return http.get(daemon.admin_url, "/").body.decode()


@pytest.mark.parametrize(
    ("headers", "credential"), [([], "missing"), ([(HEADER, "canary")], "wrong")], ids=["missing", "wrong"]
)
def test_a_401(daemon: Daemon, headers: list[tuple[str, str]], credential: str) -> None:
    assert daemon.get("/lead_created?lead_id=canary", [*headers, FORWARDED]).status == 401
    (line,) = lines(daemon)
    expected = {
        "reason": "unauthorized",
        "credential": credential,
        "client": CLIENT,
        "path": "/lead_created",
        "route": "default",
        "event": "lead_created",
    }
    assert expected.items() <= line.items()
    assert "the subscription's authentication" in line["remedy"]
    assert "<title>Look: Nothing that was let in is being lost" in page(daemon)
    assert f"unauthorized, /lead_created from {CLIENT}" in page(daemon)
    assert "canary" not in page(daemon) + str(line)


def test_a_404_of_auroras(daemon: Daemon) -> None:
    assert daemon.get("/hooks/lead_created?token=canary", [FORWARDED]).status == 404
    (line,) = lines(daemon)
    assert {"reason": "no_route", "client": CLIENT, "path": "/hooks/lead_created"}.items() <= line.items()
    assert "INGRESS__BASE_PATH" in line["remedy"]
    assert f"no_route, /hooks/lead_created from {CLIENT}" in page(daemon)
    assert "canary" not in page(daemon) + str(line)


@pytest.mark.proves("An attacker cannot: turn the status page amber by scanning")
def test_a_scanner_is_told_and_troubles_nobody(daemon: Daemon) -> None:
    assert [daemon.get(path).status for path in ("/wp-login.php", "/admin")] == [404, 401]
    assert [line["path"] for line in lines(daemon)] == ["/wp-login.php", "/admin"]
    assert "<title>Good: Nothing is being lost" in page(daemon)
    assert "/wp-login.php" in page(daemon)


def test_what_is_no_http(daemon: Daemon) -> None:
    with http.Connection(daemon.url) as connection:
        connection.send(b"\x16\x03\x01canary\r\n\r\n")
        assert connection.receive().status == 400
    (line,) = lines(daemon)
    assert (line["reason"], line["client"]) == ("malformed_http", "127.0.0.1")
    assert "TLS" in line["remedy"]
