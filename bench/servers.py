"""Starting, watching and stopping the processes that are measured, and reading what the kernel knows of them.

All are started the same way and look the same from outside: a `Server` that listens. What they write goes to a file and
is shown only when something went wrong. Here are the yardstick and the daemon; `peers.catalogue` has the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.ports import HOST, free_ports
from tests.support.topics import unique_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOKEN = "bench-token"  # noqa: S105 (of a server on loopback that lives for a minute)
SOURCES = Path(__file__).parents[1] / "src"
"""The daemon of this checkout."""
DAEMON = (sys.executable, "-c", "import sys; from aurora_bridge.cli import main; sys.exit(main())", "serve")
"""Not the installed script: that of another revision may have begun elsewhere."""
HELLO, DAEMON_NAME, COMPILED = "hello-world", "aurora-bridge", "compiled build"
STATE = "state"
COMPLETE = "aurora_bridge_index_complete"
PATIENCE_SECONDS = 120.0
"""For a process to listen, to find Kafka, or to stop."""
LOOK_SECONDS = 0.002
"""Pause between two looks whether a server listens; it bounds the precision of `Server.listening_after`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """Another way that webhooks take through the daemon."""

    title: str = ""
    traffic: str = "new"
    """What is sent: a name in `load.TRAFFIC`."""
    kafka: bool = True
    """Whether there is one."""
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)


DIRECT = Variant()
VARIANTS = {
    "burst": Variant("one event type, one partition", "one type", settings={"KAFKA__PARTITIONS": "1"}),
    "duplicates": Variant("duplicates", "same again"),
    "spool": Variant("Kafka away", kafka=False, settings={"SPOOL__MAX_BYTES": "8GiB"}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on a port of the loopback address."""

    name: str
    pid: int
    port: int
    log: Path
    started: float
    """When the process was started, by `time.perf_counter`."""
    listening_after: float
    """Seconds from the start of the process to the first accepted connection."""
    topic_prefix: str | None = None
    """Of the topics that it writes to; None: it has nothing to do with Kafka."""
    admin_port: int | None = None
    """The daemon's."""
    variant: Variant = DIRECT

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        return _last_words(self.log)


def cpu_seconds(pid: int) -> float:
    """User and system time of all the threads the process has had (clock_getcpuclockid(3), to the nanosecond)."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_megabytes(pid: int) -> tuple[float, float]:
    """Resident memory now and at its peak, in MB of 10^6 bytes (proc(5): VmRSS and VmHWM of status, in KiB)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, peak = (int(status[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, peak


def written_bytes(pid: int) -> int:
    """Return how many bytes the process caused to be written to disk (proc(5): io)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ", 1) for line in lines)["write_bytes"])


@contextlib.contextmanager
def hello_world(folder: Path, _bootstrap: str) -> Iterator[Server]:
    """Run the yardstick."""
    (port,) = free_ports(1)
    with running(HELLO, [sys.executable, "-m", "bench.hello"], {"PORT": str(port)}, folder, port) as server:
        yield server


@contextlib.contextmanager
def daemon(  # noqa: PLR0913 - what can differ
    folder: Path,
    bootstrap: str,
    *,
    name: str = DAEMON_NAME,
    sources: Path = SOURCES,
    variant: Variant = DIRECT,
    launcher: Sequence[str] = (),
) -> Iterator[Server]:
    """Run the daemon of a checkout as people run it: tokens, index and spool on. A `launcher` gets its command.

    Its topics are its own: no measurement inherits another's events. So is its state, in `folder / STATE`, unless
    something was put there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens").write_text(f"{TOKEN}\n")
    port, admin_port = free_ports(2)
    topic_prefix = unique_prefix()
    settings = {
        "INGRESS__PORT": str(port),
        "ADMIN__PORT": str(admin_port),
        "STATE_DIR": str(folder / STATE),
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap if variant.kafka else nowhere(),
        "KAFKA__TOPIC_PREFIX": topic_prefix,
        "AUTH__TOKENS_FILE": str(folder / "tokens"),
        **variant.settings,
    }
    environment = {f"AURORA_BRIDGE_{key}": value for key, value in settings.items()} | {"PYTHONPATH": str(sources)}
    name = f"{name}, {variant.title}" if variant.title else name
    with running(name, (*launcher, *DAEMON), environment, folder, port) as server:
        yield dataclasses.replace(server, topic_prefix=topic_prefix, admin_port=admin_port, variant=variant)


def nowhere() -> str:
    """Return an address on which no Kafka listens."""
    return f"{HOST}:{free_ports(1)[0]}"


@contextlib.contextmanager
def running(name: str, command: Sequence[str], settings: dict[str, str], folder: Path, port: int) -> Iterator[Server]:
    """Run a program that listens on `port`; it is told so by `settings`, in its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AURORA_BRIDGE_")}
    log = folder / "log"
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment | settings, stdout=output, stderr=output)
    try:
        while not _listens(port):
            if process.poll() is not None or time.perf_counter() - started > PATIENCE_SECONDS:
                message = f"{name} does not listen\n{_last_words(log)}"
                raise SystemExit(message)
            time.sleep(LOOK_SECONDS)
        yield Server(name, process.pid, port, log, started, time.perf_counter() - started)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop within {PATIENCE_SECONDS:g} s of SIGTERM\n{_last_words(log)}", file=sys.stderr)
            process.kill()
            process.wait()


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port)):
        return True
    return False


def metrics(server: Server) -> dict[str, float]:
    """Return the daemon's metrics, by the series as exposed."""
    with urlopen(f"http://{HOST}:{server.admin_port}/metrics", timeout=PATIENCE_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {series: float(value) for series, value in samples}


def wait_for_kafka(server: Server) -> None:
    """Wait until the daemon's topics have leaders and its index is complete.

    Before, its webhooks would go the way through the spool, and duplicates of states would pass.
    """
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        with contextlib.suppress(URLError):  # the admin port may open after the ingress
            series = metrics(server)
            if series.get("aurora_bridge_kafka_connected") == 1 and series.get(COMPLETE, 1) == 1:
                return
        time.sleep(0.05)
    late = f"after {PATIENCE_SECONDS:g} s the daemon's topics have no leaders, or its index is incomplete"
    message = f"{late}\n{server.last_words}"
    raise SystemExit(message)
