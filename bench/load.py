"""The load generator, a process of its own: unique webhooks over the 19 founding events on keep-alive connections.

Closed loop (no rate): every connection sends its next webhook as soon as it has its answer. Open loop (a rate): the
webhooks fall due by the clock whatever the server does, in ticks of 1 ms (uvloop's timers know no finer one), and go
out on the connection that has been idle longest; a latency counts from the moment the webhook fell due, so the wait for
an idle connection is in it. Answers are searched for status and length and nothing else, so that a webhook costs less
here than in any server. `runs` passes the arguments of `measure` as JSON and reads a `Result` as JSON from standard
output.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import json
import random
import re
import sys
import time
from array import array
from collections import Counter, deque
from typing import TYPE_CHECKING, cast

import uvloop

from bench.servers import CLOCK_TICK_SECONDS, TOKEN, cpu_seconds
from tests.support.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_SECONDS = 0.001
SETTLE_SECONDS = 0.5
"""Rest before both readings of the server's CPU time: what it does after an answer is counted where it belongs."""
SILENCE_SECONDS = 15.0
"""When no answer came between two looks so far apart, the rest is given up; Aurora itself waits 10 s."""

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
HEADERS = f"Host: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Aurora-Webhook-Token: {TOKEN}\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


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

    @property
    def cpu_per_webhook(self) -> float:
        """CPU time of the server for one webhook (never less than the kernel's clock can tell)."""
        return max(CLOCK_TICK_SECONDS, self.server_cpu) / sum(self.outcomes.values())

    @property
    def per_second(self) -> float:
        """Webhooks answered in a second of wall time."""
        return sum(self.outcomes.values()) / self.seconds


def webhooks() -> Iterator[bytes]:
    """Yield requests for ever, the events in turn, every identifier of them random and in the shape of a UUID."""
    for template, identifiers in itertools.cycle([(template, template.count("{}")) for template in TEMPLATES]):
        target = template.format(*[_identifier() for _ in range(identifiers)])
        yield f"GET /{target} HTTP/1.1\r\n{HEADERS}".encode()


def _identifier() -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Load:
    """Hands each webhook that is due to the connection that has been idle longest, until `count` have ended."""

    def __init__(self, count: int) -> None:
        self.idle: deque[Connection] = deque()
        self.latencies = array("d")
        self.outcomes: Counter[str] = Counter()
        self._webhooks = webhooks()
        self._due: deque[float | None] = deque()
        self._missing = count
        self._finished = asyncio.Event()

    def start(self, rate: float | None) -> None:
        """Make everything due at once or, with a rate, as the clock says."""
        if rate is None:
            self._due.extend([None] * self._missing)
            self._dispatch()
        else:
            self._tick(rate, time.perf_counter(), 0, self._missing)

    async def wait(self) -> None:
        """Wait until all webhooks have ended; after a silence (`SILENCE_SECONDS`) the rest counts as unanswered."""
        before = None
        while self._missing and before != self._missing:
            before = self._missing
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), SILENCE_SECONDS)
        if self._missing:
            self.outcomes["unanswered"] = self._missing

    def answered(self, connection: Connection, status: str) -> None:
        """Note the answer to the connection's webhook; the connection is idle again."""
        self.latencies.append(time.perf_counter() - connection.since)
        self._end(status)
        self.idle.append(connection)
        self._dispatch()

    def lost(self, connection: Connection) -> None:
        """Note that a connection broke, and its webhook with it, if it had one."""
        if connection in self.idle:
            self.idle.remove(connection)
        else:
            self._end("lost")

    def _tick(self, rate: float, started: float, fallen_due: int, count: int) -> None:
        now = time.perf_counter()
        by_now = min(count, int((now - started) * rate))
        self._due.extend([now] * (by_now - fallen_due))
        self._dispatch()
        if by_now < count:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick, rate, started, by_now, count)

    def _dispatch(self) -> None:
        while self.idle and self._due:
            since = self._due.popleft() or time.perf_counter()
            self.idle.popleft().send(next(self._webhooks), since)

    def _end(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._missing -= 1
        if not self._missing:
            self._finished.set()


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one webhook under way."""

    def __init__(self, load: Load) -> None:
        self.since = 0.0
        self._load = load
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the idle connections."""
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle.append(self)

    def send(self, request: bytes, since: float) -> None:
        """Send a webhook whose latency counts from `since`."""
        self.since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Report the status once the whole answer is there."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(self._received, 0, head_end) if head_end > 0 else None
        if length and len(self._received) >= head_end + 4 + int(length[1]):
            status = self._received[9:12].decode()
            self._received = b""
            self._load.answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the loss, whoever closed."""
        del exc
        self._load.lost(self)


async def measure(port: int, pid: int, count: int, connections: int, rate: float | None) -> Result:
    """Connect to the server `pid`, rest, read the clocks, send everything, rest, read the clocks again."""
    load = Load(count)
    for _ in range(connections):
        await asyncio.get_running_loop().create_connection(lambda: Connection(load), HOST, port)
    await asyncio.sleep(SETTLE_SECONDS)
    gc.disable()  # its pauses would be taken for the server's
    server_cpu, generator_cpu, started = cpu_seconds(pid), time.process_time(), time.perf_counter()
    load.start(rate)
    await load.wait()
    seconds, generator_cpu = time.perf_counter() - started, time.process_time() - generator_cpu
    await asyncio.sleep(SETTLE_SECONDS)
    server_cpu = cpu_seconds(pid) - server_cpu
    latencies = sorted(load.latencies) or [0.0]
    p50, p99, p999 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99, 0.999))
    return Result(dict(load.outcomes), seconds, server_cpu, generator_cpu, p50, p99, p999)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(uvloop.run(measure(**json.loads(sys.argv[1]))))))
