"""The peers: what each is called, what it needs, and how it is started.

Those in Python run with the packages of `requirements-dev.lock`, the daemon's own versions of aiohttp and aiokafka
among them. Go's modules and npm's packages are fetched once, as `go.sum` and `package-lock.json` have them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load import EVENTS
from bench.servers import TOKEN, Server, running
from tests.support import tools
from tests.support.ports import free_ports
from tests.support.topics import create_topics, unique_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "bench"


class PeerMissingError(Exception):
    """A peer cannot be run on this machine; says why, and what to do."""


class Peer(NamedTuple):
    """One peer."""

    title: str
    install: Callable[[], list[str]]
    """Fetches and builds what it takes; returns the command that starts it. Raises `PeerMissingError`."""


def _aiohttp() -> list[str]:
    return [sys.executable, "-m", "bench.peers.python_aiohttp"]


def _fastapi() -> list[str]:
    return [sys.executable, "-m", "bench.peers.python_fastapi"]


def _go() -> list[str]:
    binary = str(BUILD / "peer")
    _run(HERE / "go", "go", "build", "-o", binary, ".")
    return ["env", "GOMAXPROCS=1", binary]  # one processor, as all others have


def _node() -> list[str]:
    _run(HERE / "node", "npm", "ci", "--silent", "--prefer-offline")
    return ["node", str(HERE / "node" / "main.js")]


PEERS = {
    "aiohttp": Peer("aiohttp, aiokafka", _aiohttp),
    "fastapi": Peer("FastAPI, aiokafka", _fastapi),
    "go": Peer("Go, franz-go", _go),
    "node": Peer("Node, fastify", _node),
}


@contextlib.contextmanager
def peer(folder: Path, bootstrap: str, *, title: str, command: list[str]) -> Iterator[Server]:
    """Run a peer with topics of its own."""
    prefix, (port,) = unique_prefix(), free_ports(1)
    create_topics(bootstrap, *(prefix + event for event in EVENTS))
    settings = {"PORT": str(port), "BOOTSTRAP": bootstrap, "TOPIC_PREFIX": prefix, "TOKEN": TOKEN}
    with running(title, command, settings, folder, port) as server:
        yield dataclasses.replace(server, topic_prefix=prefix)


def _run(folder: Path, name: str, *arguments: str) -> None:
    try:
        command = [tools.program(name), *arguments]
    except tools.ToolMissingError as error:
        raise PeerMissingError(str(error)) from error
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        message = f"{' '.join(command)}: {(done.stdout + done.stderr)[-1000:].strip()}"
        raise PeerMissingError(message)
