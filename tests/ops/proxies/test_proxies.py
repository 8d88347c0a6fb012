"""Two parsers in a row: a proxy that passes on whatever it can, and the daemon, agree on what is a request."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import pytest

from tests.e2e.stores import spooled
from tests.samples.load import MALFORMED_TOKEN, Malformed, load_malformed
from tests.support.daemon import Daemon
from tests.support.http import Connection, get
from tests.support.ports import HOST, free_ports, is_free

GOOD: Final = [("X-Aurora-Webhook-Token", MALFORMED_TOKEN)]
CASES: Final = [case for case in load_malformed() if len(case.data) < 10_000]
"""Above that, what counts is which of the two has the smaller buffer."""

NGINX: Final = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    log_format passed_on $upstream_status;
    access_log passed.log passed_on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ignore_invalid_headers off;
    underscores_in_headers on;
    merge_slashes off;
    upstream bridge {{
        server {daemon};
        keepalive 8;
    }}
    server {{
        listen {proxy};
        location / {{
            proxy_pass http://bridge;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream error;
            proxy_ignore_client_abort on;
        }}
    }}
}}
"""
HAPROXY: Final = """
global
    log stdout format raw local0
defaults
    mode http
    log global
    log-format %s
    retries 1
    retry-on conn-failure empty-response
    http-reuse always
    timeout connect 5s
    timeout client 5s
    timeout server 15s
    option accept-invalid-http-request
frontend in
    bind {proxy}
    default_backend out
backend out
    server bridge {daemon}
"""


class Proxy(NamedTuple):
    """A proxy in front of the daemon."""

    url: str
    log: Path
    """A line a request; those that were passed on have no `not_passed_on` in theirs.

    One that met a connection which the daemon had just closed is sent once more, and still has one line.
    """
    not_passed_on: str

    def passed_on(self) -> int:
        """Return how many requests the daemon was sent."""
        return sum(self.not_passed_on not in line for line in self.log.read_text().splitlines())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that wants a token."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{MALFORMED_TOKEN}\n")
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        yield daemon


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(
    request: pytest.FixtureRequest, program: Callable[[str], str], daemon: Daemon, tmp_path: Path
) -> Iterator[Proxy]:
    """A real proxy, as lenient as its settings allow, that keeps its connections to the daemon."""
    (port,) = free_ports(1)
    addresses = {"daemon": daemon.url.removeprefix("http://"), "proxy": f"{HOST}:{port}"}
    log = tmp_path / "passed.log"
    if request.param == "nginx":
        (tmp_path / "conf").write_text(NGINX.format(**addresses))
        command, not_passed_on = [program("nginx"), "-p", str(tmp_path), "-c", "conf"], "-"
    else:
        (tmp_path / "conf").write_text(HAPROXY.format(**addresses))
        command, not_passed_on = [program("haproxy"), "-db", "-f", str(tmp_path / "conf")], "<NOSRV>"
    with running(command, log):
        daemon.wait_until("the proxy listens", lambda _: not is_free(port))
        yield Proxy(f"http://{HOST}:{port}", log, not_passed_on)


@contextmanager
def running(command: list[str], output: Path) -> Iterator[None]:
    with output.open("ab") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            yield
        finally:
            process.terminate()


def answered(daemon: Daemon) -> float:
    """Return how many requests the daemon found, also those that were none."""
    metrics = daemon.metrics()
    return metrics.value("aurora_bridge_deliveries_total") + sum(
        metrics.value("aurora_bridge_refusals_total", reason=reason)
        for reason in ("malformed_http", "malformed_with_credential")
    )


def send(url: str, case: Malformed) -> None:
    """Send a case and nothing more, and listen to the end."""
    with Connection(url) as connection, suppress(ConnectionError):
        connection.send(case.data)
        connection.end()
        while True:
            connection.receive()


@pytest.mark.proves("An attacker cannot: hide a second request in the body")
@pytest.mark.ops
def test_a_proxy_and_the_daemon_agree_on_what_is_a_request(daemon: Daemon, proxy: Proxy) -> None:
    """After each case they have counted alike, and the next client gets the answer to its own request."""
    before, ids = answered(daemon), {}
    for case in CASES:
        send(proxy.url, case)
        lead = uuid4().hex
        ids[get(proxy.url, f"/lead_created?lead_id={lead}", GOOD).json["id"]] = lead
        daemon.wait_until(f"both count alike: {case}", lambda daemon: answered(daemon) - before == proxy.passed_on())
    events = [stored.event for stored in spooled(daemon.state)]
    assert {event["id"]: event["data"]["lead_id"] for event in events if event["id"] in ids} == ids
    assert "\u00e9" in {event["data"].get("lead_id") for event in events}  # raw, as the proxy passed it on
