"""The host on which the commands of a page run: as they stand, beside a daemon.

Two programs that belong to a host stand in for it: `journalctl` prints the daemon's log, and `systemctl` says nothing.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.ops.rules.pages import ADMIN, STATE, Command, blocks, commands
from tests.ops.rules.scene import State
from tests.support.daemon import PROGRAM, environment

SECONDS: Final = 60


def try_page(page: str, state: State, folder: Path) -> list[str]:
    """Run the first commands of a page on a daemon, and return what each says."""
    return [run(command, state, folder) for command in commands(blocks(page)[0])]


def run(command: Command, state: State, folder: Path) -> str:
    """Run a command of a page as its host would, compare with what the page says, and return what it says."""
    daemon = state.daemon
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, script in {"journalctl": f"cat {daemon.log}", "systemctl": "true"}.items():
        (programs / name).write_text(f"#!/bin/sh\nexec {script}\n")
        (programs / name).chmod(0o755)
    line = command.line.replace(ADMIN, daemon.admin_url.rstrip("/")).replace(STATE, str(daemon.state))
    path = os.pathsep.join([str(programs), str(PROGRAM.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", line],
        check=False,
        cwd=folder,
        env=environment(**state.settings) | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    said = done.stdout + done.stderr
    assert done.returncode in command.exit_codes, (line, said)
    assert [word for word in command.shows if word not in said] == [], (line, said)
    return said
