"""The states in which people look at the status page: fresh, busy, without Kafka, with a full spool.

`tests/e2e/test_status_page.py` reads the page in each, `look` takes pictures of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.daemon import PATIENT, Daemon
from tests.support.http import Connection, request
from tests.support.node import KafkaNode
from tests.support.ports import HOST, free_ports

HEADER: Final = "X-Aurora-Webhook-Token"
TOKEN: Final = "canary-token"  # noqa: S105 - to be looked for
ROUTE_TOKEN: Final = "canary-route-token"  # noqa: S105
SCRIPT: Final = "%3Cscript%3Ealert(1)%3C/script%3E"
ROUTES: Final = f"""
[ingress]
public_url = "https://hooks.example.com"

[[routes]]
template = "/acme/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&token={ROUTE_TOKEN}"
event = "agreement_status_changed"
tenant = "acme"
"""


def states(folder: Path, node: KafkaNode, prefix: str) -> Iterator[tuple[str, Daemon]]:
    """Yield each state by name, with the daemon that is in it. At the end the node is down."""
    tokens, config = folder / "tokens", folder / "bridge.toml"
    tokens.write_text(f"old-{TOKEN}\n{TOKEN}\n")
    config.write_text(ROUTES)
    settings = {
        **PATIENT,
        "config": config,
        "auth__tokens_file": tokens,
        "kafka__bootstrap_servers": node.client,
        "kafka__topic_prefix": prefix,
    }
    with Daemon(folder, **settings) as daemon:
        daemon.wait_until_connected()
        yield "fresh", daemon
        be_busy(daemon)
        yield "busy", daemon
        node.kill()
        daemon.wait_until("Kafka is away", lambda d: not d.metrics().value("aurora_bridge_kafka_connected"))
        for number in range(12):
            deliver(daemon, f"/project_status_changed?project_id=away-{number}&status=sold")
        daemon.wait_until("the spool was looked at", lambda d: d.metrics().value("aurora_bridge_spool_oldest_seconds"))
        yield "kafka-down", daemon
    (nobody,) = free_ports(1)
    other = folder / "full"
    other.mkdir()
    with Daemon(
        other, **settings | {"kafka__bootstrap_servers": f"{HOST}:{nobody}", "spool__max_bytes": 200_000}
    ) as full:
        for number in range(30):
            deliver(full, f"/lead_changed?lead_id={number}&note={'x' * 8000}")
        full.wait_until("the spool was looked at", lambda d: d.metrics().value("aurora_bridge_spool_oldest_seconds"))
        yield "spool-full", full


def be_busy(daemon: Daemon) -> None:
    """Deliver of every kind: good ones, duplicates, dead letters, refused ones, and what tries to be markup."""
    for number in range(40):
        deliver(daemon, f"/lead_changed?lead_id={number}")
        deliver(daemon, f"/project_created?project_id={number}&note={SCRIPT}")
        deliver(daemon, f"/acme/v2/{number}?a=agreement-{number}&st=signed")
    deliver(daemon, "/project_created?project_id=1&source=app")
    deliver(daemon, "/project_created?project_id=1&source=app")
    deliver(daemon, "/roof_painted?roof_id=1")
    deliver(daemon, f"/{SCRIPT}?lead_id=%ff")
    for _ in range(20):
        deliver(daemon, "/lead_created?lead_id=%3CLEAD_ID%3E")
    deliver(daemon, "/lead_created?lead_id=%3CLEAD_ID%3E&session_token=canary-session")
    deliver(daemon, "/project_status_changed?project_id=a&project_id=b&token=canary-parameter")
    deliver(daemon, "/no/route?token=canary-lost")
    deliver(daemon, "/lead_changed?lead_id=1", token="canary-wrong")  # noqa: S106 - it is meant to be seen nowhere
    for data in (
        request("/lead_changed?lead_id=1", [(HEADER, TOKEN)]).replace(b"bridge.example", b"<script>alert(2)</script>"),
        b"canary-garbage\r\n\r\n",
    ):
        with Connection(daemon.url) as connection:
            connection.send(data)
            connection.receive()


def deliver(daemon: Daemon, target: str, *, token: str = TOKEN) -> None:
    """Send one delivery with a token."""
    daemon.get(target, [(HEADER, token)])
