"""The daemon as people run it: `aurora-bridge serve` in a process of its own, on free ports, watched from outside.

Settings go in as keywords, `Daemon(folder, kafka__bootstrap_servers=..., spool__enabled=False)`, and nothing of the
test run's own environment that begins with AURORA_BRIDGE_ does. Everything here blocks. Other commands of the command
line run through `command`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Timer
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.support import http
from tests.support.preloaded import WARNINGS, Preloaded

PROGRAM: Final = Path(sys.executable).with_name("aurora-bridge")
"""The console script of the environment that runs the tests."""

SECONDS: Final = 30.0
"""Bound for every wait. Hardly one takes more than a second; the rest is for a machine that is busy otherwise."""

POLL_SECONDS: Final = 0.1
"""Between two looks at what is not there yet. To expose its metrics takes a daemon 10 ms."""

PATIENT: Final = {"deadlines__publish_seconds": 7, "deadlines__spool_seconds": 8, "deadlines__answer_seconds": 9}
"""Settings with which also a busy machine publishes directly: for tests in which no deadline is to pass."""

Process = subprocess.Popen[str] | Preloaded

Found = TypeVar("Found")


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with those settings of the daemon and no others; None leaves one out."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AURORA_BRIDGE_")}
    given = {f"AURORA_BRIDGE_{name.upper()}": str(value) for name, value in settings.items() if value is not None}
    return others | WARNINGS | given


def command(*arguments: str, cwd: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [PROGRAM, *arguments],
        check=False,
        cwd=cwd,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


Series = tuple[str, frozenset[tuple[str, str]]]
"""The name and the labels of a sample."""


class Metrics(Mapping[Series, float]):
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        """Take what the admin port exposes."""
        self._text = text

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have at least these labels. Raises `KeyError` if there is none.

        No other samples are parsed: who waits for a value would hardly do anything else.
        """
        wanted = labels.items()
        lines = [line for line in self._text.splitlines() if line.startswith(name)]
        samples = _parsed("\n".join(lines)).items()
        found = [value for (sample, having), value in samples if sample == name and wanted <= having]
        if not found:
            raise KeyError(name, labels)
        return sum(found)

    def __getitem__(self, series: Series) -> float:
        return self._samples[series]

    def __iter__(self) -> Iterator[Series]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        return repr(self._samples)

    @cached_property
    def _samples(self) -> Mapping[Series, float]:
        return _parsed(self._text)


class Daemon:
    """A daemon with its folder, from `start()` to `terminate()` or `kill()`, or as a context manager."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """Keep state and log in `folder`; `settings` are named as in the environment, without the prefix.

        Topics have one partition unless they say otherwise: making three takes a broker three times as long.
        """
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "daemon.log"
        self.url = self.admin_url = ""
        self.seconds_to_listen = 0.0
        self.program: Sequence[str | Path] = []
        """What to start instead of a fork, with the argument `serve`."""
        self.surroundings: dict[str, str] = {}
        """Variables of the environment that are no settings."""
        self._settings: Mapping[str, object] = {
            "ingress__port": 0,
            "admin__port": 0,
            "state_dir": self.state,
            "kafka__partitions": 1,
            **settings,
        }
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process. Raises `LookupError` if it was never started."""
        if self._process is None:
            message = "the daemon was never started"
            raise LookupError(message)
        return self._process

    def start(self) -> None:
        """Start the process; return once it listens."""
        began = monotonic()
        self._process = process = self._spawned()
        watchdog = Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            self.url, self.admin_url = self._announced("webhooks"), self._announced("admin")
        finally:
            watchdog.cancel()
            watchdog.join()
        self.seconds_to_listen = monotonic() - began

    def terminate(self) -> int:
        """Ask the process to end (SIGTERM); return its exit code."""
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        """End the process at once, as a crash does (SIGKILL)."""
        self.process.kill()
        self._ended()

    def get(self, target: bytes | str, headers: http.Headers = (), *, method: str = "GET") -> http.Response:
        """Send one request to the ingress, over a connection of its own."""
        return http.get(self.url, target, headers, method=method)

    def metrics(self) -> Metrics:
        """Return what the admin port exposes now."""
        return Metrics(http.get(self.admin_url, "/metrics").body.decode())

    def ready(self) -> tuple[int, Any]:
        """Return status and document of `/readyz`."""
        response = http.get(self.admin_url, "/readyz")
        return response.status, response.json

    def wait_until(self, what: str, look: Callable[["Daemon"], Found], within: float = SECONDS) -> Found:
        """Return what `look` finds, once that is true. Fails after `within` seconds, or when the daemon has ended."""
        deadline = monotonic() + within
        while not (found := look(self)):
            if self.process.poll() is not None or monotonic() > deadline:
                message = f"not so after {within:g} s, or before the daemon ended: {what}\n{self.log_tail()}"
                raise AssertionError(message)
            with suppress(subprocess.TimeoutExpired):  # the pause between two looks; a death ends it
                self.process.wait(POLL_SECONDS)
        return found

    def wait_until_connected(self) -> None:
        """Return once the topics have leaders and nothing waits in the spool: what comes now goes to Kafka directly."""
        self.wait_until("Kafka is connected", lambda daemon: daemon.metrics().value("aurora_bridge_kafka_connected"))
        self.wait_until_drained()

    def wait_until_drained(self) -> None:
        """Return once nothing waits in the spool."""
        self.wait_until("the spool is empty", lambda daemon: not daemon.metrics().value("aurora_bridge_spool_events"))

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what the daemon has logged, of all its lives. Raises `ValueError` for a line that is no JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def log_tail(self) -> str:
        """Return the last lines of the log, under a headline."""
        return "\n".join(["--- the daemon, end of its log:", *self.log.read_text().splitlines()[-25:]])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if error is not None:
            error.add_note(self.log_tail())

    def _spawned(self) -> Process:
        env = environment(**self._settings) | self.surroundings
        if not (self.program or self.surroundings):
            return Preloaded(["serve"], cwd=self.folder, env=env, stderr=self.log)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*(self.program or [PROGRAM]), "serve"],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _announced(self, name: str) -> str:
        for line in self.process.stdout or ():
            word, _, rest = line.partition(" ")
            if word == name:
                return rest.split()[0]
        message = f"the daemon did not start: exit code {self._ended()}\n{self.log_tail()}"
        raise AssertionError(message)

    def _ended(self) -> int:
        try:
            return self.process.wait(SECONDS)
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


def _parsed(text: str) -> Mapping[Series, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
