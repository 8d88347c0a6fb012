"""Processes that begin as forks of one that has imported the daemon: with 300 daemons, a run would mostly import.

A fork runs all that the console script runs, with settings, streams and working directory of its own. The script itself
is started where that is tried, as in `e2e/test_start.py` and `e2e/test_production.py`, and in `faults`.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TextIO
from unittest.mock import patch

WARNINGS: Final = {"PYTHONWARNINGS": "error,default::ResourceWarning"}
"""Warnings are errors, but for one: uvloop does not close a handle whose warning is an error, and then waits for it."""

_CONTEXT: Final = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["aurora_bridge.__main__", "aurora_bridge.cli.serve"])


class Preloaded:
    """`aurora-bridge` with some arguments, to be used like a `subprocess.Popen` whose `stdout` is a pipe of text."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stderr: Path) -> None:
        """Start it. `stderr` is a file that is appended to."""
        with patch.dict(os.environ, WARNINGS):
            forkserver.ensure_running()
        reader, writer = Pipe(duplex=False)
        started = (arguments, cwd, dict(env), writer, stderr)
        self._process = _CONTEXT.Process(target=_run, args=started, daemon=True)
        self._process.start()
        writer.close()
        self.args = arguments
        self.stdout: TextIO = os.fdopen(os.dup(reader.fileno()))
        reader.close()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Return the exit code, the negative number of the signal that ended it, or None as long as it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once there is one. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], cwd: Path, env: Mapping[str, str], stdout: Connection, stderr: Path) -> None:
    from aurora_bridge.__main__ import main  # noqa: PLC0415 - where it is forked, and not where it is asked for

    gc.freeze()  # a collection would visit all that was imported, and visiting a page copies it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    os.dup2(stdout.fileno(), 1)
    stdout.close()
    with stderr.open("ab") as log:
        os.dup2(log.fileno(), 2)
    sys.argv = [str(Path(sys.executable).with_name("aurora-bridge")), *arguments]
    sys.exit(main())
