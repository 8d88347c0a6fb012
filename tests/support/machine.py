"""A machine with systemd as its first process, below a folder and in namespaces of its own, without a network.

Needs root, and cgroups to hand over. With the first process the kernel kills all others; a guard kills that one, also
when the test run no longer can.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from tests.support.node import GUARD

SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1

_BOOT: Final = """
set -e
echo $$ > "$2/cgroup.procs"
exec unshare --kill-child --mount --pid --fork --uts --ipc --net --cgroup sh -ec '
cd "$1"
mount --make-rprivate /
mount --bind . .
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $device
    mknod -m 666 "dev/$1" c "$2" "$3"
done
ln -s pts/ptmx dev/ptmx
mkdir dev/shm
mount -t tmpfs tmpfs dev/shm
mkdir old
pivot_root . old
umount -l old
rmdir old
mount --make-rshared /
exec env -i container=other /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
' - "$1"
"""
"""Arguments: the root, the cgroup. Mounts are shared again at the end: systemd leaves that to whoever starts it, and
hands credentials over through a mount."""


class MachineError(Exception):
    """It did not start; carries what was said."""


class Machine:
    """A Debian below a folder, and while it is `running` the commands that run in it."""

    def __init__(self, archive: Path, root: Path) -> None:
        """Unpack a Debian with systemd into `root`."""
        root.mkdir()
        subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={root}"], check=True)
        self.root = root
        self._log = root.with_suffix(".log")
        self._init = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Boot it, and end it. Raises `MachineError` where that is not possible."""
        groups = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line]
        if os.geteuid() or not groups:
            msg = "no machine with systemd: it needs root, and cgroups of version 2"
            raise MachineError(msg)
        group = Path(groups[0], f"aurora-bridge-tests-{os.getpid()}")
        group.mkdir()
        with self._log.open("wb") as log:
            boot = ["sh", "-c", _BOOT, "-", str(self.root), str(group)]
            process = subprocess.Popen(boot, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._init = self._wait_for_init(process)
            with subprocess.Popen(["sh", "-c", GUARD, "-", str(self._init), self.root], stdin=subprocess.PIPE):
                self._wait_for_systemd()
                self.run("ip", "link", "set", "lo", "up")
                yield
        finally:
            process.kill()
            process.wait()
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()

    def _wait_for_init(self, process: subprocess.Popen[bytes]) -> int:
        """Return the first process, once that is systemd: before, its root is still that of this machine."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = monotonic() + SECONDS
        while process.poll() is None and monotonic() < deadline:
            with suppress(OSError, ValueError):
                init = int(children.read_text())
                if Path(f"/proc/{init}/comm").read_text() == "systemd\n":
                    return init
            sleep(_POLL_SECONDS)
        msg = f"no machine with systemd: it did not start: {self._log.read_text()[-1000:]}"
        raise MachineError(msg)

    def _wait_for_systemd(self) -> None:
        deadline = monotonic() + SECONDS
        while self.try_run("systemctl", "is-active", "basic.target").returncode:
            if monotonic() > deadline:
                msg = f"no machine with systemd: it does not get ready: {self._log.read_text()[-1000:]}"
                raise MachineError(msg)
            sleep(_POLL_SECONDS)

    def try_run(self, *command: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a command in it, which may fail."""
        root = f"/proc/{self._init}/root"
        enter = ["nsenter", f"--target={self._init}", "-m", "-p", "-u", "-i", "-n", "-C", f"--root={root}"]
        return subprocess.run(
            [*enter, f"--wd={root}{cwd}", "env", "-i", "PATH=/usr/bin:/usr/sbin", *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )

    def run(self, *command: str, cwd: str = "/") -> str:
        """Run a command in it; return what it printed."""
        result = self.try_run(*command, cwd=cwd)
        assert result.returncode == 0, f"{command}:\n{result.stdout}{result.stderr}"
        return result.stdout.strip()
