"""How many instructions a webhook costs a daemon, counted by Callgrind.

A count does not depend on how fast or how busy the machine is, as CPU time does: differences of two percent show. It
leaves out what the kernel does for the daemon, and knows nothing of caches. Counting makes a daemon some fifty times
slower, so what it does by the clock would weigh more than in life: that is counted without webhooks, and subtracted.
Under load its timers are late, so a little too much is subtracted, from each daemon alike.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import statistics
import subprocess
import time
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Load, webhooks
from bench.runs import CONNECTIONS, WARM_UP_WEBHOOKS, check_answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.runs import Daemon
    from bench.servers import Server

REST_SECONDS = 5.0
"""After the last answer a daemon still writes its index, for a round of its slices."""
OUTPUT = "callgrind"
TOTALS = "totals:"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """Instructions of one daemon: in all its threads, outside the kernel."""

    server: str
    idle: float
    """In a second without webhooks."""
    per_webhook: list[float]
    """One for each round."""

    def ratio(self, other: Figures) -> float:
        """Return the instructions of a webhook in units of another daemon's."""
        pairs = zip(self.per_webhook, other.per_webhook, strict=True)
        return statistics.median(mine / its for mine, its in pairs)


def measure(count: int, rounds: int, daemons: Sequence[Daemon], folder: Path, bootstrap: str) -> list[Figures]:
    """Run the daemons under Callgrind; send each of them `count` webhooks a round, in turns."""
    if not shutil.which("valgrind"):
        message = "no valgrind, which has Callgrind: apt-get install valgrind"
        raise SystemExit(message)
    with ExitStack() as stack:
        counted = []
        for number, daemon in enumerate(daemons):
            own = folder / str(number)
            server = stack.enter_context(daemon(own, bootstrap, launcher=_callgrind(own)))
            counted.append(_Counted(server, own))
        for each in counted:
            each.warm_up()
        for _ in range(rounds):
            for each in random.sample(counted, len(counted)):
                each.measure(count)
        return [Figures(each.server.name, each.idle, each.per_webhook) for each in counted]


def show(figures: Sequence[Figures]) -> None:
    """Print each, and its ratio to the first."""
    for figure in figures:
        rounds = f"{min(figure.per_webhook):,.0f} to {max(figure.per_webhook):,.0f}"
        median = statistics.median(figure.per_webhook)
        print(f"{figure.server}: {median:,.0f} instructions a webhook ({rounds}), ", end="")
        print(f"{figure.ratio(figures[0]):.3f} of {figures[0].server}; idle {figure.idle:,.0f} a second", flush=True)


def _callgrind(folder: Path) -> tuple[str, ...]:
    return ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder / OUTPUT}")


class _Counted:
    """A daemon under Callgrind."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.idle = 0.0
        self.per_webhook: list[float] = []
        self._folder = folder
        self._requests = webhooks(source=random.Random(1))  # noqa: S311 - no cryptography

    def warm_up(self) -> None:
        """Begin to count, and count what it does without webhooks."""
        servers.wait_for_kafka(self.server)
        self._control("--instr=on")
        self._send(WARM_UP_WEBHOOKS)
        self._count()
        time.sleep(REST_SECONDS)
        self.idle = self._count() / REST_SECONDS

    def measure(self, count: int) -> None:
        """Send so many webhooks, and note what one took."""
        self._count()
        started = time.perf_counter()
        self._send(count)
        seconds = time.perf_counter() - started
        self.per_webhook.append((self._count() - seconds * self.idle) / count)

    def _send(self, count: int) -> None:
        with Load(self.server.port, CONNECTIONS) as load:
            load.run(list(islice(self._requests, count)), None)
        time.sleep(REST_SECONDS)
        check_answers(self.server, load.outcomes)

    def _count(self) -> int:
        """Return the instructions since the last call."""
        said = self._control("--dump")
        dumps = list(self._folder.glob(f"{OUTPUT}.*"))
        if not dumps:  # callgrind_control exits with 0, whatever happens
            message = f"Callgrind did not count {self.server.name}: {said}\n{self.server.last_words}"
            raise SystemExit(message)
        lines = dumps[0].read_text().splitlines()
        dumps[0].unlink()
        return next(int(line.removeprefix(TOTALS)) for line in reversed(lines) if line.startswith(TOTALS))

    def _control(self, command: str) -> str:
        control = ["callgrind_control", command, str(self.server.pid)]
        done = subprocess.run(control, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return done.stdout.strip()
