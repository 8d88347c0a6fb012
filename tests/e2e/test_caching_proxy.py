"""A real nginx that keeps every answer it may stands in front: each webhook gets to the daemon all the same."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.daemon import POLL_SECONDS, SECONDS, Daemon
from tests.support.http import get
from tests.support.ports import HOST, free_ports, is_free

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIG: Final = """
error_log {folder}/error.log;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    proxy_cache_path {folder}/cache keys_zone=all:1m;
    server {{
        listen {host}:{port};
        location / {{
            proxy_pass {upstream};
            proxy_cache all;
            proxy_cache_valid any 1h;
        }}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="install nginx (Debian: apt-get install nginx-light)")


@contextmanager
def caching(folder: Path, upstream: str) -> Iterator[str]:
    """Run nginx in front of a URL; yield its own."""
    (port,) = free_ports(1)
    file = folder / "nginx.conf"
    parts = urlsplit(upstream)
    file.write_text(CONFIG.format(folder=folder, host=HOST, port=port, upstream=f"http://{parts.netloc}"))
    arguments = [str(NGINX), "-p", str(folder), "-c", str(file), "-g", "daemon off; master_process off;"]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    try:
        deadline = monotonic() + SECONDS
        while is_free(port):
            assert process.poll() is None
            assert monotonic() < deadline
            sleep(POLL_SECONDS)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.mark.proves("An attacker cannot: have an answer kept by a cache")
def test_the_second_webhook_with_the_same_url_gets_to_the_daemon_too(tmp_path: Path) -> None:
    target = "/lead_created?lead_id=cdn"
    with Daemon(tmp_path) as daemon, caching(tmp_path, daemon.url) as url:
        outcomes = [get(url, target).json["outcome"] for _ in range(2)]
        assert [get(url, "/no/route").status for _ in range(2)] == [404, 404]
        assert [get(url, "/-/healthy").status for _ in range(2)] == [200, 200]
        metrics = daemon.metrics()
    assert outcomes == ["spooled", "duplicate"]
    assert metrics.value("aurora_bridge_refusals_total", reason="no_route") == 2
