"""Brokers that clients reach by a proxy on loopback, on which bytes are held back, lost, or arrive late.

Each broker of `ProxiedBrokers` advertises the address of its `BrokerProxy`. What is done to a proxy concerns the
connections that are open at that moment; new ones pass freely.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Final

from tests.support.broker import KafkaCluster
from tests.support.node import KafkaNode
from tests.support.ports import HOST

CHUNK_BYTES: Final = 65_536
ANSWER_SECONDS: Final = 5.0
"""Bound of a broker's answer to what was held. It waits for the other brokers' copies at most."""


class BrokerProxy:
    """A way to one address of loopback; `address` is its own."""

    def __init__(self, to: str) -> None:
        """Lead to `to`, a host and a port."""
        self._to = HOST, int(to.rpartition(":")[2])
        self._links: list[_Link] = []
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        Thread(target=self._listen, daemon=True).start()

    def hold(self) -> None:
        """Keep what clients say on the open connections from now on, and lose what they are told."""
        for link in self._links:
            link.hold()

    def lose_answers(self) -> None:
        """Lose what clients are told on the open connections from now on."""
        for link in self._links:
            link.muted = True

    def cut(self) -> None:
        """Break the open connections on the clients' side. What was held stays, and the broker learns of nothing."""
        for link in self._links:
            link.cut()

    def release(self) -> int:
        """Let what was held arrive, and end those connections; return from how many the broker took something."""
        links, self._links = self._links, []
        self._links = [link for link in links if link.held is None]
        return sum(link.release() for link in links if link.held is not None)

    def close(self) -> None:
        """Let nobody in any more, and end all connections."""
        self._listener.close()
        for link in self._links:
            link.end()

    def _listen(self) -> None:
        with suppress(OSError):  # `close`
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._to)
                except OSError:  # the broker is away
                    client.close()
                    continue
                self._links = [link for link in self._links if not link.ended]
                self._links.append(_Link(client, server))


class _Link:
    """One connection: two sockets and a thread for each direction."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.held: bytearray | None = None
        self.muted = False
        self.ended = False
        self._lock = Lock()
        self._answered = Event()
        self._client, self._server = client, server
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=self._forth, daemon=True).start()
        Thread(target=self._back, daemon=True).start()

    def hold(self) -> None:
        with self._lock:
            self.held = self.held or bytearray()
            self.muted = True

    def cut(self) -> None:
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def release(self) -> bool:
        """Let what was held arrive, and the end once it was answered; return whether it was."""
        if not self.held:
            self.end()
            return False
        self._answered.clear()
        with suppress(OSError):
            self._server.sendall(self.held)
        answered = self._answered.wait(ANSWER_SECONDS)
        self.end()
        return answered

    def end(self) -> None:
        self.ended = True
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _forth(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(CHUNK_BYTES):
                with self._lock:
                    if self.held is None:
                        self._server.sendall(data)
                    else:
                        self.held += data
        with self._lock, suppress(OSError):
            if self.held is None:
                self._server.shutdown(socket.SHUT_WR)

    def _back(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(CHUNK_BYTES):
                self._answered.set()
                if not self.muted:
                    self._client.sendall(data)
        self.end()
        self._client.close()
        self._server.close()


class ProxiedBrokers(KafkaCluster):
    """`KafkaCluster` whose nodes are reached by `proxies`, in their order. `plain` stays the direct way."""

    def __init__(self, nodes: int = 1, *, properties: Mapping[str, str] | None = None) -> None:
        super().__init__(nodes, properties=properties)
        self.proxies = [BrokerProxy(node.client) for node in self.nodes]

    @property
    def bootstrap(self) -> str:
        """The addresses of all proxies."""
        return ",".join(proxy.address for proxy in self.proxies)

    def stop(self) -> None:
        """End all nodes and proxies."""
        super().stop()
        for proxy in self.proxies:
            proxy.close()

    def _properties_of(self, node: KafkaNode) -> dict[str, str]:
        proxy = self.proxies[node.number - 1]
        advertised = f"CLIENT://{proxy.address},INTERNAL://{node.internal}"
        return {**super()._properties_of(node), "advertised.listeners": advertised}
