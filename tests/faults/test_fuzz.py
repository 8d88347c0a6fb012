"""What the fuzzer finds is kept: the least request that is answered wrongly, as a line of the corpus."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.faults.fuzz import KEPT, Fuzzer, meaning
from tests.faults.stage import AUTHENTICATED
from tests.samples.load import MALFORMED_TOKEN, Malformed
from tests.support.ports import HOST


class Faulty(BaseHTTPRequestHandler):
    """Says that whatever it is asked is its own fault."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_it_finds_is_kept_as_a_line_for_the_corpus(tmp_path: Path) -> None:
    with ThreadingHTTPServer((HOST, 0), Faulty) as server:
        Thread(target=server.serve_forever).start()
        fuzzer = Fuzzer(f"http://{HOST}:{server.server_port}", AUTHENTICATED, tmp_path)
        with pytest.raises(AssertionError, match=f"tests/samples/malformed.*{tmp_path / KEPT}"):
            fuzzer.run()
        server.shutdown()
    (line,) = (tmp_path / KEPT).read_text().splitlines()
    found = Malformed("found", **json.loads(line))
    assert found.statuses == [500]
    assert found.send.startswith("GET /lead_created?")
    assert f"X-Aurora-Webhook-Token: {MALFORMED_TOKEN}" in found.send


@pytest.mark.parametrize("nothing", ["source=", "source=,", "source=%252C", "project_id=%20"])
def test_a_code_without_letter_and_digit_tells_nothing(nothing: str) -> None:
    assert meaning(f"/lead_created?lead_id=%2561&{nothing}") == meaning("/lead_created?lead_id=%2561")


@pytest.mark.parametrize("something", ["source=a", "source=%2561", "status=,"])
def test_any_other_value_tells_something(something: str) -> None:
    assert meaning(f"/lead_created?lead_id=1&{something}") != meaning("/lead_created?lead_id=1")
