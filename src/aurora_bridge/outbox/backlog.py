"""One order per topic, through failure and recovery: direct or by way of the spool.

While a topic is *direct*, its events go to the sender. The first send that fails or is in doubt gives the topic a
*backlog* from that decision on: all its unacknowledged sends move to the spool, in order of receipt, and what comes
joins behind them. When the drainer has handed the sender everything that waits, newcomers may follow directly: the
sender keeps their order. A pure machine, without I/O; `outbox.publisher` and `outbox.drainer` drive it.
"""

import asyncio
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """The order of one topic. An item is whatever its driver sends."""

    def __init__(self) -> None:
        """Begin with a backlog: a topic is direct once the drainer found nothing waiting and Kafka there."""
        self.direct = False
        """Whether new events go to the sender, and not to the spool."""
        self.waiting = 0
        """Events in the spool, those on their way into it included."""
        self.taken = 0
        """The row up to which the drainer took what waits; 0 where it has to look from the first."""
        self.changed = asyncio.Event()
        """Set when there may be something to do for the drainer, who waits for it."""
        self._unacknowledged: dict[Item, None] = {}

    def arrive(self, item: Item) -> bool:
        """Take a new event; return whether it goes to the sender directly."""
        if self.direct:
            self._unacknowledged[item] = None
        else:
            self.waiting += 1
        return self.direct

    def end(self, item: Item) -> bool:
        """Forget a direct send: acknowledged or rejected. False if it had moved to the spool."""
        if item in self._unacknowledged:
            del self._unacknowledged[item]
            return True
        return False

    def fail(self) -> list[Item]:
        """Give the topic a backlog; return its unacknowledged sends, which move to the spool in this order."""
        self.direct = False
        moved = list(self._unacknowledged)
        self._unacknowledged.clear()
        self.waiting += len(moved)
        return moved

    def left(self, count: int) -> None:
        """Note that `count` events left the spool, or never got in."""
        self.waiting -= count

    def handed_over(self, count: int) -> bool:
        """Make the topic direct if `count`, which the sender has now, is all that waits; say whether it is direct."""
        if count == self.waiting:
            self.direct = True
        return self.direct
