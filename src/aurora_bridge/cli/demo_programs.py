"""Runs the programs of the demo: commands of aurora-bridge as processes, with state and ports of their own.

Each is in its own session, so that Ctrl-C reaches only the demo, which stops them in order.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aurora_bridge.settings.names import PREFIX

_MOST_BYTES: Final = 2**21
"""Longest line: more than an event that Kafka accepts."""
_STOP_SECONDS: Final = 15.0
"""More than a daemon needs for a graceful stop."""
_SHOWN_LINES: Final = 5


class ProgramError(Exception):
    """A program did not start, failed, or ended too early. The message has its last lines of output."""


class Program:
    """A running command."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.process: Final = process
        self._name = name
        self._log = log

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield what it prints, until it ends."""
        if self.process.stdout is not None:
            async for line in self.process.stdout:
                yield line

    def check(self) -> None:
        """Raise `ProgramError` if it has ended."""
        if self.process.returncode is not None:
            raise self.failure()

    def failure(self) -> ProgramError:
        """Return the error that reports its failure."""
        said = self._log.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
        return ProgramError("\n".join([f"`aurora-bridge {self._name}` has ended. Its last lines:", *said]))

    async def stop(self) -> None:
        """Stop it; kill it if that takes too long."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.process.wait()
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()


class Programs:
    """Runs commands whose state and logs are in one folder."""

    def __init__(self, folder: Path, kafka: str | None) -> None:
        self.folder: Final = folder
        self.kafka: Final = kafka
        """Bootstrap servers; None for the embedded log."""
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX) or (kafka and name.startswith(f"{PREFIX}KAFKA__"))
        }
        self.environment[f"{PREFIX}STATE_DIR"] = str(folder / "state")
        if kafka:
            self.environment[f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS"] = kafka

    @asynccontextmanager
    async def running(self, name: str, *arguments: str, **settings: int) -> AsyncIterator[Program]:
        """Run a command; stop it on exit. Raises `OSError`."""
        path = self.folder / f"{name}.log"
        with path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "aurora_bridge", name, *arguments),
                env=self.environment | {f"{PREFIX}{key.upper()}": str(value) for key, value in settings.items()},
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                limit=_MOST_BYTES,
                start_new_session=True,
            )
        program = Program(name, process, path)
        try:
            yield program
        finally:
            await program.stop()

    async def run(self, *arguments: str) -> str:
        """Return what a command prints. Raises `ProgramError` unless its exit code is 0."""
        async with self.running(*arguments) as program:
            printed, _ = await program.process.communicate()
            if program.process.returncode:
                raise program.failure()
        return printed.decode().rstrip()


class Daemon:
    """`aurora-bridge serve`, which a restart brings back on the same ports."""

    def __init__(self, programs: Programs) -> None:
        self.url = self.admin_url = ""
        self._programs = programs

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Program]:
        """Run it; it is listening on entry, and has ended on exit. Raises `ProgramError`."""
        ports = {"ingress__port": _port(self.url), "admin__port": _port(self.admin_url)}
        async with self._programs.running("serve", **ports) as program:
            said = program.lines()
            self.url, self.admin_url = await _announced(said, "webhooks"), await _announced(said, "admin")
            if not self.admin_url:
                raise program.failure()
            yield program


async def _announced(lines: AsyncIterator[bytes], name: str) -> str:
    """Return the URL that the daemon prints after `name`, an empty string if it ends first."""
    async for line in lines:
        word, _, rest = line.decode().partition(" ")
        if word == name:
            return rest.split()[0]
    return ""


def _port(url: str) -> int:
    """Return the port of a URL; 0, for any port, if the URL is empty."""
    return int(url.rpartition(":")[2] or 0)
