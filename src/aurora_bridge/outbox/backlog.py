"""One order per topic, through failure and recovery: direct or by way of the spool.

While a topic is *direct*, its events go to the sender. The first send that fails or is in doubt gives the topic a
*backlog* from that decision on: all its unacknowledged sends move to the spool, in order of receipt, and what comes
joins behind them. When the drainer has handed the sender everything that waits, newcomers may follow directly: the
sender keeps their order. A pure machine, without I/O; `outbox.publisher` and `outbox.drainer` drive it.
"""

from enum import StrEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Way(StrEnum):
    """Where the events of a topic go."""

    DIRECT = "direct"
    BACKLOG = "backlog"


class Trouble(StrEnum):
    """What happens to a topic."""

    FAILED = "failed"
    """A send failed, is in doubt, or took too long."""
    CAUGHT_UP = "caught_up"
    """Everything that waited was handed to the sender, and Kafka acknowledges."""


TRANSITIONS = {
    (Way.DIRECT, Trouble.FAILED): Way.BACKLOG,
    (Way.DIRECT, Trouble.CAUGHT_UP): Way.DIRECT,
    (Way.BACKLOG, Trouble.FAILED): Way.BACKLOG,
    (Way.BACKLOG, Trouble.CAUGHT_UP): Way.DIRECT,
}


_DIRECT = Way.DIRECT  # in Python 3.11 each look-up of a member of an enumeration is a call


class Backlog(Generic[Item]):
    """The order of one topic. An item is whatever its driver sends."""

    def __init__(self) -> None:
        """Begin with a backlog: a topic is direct once the drainer found nothing waiting and Kafka there."""
        self.way = Way.BACKLOG
        self.waiting = 0
        """Events in the spool, those on their way into it included."""
        self._unacknowledged: dict[Item, None] = {}

    def arrive(self, item: Item) -> Way:
        """Take a new event; return the way it must go."""
        if self.way is _DIRECT:
            self._unacknowledged[item] = None
        else:
            self.waiting += 1
        return self.way

    def end(self, item: Item) -> bool:
        """Forget a direct send: acknowledged or refused for itself. False if it had moved to the spool."""
        if item in self._unacknowledged:
            del self._unacknowledged[item]
            return True
        return False

    def fail(self) -> list[Item]:
        """Give the topic a backlog; return its unacknowledged sends, which move to the spool in this order."""
        self.way = TRANSITIONS[self.way, Trouble.FAILED]
        moved = list(self._unacknowledged)
        self._unacknowledged.clear()
        self.waiting += len(moved)
        return moved

    def left(self, count: int) -> None:
        """Note that `count` events left the spool, or never got in."""
        self.waiting -= count

    def handed_over(self, count: int) -> bool:
        """Open the direct way if `count`, which the sender has now, is all that waits; say whether it is open."""
        if count == self.waiting:
            self.way = TRANSITIONS[self.way, Trouble.CAUGHT_UP]
        return self.way is Way.DIRECT
