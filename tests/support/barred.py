"""What a test sees of a daemon whose way to Kafka is barred or free, from outside."""

import re
from pathlib import Path
from typing import Final
from uuid import uuid4

from confluent_kafka.admin import AclOperation

from tests.support.daemon import Daemon
from tests.support.secure import SecureCluster
from tests.support.topics import read_all

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "kafka.md"
ACL_COMMAND: Final = next(block for block in DOCUMENT.read_text().split("```") if "kafka-acls.sh" in block)
MINIMAL: Final = [AclOperation[word.upper()] for word in re.findall(r"--operation (\w+)", ACL_COMMAND)]
"""What the document says that the daemon needs of its topics."""


def deliver(daemon: Daemon, event: str = "project_created", attribute: str = "project_id") -> tuple[str, str]:
    """Deliver an event that nobody delivered before; return its key and what became of it."""
    response = daemon.get(f"/{event}?{attribute}={uuid4()}&source=app")
    assert response.status == 200
    return response.json["id"], response.json["outcome"]


def arrived(kafka: SecureCluster, topic: str) -> list[str]:
    return [(record.key or b"").decode() for record in read_all(kafka.plain, [topic])]


def problems(daemon: Daemon) -> set[str]:
    """Return the reasons for which the metric is 1."""
    return {
        dict(labels)["reason"]
        for (name, labels), value in daemon.metrics().items()
        if name == "aurora_bridge_kafka_problem" and value
    }


def told(daemon: Daemon, reason: str) -> list[str]:
    """Return what the log says about a reason."""
    return [line["message"] for line in daemon.log_lines() if line.get("reason") == reason]


def barred(daemon: Daemon, reason: str, words: str, about: str) -> None:
    """Check that the reason is told in metric, readiness and log, once there, while the daemon stays ready."""
    daemon.wait_until(f"the metric says {reason}", lambda daemon: reason in problems(daemon))
    status, document = daemon.ready()
    assert status == 200
    said = [line for line in document["reasons"] if words in line and about in line]
    assert len(said) == 1, document
    assert [line for line in told(daemon, reason) if words in line and about in line] != []


def fixed(daemon: Daemon) -> None:
    """Wait until all is well again: nothing waits, and nothing is complained of."""
    daemon.wait_until_connected()
    daemon.wait_until("no problem is left", lambda daemon: not problems(daemon))
    assert daemon.ready()[1]["reasons"] == []


def secrets_seen(daemon: Daemon, *secrets: str) -> list[str]:
    """Return those of the secrets that came out somewhere. The daemon must have ended, its state still be there."""
    outputs = [daemon.log.read_bytes(), *(path.read_bytes() for path in daemon.state.iterdir() if path.is_file())]
    return [secret for secret in secrets if any(secret.encode() in output for output in outputs)]
