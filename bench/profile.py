"""Where a busy daemon's time goes: py-spy with native frames, under load on 64 connections."""

from __future__ import annotations

import subprocess
from collections import Counter
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from bench import servers
from bench.load import Load, webhooks
from bench.revisions import REPOSITORY
from bench.runs import CONNECTIONS, check_answers

if TYPE_CHECKING:
    from bench.runs import Contender
    from bench.servers import Server

PY_SPY = REPOSITORY / ".tools" / "profile" / "bin" / "py-spy"
SHOWN = 25
BATCH = 2_000
LOOP = "MainThread"
"""The other threads wait for it, or for the disk."""


def measure(seconds: int, daemon: Contender, folder: Path, bootstrap: str) -> None:
    """Write the stacks into `build`, one a line with its samples, and print where most of them end."""
    if not PY_SPY.exists():
        message = f"no {PY_SPY}: make profile"
        raise SystemExit(message)
    with daemon(folder, bootstrap) as server:
        servers.wait_for_kafka(server)
        file = REPOSITORY / "build" / f"profile-{server.name.replace(' ', '-')}.txt"
        file.parent.mkdir(exist_ok=True)
        options = ["--native", "--threads", "--format", "raw", "--duration", str(seconds), "--output", str(file)]
        over = Event()
        loading = Thread(target=_load, args=(server, over))
        loading.start()
        try:
            command = [str(PY_SPY), "record", "--pid", str(server.pid), "--rate", "200", *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        finally:
            over.set()
            loading.join()
    stacks = file.read_text().splitlines()
    print(f"\n{server.name}, {seconds} s on {CONNECTIONS} connections; {file} has the stacks (speedscope.app)")
    for frame, share in hottest(stacks):
        print(f"{100 * share:5.1f} %  {frame}", flush=True)


def hottest(stacks: list[str]) -> list[tuple[str, float]]:
    """Return the innermost frames of the event loop's thread with most samples, and their share."""
    ends: Counter[str] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        if LOOP not in stack.partition(";")[0]:
            continue
        ends[stack.rpartition(";")[2]] += int(samples)
    return [(frame, count / ends.total()) for frame, count in ends.most_common(SHOWN)]


def _load(server: Server, over: Event) -> None:
    requests = webhooks()
    with Load(server.port, CONNECTIONS) as load:
        while not over.is_set():
            load.run(list(islice(requests, BATCH)), None)
    check_answers(server, load.outcomes)
