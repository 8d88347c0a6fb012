"""The fixture, as a consumer's tests use it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import Request, urlopen

import pytest

from aurora_bridge.simulator.in_thread import Simulator
from aurora_bridge.simulator.subscriptions import RefusedError

pytest_plugins = ["aurora_bridge.simulator.pytest_plugin"]


class Consumer(HTTPServer):
    """Takes webhooks, and answers each with the next of its statuses, 200 once there are none."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.taken: list[str] = []
        self.statuses: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    server: Consumer

    def do_GET(self) -> None:
        self.server.taken.append(self.path)
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - likewise
        """Say nothing."""


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_consumer_that_was_away_gets_the_webhook_an_attempt_later(
    aurora_simulator: Simulator, consumer: Consumer
) -> None:
    consumer.statuses = [503]
    aurora_simulator.subscribe("agreement_status_changed", consumer.url)
    (delivery,) = aurora_simulator.trigger("agreement_status_changed", agreement_id="a-1", status="signed")
    assert delivery["state"] == "pending"
    aurora_simulator.advance(seconds=60)
    assert len(consumer.taken) == 2
    assert [attempt["status"] for attempt in aurora_simulator.ledger()[0]["attempts"]] == [503, 200]


def test_a_consumer_that_calls_aurora_reads_back_what_it_was_sent(
    aurora_simulator: Simulator, consumer: Consumer
) -> None:
    aurora_simulator.subscribe("agreement_status_changed", f"{consumer.url}/hook?agreement=<AGREEMENT_ID>")
    aurora_simulator.trigger("agreement_status_changed", agreement_id="a-1", status="signed")
    assert consumer.taken == ["/hook?agreement=a-1"]
    authorization = {"Authorization": f"Bearer {aurora_simulator.token}"}
    request = Request(f"{aurora_simulator.url}/tenants/t-1/agreements/a-1", headers=authorization)  # noqa: S310 - http
    with urlopen(request) as response:  # noqa: S310 - likewise
        assert json.load(response)["agreement"]["status"] == "signed"


def test_a_resend_comes_again_and_a_reset_forgets(aurora_simulator: Simulator, consumer: Consumer) -> None:
    aurora_simulator.subscribe("lead_created", consumer.url)
    aurora_simulator.trigger("lead_created")
    assert aurora_simulator.resend(hours=1) == 1
    assert len(consumer.taken) == 2
    aurora_simulator.reset()
    assert aurora_simulator.trigger("lead_created") == aurora_simulator.ledger() == []


def test_a_subscription_that_the_api_would_refuse_is_refused(aurora_simulator: Simulator) -> None:
    with pytest.raises(RefusedError, match="url_template"):
        aurora_simulator.subscribe("lead_created", "consumer.example.com")
