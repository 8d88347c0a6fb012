"""The load generator, a process of its own: webhooks over the 19 core events on keep-alive connections.

Closed loop (no rate): every connection sends its next webhook as soon as it has its answer. Open loop (a rate): the
webhooks fall due one by one, evenly spaced, whatever the server does, and go out on the connection that has been idle
longest; a latency counts from the moment the webhook fell due, so the wait for an idle connection is in it.

It must cost less than any server, and must not shape the load. So the requests are made beforehand, one loop over epoll
sends and receives, and answers are searched for status and length and nothing else. An event loop would have timers of
whole milliseconds: at 2,000 webhooks a second they would go out in pairs, which costs a server a quarter less.

`runs` passes an `Order` as JSON and reads a `Result` as JSON from standard output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import json
import random
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from typing import TYPE_CHECKING, Self

from bench.servers import TOKEN, cpu_seconds, written_bytes
from tests.support.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REST_SHARE, REST_LOOKS = 0.02, 10
"""A server rests that used less than this share of a core between two looks. It has to before both readings of its CPU
time, so that what it does after an answer is counted: an index that is written behind has seconds of work left."""
SILENCE_SECONDS = 15.0
"""When no answer comes for so long, the rest is given up; Aurora itself waits 10 s."""
RECEIVE_BYTES = 65_536

TEMPLATES = (
    "agreement_status_changed?project_id={}&agreement_id={}&status=signed",
    "ahj_lookup_completed?project_id={}&ahj_id={}&status=succeeded",
    "asset_created?design_id={}&asset_id={}&asset_type=CAD+Screenshot",
    "auto_designer_job_completed?design_id={}&job_id={}&status=succeeded",
    "consumption_profile_changed?project_id={}",
    "design_created?project_id={}&design_id={}&source=app",
    "design_request_completed?design_request_id={}&status=designer_completed",
    "design_request_rejected?design_request_id={}&status=designer_rejected",
    "lead_changed?lead_id={}",
    "lead_converted?lead_id={}&project_id={}",
    "lead_created?lead_id={}&source=lcai",
    "lead_solar_estimation_job_completed?lead_id={}&job_id={}&status=succeeded",
    "panel_irradiance_analysis_job_completed?design_id={}&job_id={}&status=succeeded",
    "performance_simulation_job_completed?design_id={}&job_id={}&status=failed",
    "plan_set_request_status_changed?plan_set_request_id={}&status=submitted",
    "project_created?project_id={}&source=api",
    "project_deleted?project_id={}&source=app",
    "project_status_changed?project_id={}&status=Project%20Sold",
    "web_proposal_url_created?design_id={}&source=app",
)
EVENTS = tuple(template.partition("?")[0] for template in TEMPLATES)
SIGNALS = {"consumption_profile_changed", "lead_changed", "web_proposal_url_created"}
"""Events that are never duplicates."""
BRIEF = {"ahj_lookup_completed", "design_request_completed", "design_request_rejected"}
"""Events that are duplicates for a minute only: between two rounds may be more."""
HEADERS = f"Host: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Aurora-Webhook-Token: {TOKEN}\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What to send, and where to."""

    port: int
    pid: int
    traffic: str
    """A name in `TRAFFIC`."""
    count: int
    connections: int
    rate: float | None
    rest_seconds: float
    """Between two looks whether the server rests."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one measurement gave; times in seconds."""

    outcomes: dict[str, int]
    """How many webhooks ended how: by status, or `lost` with their connection, or `unanswered`."""
    seconds: float
    server_cpu: float
    generator_cpu: float
    p50: float
    p99: float
    p999: float
    max: float
    written: int
    """Bytes that the server caused to be written to disk."""
    requests: float = 0.0
    """Produce requests of the daemon that a broker answered."""
    sent: float = 0.0
    """Bytes of the batches in them."""
    lag: float = 0.0
    """Of the daemon's event loop: the histogram's bucket that holds the worst of this round."""

    @property
    def cpu_per_webhook(self) -> float:
        """CPU time of the server for one webhook."""
        return self.server_cpu / sum(self.outcomes.values())

    @property
    def per_second(self) -> float:
        """Webhooks answered in a second of wall time."""
        return sum(self.outcomes.values()) / self.seconds


def webhooks(templates: Iterable[str] = TEMPLATES, source: random.Random | None = None) -> Iterator[bytes]:
    """Yield requests for ever, the events in turn, every identifier of them random and in the shape of a UUID."""
    source = source or random.Random()  # noqa: S311 - no cryptography
    for template, identifiers in itertools.cycle([(template, template.count("{}")) for template in templates]):
        target = template.format(*[_identifier(source) for _ in range(identifiers)])
        yield f"GET /{target} HTTP/1.1\r\n{HEADERS}".encode()


def one_type() -> Iterator[bytes]:
    """Yield new events of one type."""
    return webhooks(TEMPLATES[:1])


