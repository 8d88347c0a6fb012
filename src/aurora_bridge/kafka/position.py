"""How far a partition is known, from the offsets of our own records, of those read, and of its end. Does no I/O.

A replica knows the offsets of its own records from their acknowledgements. If no offset is missing, nobody else wrote,
and nothing has to be read. `partitions` has one for each partition.
"""

_MOST_RUNS = 1000
"""Runs kept beyond a gap that cannot be read: 100 kB per partition. Further records of ours are read from Kafka."""


class Position:
    """What is known of one partition: everything below `next`, our own records beyond it, and its `end`."""

    __slots__ = ("_own", "_shortest", "cut", "end", "next", "shrunk", "waited")

    def __init__(self, following: int | None = None) -> None:
        self.next = following
        """First unknown offset; None until the starting point is known."""
        self.end = 0
        """End offset at the last poll."""
        self.cut = False
        """Whether records before `next` were deleted, and nothing has been read since."""
        self.shrunk = 0
        """Polls in a row that found it shorter than what is known of it."""
        self._shortest = 0
        """Least end that these polls found."""
        self.waited = 0
        """End offset at the last poll, if that poll left a gap for the next one; else 0."""
        self._own: dict[int, int] = {}
        """Our own records beyond `next`: end offset by first offset."""

    @property
    def behind(self) -> int:
        """Number of offsets from `next` to the end, our own records included."""
        return max(0, self.end - self.next) if self.next is not None else self.end

    @property
    def known(self) -> bool:
        """Whether all up to the end is known, apart from a gap that was left for the next poll."""
        return self.next is not None and (self.next >= self.end or self.waited > 0) and not self.shrunk

    def begin(self, at: int, *, cut: bool = False) -> None:
        """Begin at an offset: the first that matters, or with `cut` the first that is left."""
        self.next, self.cut = at, cut
        self._join()

    def see_end(self, end: int, known: int) -> None:
        """Note the end at this poll; `known` is what `next` was before.

        Where a leader had less, other records may have taken the place of those that are known: they are read again.
        """
        self.end = end
        if end < known:
            self._shortest = min(self._shortest, end) if self.shrunk else end
            self.shrunk += 1
        elif self.shrunk:
            self.next, self.shrunk = self._shortest, 0

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
        """Advance `next` over our own records that adjoin it."""
        while self.next is not None and self._own:
            first = min(self._own)
            if first > self.next:
                return
            self.next = max(self.next, self._own.pop(first))
