"""A scenario in a network namespace of its own, where packets can be dropped without anybody else losing any.

`play_in_netns` plays it in another process, which has that namespace from its start; `Wall` stands there between
the daemon and the brokers, or between one broker and the others. Nothing leaves the loopback interface.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.node import KafkaNode
from tests.support.ports import HOST

_LOOPBACK_UP: Final = 'ip link set lo up && exec "$@"'
_INSTALL: Final = "Debian: apt-get install iptables iproute2 util-linux"


class UnavailableError(Exception):
    """This machine does not allow what a scenario needs; the text says what, and how to get it."""


def play_in_netns(name: str, folder: Path, *, scale: float, rate: float) -> dict[str, Any]:
    """Play a scenario in a namespace of its own; return its result. Raises `UnavailableError`."""
    missing = [program for program in ("unshare", "ip", "iptables") if shutil.which(program) is None]
    if missing:
        message = f"a network namespace takes {', '.join(missing)} ({_INSTALL})"
        raise UnavailableError(message)
    unshare = ["unshare", "--net", "sh", "-c", _LOOPBACK_UP, "sh"]
    tried = subprocess.run([*unshare, "true"], check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        message = (
            f"no network namespace can be had (run the tests as root, outside a container): {tried.stderr.strip()}"
        )
        raise UnavailableError(message)
    inner = folder / "netns"
    path = inner / f"{name}.json"
    path.unlink(missing_ok=True)
    play = [sys.executable, "-m", "tests.faults", "--here", "--fresh", "--only", name, "--folder", str(inner)]
    subprocess.run(
        [*unshare, *play, "--scale", str(scale), "--rate", str(rate)], check=False, stdout=subprocess.DEVNULL
    )
    result: dict[str, Any] = json.loads(path.read_text())  # `OSError` where it broke
    return result


class Wall:
    """Drops packets of this namespace, as a network does that is parted: nobody is told."""

    def before(self, nodes: Sequence[KafkaNode]) -> None:
        """Part clients from these brokers."""
        ports = ",".join(_port(node.client) for node in nodes)
        self._drop("--ports", ports)

    def around(self, node: KafkaNode, nodes: Sequence[KafkaNode], *, into: bool = True, out: bool = True) -> None:
        """Part a broker from the others, `into` it and `out` of it; clients reach them all."""
        if into:
            self._drop("--dports", _inner_ports([node]))
        if out:
            others = [other for other in nodes if other is not node]
            self._drop("--dports", _inner_ports(others), "-m", "owner", "--gid-owner", str(node.group))

    def leak(self, nodes: Sequence[KafkaNode], share: float) -> None:
        """Between clients and these brokers, lose such a share of the packets as they arrive, and send one twice."""
        which = ["-p", "tcp", "-m", "multiport", "--ports", ",".join(_port(node.client) for node in nodes)]
        which += ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        _iptables("-A", "INPUT", *which, "-j", "DROP")  # a sender is told of what is dropped in OUTPUT
        _iptables("-t", "mangle", "-A", "POSTROUTING", *which, "-j", "TEE", "--gateway", HOST)

    def fall(self) -> None:
        """Let everything pass again, once."""
        _iptables("-F")
        _iptables("-t", "mangle", "-F")

    def _drop(self, *which: str) -> None:
        _iptables("-A", "OUTPUT", "-p", "tcp", "-m", "multiport", *which, "-j", "DROP")


def _inner_ports(nodes: Sequence[KafkaNode]) -> str:
    return ",".join(_port(address) for node in nodes for address in (node.internal, node.controller))


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _iptables(*arguments: str) -> None:
    done = subprocess.run(["iptables", "-w", *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        message = f"iptables {' '.join(arguments)} is refused here: {done.stderr.strip()}"
        raise UnavailableError(message)
