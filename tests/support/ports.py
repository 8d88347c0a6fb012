"""Ports for servers that are told their port before they start, and that come back on it after an outage.

They lie below the range from which the kernel takes the ports of outgoing connections. From inside that range, another
process could be given the port while its owner is down, and a client that keeps trying the dead port can even end up
connected to itself.
"""

import random
import socket
from typing import Final

HOST: Final = "127.0.0.1"

BELOW_EPHEMERAL: Final = range(15_000, 32_000)
"""Linux hands out 32768 and up, macOS 49152 and up."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return that many different free ports."""
    shuffled = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))
    free = (port for port in shuffled if is_free(port))
    return [next(free) for _ in range(count)]
