"""Keeps the order of a topic through failure and recovery: its events go to the sender, or through the spool.

While a topic is *direct*, its events go to the sender. The first send that fails or is in doubt gives the topic a
*backlog*: all its unacknowledged sends move to the spool, in order of receipt, and new events join behind them. Once
the drainer has handed everything that waits to the sender, the topic is direct again: the sender keeps the order.
A state machine without I/O; `outbox.publisher` and `outbox.drainer` drive it.
"""

import asyncio
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """The order of one topic. Items are the records that its driver sends."""

    def __init__(self) -> None:
        """Start with a backlog: the topic becomes direct once the drainer finds nothing waiting and Kafka available."""
        self.direct = False
        """Whether new events go to the sender instead of the spool."""
        self.waiting = 0
        """Number of events in the spool or on their way into it."""
        self.taken = 0
        """Row up to which the drainer has taken the queue; 0: it must start with the first row."""
        self.changed = asyncio.Event()
        """Set when the drainer, which waits for it, may have something to do."""
        self._unacknowledged: dict[Item, None] = {}

    def arrive(self, item: Item) -> bool:
        """Take a new event; return whether it goes to the sender directly."""
        if self.direct:
            self._unacknowledged[item] = None
        else:
            self.waiting += 1
        return self.direct

    def end(self, item: Item) -> bool:
        """Forget a direct send that was acknowledged or rejected. Returns False if it had moved to the spool."""
        if item in self._unacknowledged:
            del self._unacknowledged[item]
            return True
        return False

    def fail(self) -> list[Item]:
        """Give the topic a backlog; return its unacknowledged sends, to be moved to the spool in this order."""
        self.direct = False
        moved = list(self._unacknowledged)
        self._unacknowledged.clear()
        self.waiting += len(moved)
        return moved

    def left(self, count: int) -> None:
        """Note that `count` events left the spool, or did not get into it."""
        self.waiting -= count

    def handed_over(self, count: int) -> bool:
        """Make the topic direct if only the `count` events that the sender has are waiting; return whether it is."""
        if count == self.waiting:
            self.direct = True
        return self.direct
