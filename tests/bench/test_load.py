import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from threading import Event, Thread
from typing import Final

import pytest

from bench import load
from bench.load import Load, webhooks

Answer = Callable[[int], bytes]
"""What the server sends back, by the number of the request; nothing: it hangs up."""

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    numbers = count()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                while line := self.rfile.readline():
                    if line == b"\r\n":
                        response = answer(next(numbers))
                        if not response:
                            return
                        self.wfile.write(response)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()


def requests(number: int) -> list[bytes]:
    return list(islice(webhooks(), number))


@pytest.mark.parametrize("rate", [None, 2000.0])
def test_every_webhook_ends_by_its_status(rate: float | None) -> None:
    with server(lambda number: BUSY if number < 3 else OK) as port, Load(port, connections=4) as sent:
        sent.run(requests(50), rate)

    assert sent.outcomes == {"200": 47, "503": 3}
    assert len(sent.latencies) == 50


def test_what_goes_down_with_its_connection_is_lost() -> None:
    with server(lambda number: b"" if number == 5 else OK) as port, Load(port, connections=2) as sent:
        sent.run(requests(20), None)

    assert sent.outcomes == {"200": 19, "lost": 1}


def test_after_a_silence_the_rest_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SILENCE_SECONDS", 0.5)
    over = Event()

    def answer(number: int) -> bytes:
        if number == 5:
            over.wait()
        return OK

    with server(answer) as port, Load(port, connections=1) as sent:
        sent.run(requests(20), None)
        over.set()

    assert sent.outcomes == {"200": 5, "unanswered": 15}


def test_by_the_clock_the_wait_for_a_connection_is_part_of_the_latency() -> None:
    """A server that stands still once shows in all that falls due meanwhile, not only in the webhook that it holds."""

    def answer(number: int) -> bytes:
        if number == 0:
            time.sleep(0.2)
        return OK

    with server(answer) as port, Load(port, connections=1) as sent:
        sent.run(requests(100), 1000.0)

    assert min(sent.latencies) > 0.1
