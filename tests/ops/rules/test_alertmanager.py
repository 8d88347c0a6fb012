"""The example of grafana/alertmanager.yaml in a real Alertmanager: one outage is one page."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import Any, Final

import pytest
import yaml

from tests.ops.rules.test_rules import ALERTS, REPOSITORY
from tests.support.ports import HOST, free_ports

EXAMPLE: Final = REPOSITORY / "grafana" / "alertmanager.yaml"
SECONDS: Final = 60.0
RELEASE: Final = {"namespace": "crm", "job": "aurora-bridge"}
PODS: Final = [{"pod": f"aurora-bridge-{number}"} for number in range(3)]
EVENTS: Final = [{"route": "default", "event": event} for event in ("lead_created", "lead_changed", "project_created")]

OUTAGES: Final[dict[str, tuple[dict[str, list[dict[str, str]]], set[str], set[str]]]] = {
    "Kafka is away until the spools are full": (
        {
            "KafkaProblem": [{}],
            "SpoolFull": PODS,
            "IndexDegraded": [{}],
            "BudgetBurn": [{}],
            "AutoDisable": EVENTS,
            "EventSilent": EVENTS,
        },
        {"SpoolFull"},
        {"KafkaProblem", "IndexDegraded"},
    ),
    "Kafka is away, and there is no spool": (
        {"KafkaProblem": [{}], "NotReady": [{}], "BudgetBurn": [{}], "AutoDisable": EVENTS, "Silent": [{}]},
        {"NotReady"},
        {"KafkaProblem"},
    ),
    "no replica runs": (
        {"Down": [{}], "Unreachable": [{"probe": "aurora-bridge"}], "Silent": [{}], "EventSilent": EVENTS},
        {"Down"},
        set(),
    ),
    "a rotation gone wrong": (
        {"Unauthorized": EVENTS[:1], "AutoDisable": EVENTS[:1], "EventSilent": EVENTS[:1]},
        {"Unauthorized"},
        set(),
    ),
    "two things at once": (
        {"Unauthorized": EVENTS[:1], "AutoDisable": EVENTS[1:2], "DeadLetters": [{"reason": "not_utf8"}]},
        {"Unauthorized", "AutoDisable"},
        {"DeadLetters"},
    ),
}
"""What fires, at each of its severities, by what happens; what of it wakes somebody, and what can wait till morning."""


def test_every_alert_that_the_example_names_is_one_of_the_rules() -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    for rule in example["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, pattern = matcher.removesuffix('"').replace("=~", "=").split('="')
            if label == "alertname":
                names = pattern.removeprefix("AuroraBridge").strip("()").split("|")
                assert {f"AuroraBridge{name}" for name in names} <= ALERTS.keys()
            else:
                assert (label, pattern) in {("severity", "critical"), ("severity", "warning")}


@pytest.mark.ops
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_one_page(outage: str, program: Callable[[str], str], tmp_path: Path) -> None:
    firing, pages, tickets = OUTAGES[outage]
    with ExitStack() as stack:
        received: dict[str, Queue[dict[str, Any]]] = {name: Queue() for name in ("pager", "tickets")}
        urls = {name: stack.enter_context(receiver(queue)) for name, queue in received.items()}
        manager = stack.enter_context(alertmanager(program("prometheus-alertmanager"), tmp_path, urls))
        alerts = [
            {"labels": {"alertname": f"AuroraBridge{name}", **rule["labels"], **RELEASE, **labels}}
            for name, each in firing.items()
            for rule in ALERTS[f"AuroraBridge{name}"]
            for labels in each
        ]
        fire(manager, [*alerts, OF_ANOTHER])
        expected = {"pager": 2, "tickets": int(bool(tickets))}
        told = {name: messages(queue, expected[name]) for name, queue in received.items()}
    ours = {name: [one for one in found if one["groupLabels"] == RELEASE] for name, found in told.items()}
    assert [names(one) for one in ours["pager"]] == [pages]
    assert [names(one) for one in ours["tickets"]] == ([tickets] if tickets else [])


OF_ANOTHER: Final = {
    "labels": {"alertname": "AuroraBridgeSilent", "severity": "critical", "namespace": "test", "job": "aurora-bridge"}
}
"""Of another release, which what happens to this one does not hide."""


def names(message: dict[str, Any]) -> set[str]:
    return {alert["labels"]["alertname"].removeprefix("AuroraBridge") for alert in message["alerts"]}


def messages(queue: "Queue[dict[str, Any]]", count: int) -> list[dict[str, Any]]:
    """Return so many messages, and those that come within a second more than that."""
    found = [queue.get(timeout=SECONDS) for _ in range(count)]
    with suppress(Empty):
        while True:
            found.append(queue.get(timeout=1))
    return found


@contextmanager
def receiver(queue: "Queue[dict[str, Any]]") -> Iterator[str]:
    """Take messages; the URL for them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queue.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/"
        server.shutdown()


@contextmanager
def alertmanager(program: str, folder: Path, urls: dict[str, str]) -> Iterator[str]:
    """Run an Alertmanager with the example, but for its receivers and its patience; its address."""
    config = yaml.safe_load(EXAMPLE.read_text())
    config["route"]["group_wait"] = "1s"
    for each in config["receivers"]:
        each["webhook_configs"] = [{"url": urls[each["name"]]}]
    file = folder / "alertmanager.yaml"
    file.write_text(json.dumps(config))
    (port,) = free_ports(1)
    address = f"{HOST}:{port}"
    storage = f"--storage.path={folder / 'data'}"
    command = [
        program,
        f"--config.file={file}",
        storage,
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = monotonic() + SECONDS
        while not answers(address):
            assert process.poll() is None
            assert monotonic() < deadline
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def answers(address: str) -> bool:
    with suppress(OSError):
        return ask(address, "GET", "/-/ready") == 200
    return False


def fire(address: str, alerts: list[dict[str, Any]]) -> None:
    assert ask(address, "POST", "/api/v2/alerts", json.dumps(alerts)) == 200


def ask(address: str, method: str, path: str, body: str | None = None) -> int:
    connection = HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
