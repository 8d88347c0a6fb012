"""How far a partition is known: a pure machine over the offsets of our own records, of those read, and of its end.

A replica knows the offsets of its own records from their acknowledgements. Where no offset is missing, nobody else
wrote, and nothing has to be read. `kafka.follower` has one for each partition.
"""

_MOST_RUNS = 1000
"""Kept behind a gap that cannot be read: 100 kB a partition. More of our own are read from Kafka like another's."""


class Position:
    """What is known of one partition: everything below `next`, our own records behind it, and its `end`."""

    __slots__ = ("_own", "cut", "end", "next", "shrunk", "waited")

    def __init__(self, following: int | None = None) -> None:
        self.next = following
        """Offset of the first record that is not known; None until it is found out where to begin."""
        self.end = 0
        """Offset behind the last record, when it was last looked at."""
        self.cut = False
        """Whether records before it were deleted, and nothing was read behind them yet."""
        self.shrunk = 0
        """Looks in a row that found it shorter than what is known of it."""
        self.waited = 0
        """Its end at the last look, where what was missing then is left for one more; else 0."""
        self._own: dict[int, int] = {}
        """Our own records behind `next`: first offset, and offset behind the last."""

    @property
    def behind(self) -> int:
        """How many offsets up to the end are not known, our own among them."""
        return max(0, self.end - self.next) if self.next is not None else self.end

    def begin(self, at: int, *, cut: bool = False) -> None:
        """Begin at an offset: the first that matters, or with `cut` the first that is left."""
        self.next, self.cut = at, cut
        self._join()

    def acknowledged(self, offset: int, count: int) -> None:
        """Note that `count` records of ours lie at `offset`."""
        if len(self._own) < _MOST_RUNS or (self.next is not None and offset <= self.next):
            self._own[offset] = offset + count
            self._join()

    def read(self, up_to: int) -> None:
        """Note that everything below `up_to` was read."""
        self.next = max(up_to, self.next or 0)
        self._join()

    def _join(self) -> None:
        """Go over our own records that begin where what is known ends, or before."""
        while self.next is not None and self._own:
            first = min(self._own)
            if first > self.next:
                return
            self.next = max(self.next, self._own.pop(first))