def same_again() -> Iterator[bytes]:
    """Yield the same requests each time; all but the first time they are duplicates."""
    templates = [template for template in TEMPLATES if template.partition("?")[0] not in SIGNALS | BRIEF]
    return webhooks(templates, random.Random(1))  # noqa: S311 - no cryptography


TRAFFIC = {"new": webhooks, "one type": one_type, "same again": same_again}


def _identifier(source: random.Random) -> str:
    digits = f"{source.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclasses.dataclass(eq=False, slots=True)
class Connection:
    """One keep-alive connection with at most one webhook under way."""

    socket: socket.socket
    due: float | None = None
    """When the webhook under way fell due."""
    received: bytes = b""

    def status(self) -> str | None:
        """Receive what has come; return the status once the whole answer is there, `lost` when the server hung up."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            return "lost"
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(self.received, 0, head_end) if head_end > 0 else None
        if length is None or len(self.received) < head_end + 4 + int(length[1]):
            return None
        status = self.received[9:12].decode()
        self.received = b""
        return status


class Load:
    """Hands each request that is due to the connection that has been idle longest, and notes what became of it."""

    def __init__(self, port: int, connections: int) -> None:
        self.latencies = array("d")
        self.outcomes: Counter[str] = Counter()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(connections):
            connected = socket.create_connection((HOST, port))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.settimeout(0)  # reads never wait
            self._epoll.register(connected, select.EPOLLIN)
            self._connections[connected.fileno()] = Connection(connected)
        self._idle = deque(self._connections.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._epoll.close()
        for connection in self._connections.values():
            connection.socket.close()

    def run(self, requests: list[bytes], rate: float | None) -> None:
        """Send all of them, as fast as the answers come or by the clock; after a silence the rest is `unanswered`."""
        started, ended = time.perf_counter(), self.outcomes.total() + len(requests)
        unsent = deque(requests)
        while (missing := ended - self.outcomes.total()) > 0:
            next_due = self._send_due(unsent, len(requests), started, rate)
            wait = SILENCE_SECONDS if next_due is None else max(0.0, next_due - time.perf_counter())
            # Not epoll's own time-out: that one is in whole milliseconds.
            ready, _, _ = select.select([self._epoll], (), (), wait)
            if not ready and next_due is None:
                self.outcomes["unanswered"] += missing
            for descriptor, _ in self._epoll.poll(0):
                self._receive(self._connections[descriptor])

    def _send_due(self, unsent: deque[bytes], count: int, started: float, rate: float | None) -> float | None:
        """Send what is due; return when the next one is, None if that is for an answer to decide."""
        while self._idle and unsent:
            now = time.perf_counter()
            due = started + (count - len(unsent)) / rate if rate else now
            if due > now:
                return due
            connection = self._idle.popleft()
            connection.due = due
            with contextlib.suppress(OSError):  # a connection that broke: epoll tells
                connection.socket.send(unsent.popleft())
        return None

    def _receive(self, connection: Connection) -> None:
        status = connection.status()
        if status is None:
            return
        if connection.due is None:
            self._idle.remove(connection)
        else:
            self.latencies.append(time.perf_counter() - connection.due)
            self.outcomes[status] += 1
            connection.due = None
        if status == "lost":
            self._epoll.unregister(connection.socket)
        else:
            self._idle.append(connection)


def measure(order: Order) -> Result:
    """Connect to the server, send everything, and measure that; the server rests before and after."""
    pid = order.pid
    requests = list(itertools.islice(TRAFFIC[order.traffic](), order.count))
    with Load(order.port, order.connections) as load:
        gc.disable()  # its pauses would be taken for the server's
        server_cpu, written = _cpu_at_rest(pid, order.rest_seconds), written_bytes(pid)
        generator_cpu, started = time.process_time(), time.perf_counter()
        load.run(requests, order.rate)
        seconds, generator_cpu = time.perf_counter() - started, time.process_time() - generator_cpu
        server_cpu, written = _cpu_at_rest(pid, order.rest_seconds) - server_cpu, written_bytes(pid) - written
    latencies = quantiles(load.latencies)
    return Result(dict(load.outcomes), seconds, server_cpu, generator_cpu, *latencies, written)


def quantiles(latencies: Iterable[float]) -> tuple[float, float, float, float]:
    """Return p50, p99, p99.9 and the maximum."""
    ordered = sorted(latencies) or [0.0]
    p50, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999))
    return p50, p99, p999, ordered[-1]


def _cpu_at_rest(pid: int, rest_seconds: float) -> float:
    """Wait until the server rests, though not for ever; return the CPU time that it has used."""
    used = cpu_seconds(pid)
    for _ in range(REST_LOOKS):
        time.sleep(rest_seconds)
        before, used = used, cpu_seconds(pid)
        if used - before < REST_SHARE * rest_seconds:
            break
    return used


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(Order(**json.loads(sys.argv[1]))))))
