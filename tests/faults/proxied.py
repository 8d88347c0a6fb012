"""Brokers behind proxies: what a network does to the bytes between them and the daemon, the proxies do.

Each broker has two, one for the bootstrap list and one at the address that it advertises, so that every connection of
the daemon goes through one. The tests themselves go past them, and so do the brokers among themselves.
"""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Final

from tests.support.broker import KafkaCluster
from tests.support.node import KafkaNode
from tests.support.ports import HOST
from tests.support.proxy import Proxy

_SECONDS: Final = 10.0
"""Bound for what the proxies are told."""


class ProxiedCluster(KafkaCluster):
    """`KafkaCluster` whose clients come in through proxies, which a loop in a thread of its own runs."""

    def __init__(self, nodes: int = 1, make: Callable[[int], Proxy] = Proxy) -> None:
        """`make` is given the port of a broker, and makes a proxy that leads there."""
        super().__init__(nodes)
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._first = [make(_port(node)) for node in self.nodes]
        self._advertised = {node.number: make(_port(node)) for node in self.nodes}

    @property
    def bootstrap(self) -> str:
        """Addresses that stay, whatever the brokers advertise."""
        return ",".join(f"{HOST}:{proxy.port}" for proxy in self._first)

    def start(self) -> None:
        """Start the proxies, then the brokers behind them."""
        self._thread.start()
        for proxy in self._all():
            self._run(proxy.__aenter__())
        super().start()

    def stop(self) -> None:
        """End the brokers, then the proxies."""
        super().stop()
        for proxy in self._all():
            self._run(proxy.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def tell(self, what: Callable[[Proxy], None]) -> None:
        """Have every proxy do something, such as `Proxy.lose_answers`."""
        for proxy in self._all():
            self._loop.call_soon_threadsafe(what, proxy)

    def move(self) -> None:
        """End all brokers, and start them under other addresses; those of before lead nowhere."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            self._run(self._advertised[node.number].__aexit__(None, None, None))
            self._advertised[node.number] = proxy = self._make(_port(node))
            self._run(proxy.__aenter__())
            node.configure(self._properties_of(node))
        self.restore()

    def _all(self) -> list[Proxy]:
        return [*self._first, *self._advertised.values()]

    def _run(self, work: Coroutine[None, None, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    def _properties_of(self, node: KafkaNode) -> dict[str, str]:
        client = f"{HOST}:{self._advertised[node.number].port}"
        return super()._properties_of(node) | {
            "advertised.listeners": f"CLIENT://{client},INTERNAL://{node.internal}",
        }


def _port(node: KafkaNode) -> int:
    return int(node.client.rpartition(":")[2])
