"""How far a partition is known: a pure machine over the offsets of our own records, of those read, and of its end.

A replica knows the offsets of its own records from their acknowledgements. Where no offset is missing, nobody else
wrote, and nothing has to be read. `kafka.follower` has one for each partition.
"""


class Position:
    """What is known of one partition: everything below `next`, our own records behind it, and its `end`."""

    __slots__ = ("_own", "end", "next")

    def __init__(self, following: int | None = None) -> None:
        self.next = following
        """Offset of the first record that is not known; None until it is found out where to begin."""
        self.end = 0
        """Offset behind the last record, when it was last looked at."""
        self._own: dict[int, int] = {}
        """Our own records behind `next`: first offset, and offset behind the last."""

    @property
    def behind(self) -> int:
        """How many offsets up to the end are not known, our own among them."""
        return max(0, self.end - self.next) if self.next is not None else self.end

    def begin(self, at: int) -> None:
        """Begin at an offset: the first that there is, or that matters."""
        self.next = at
        self._own = {first: last for first, last in self._own.items() if last > at}
        self._join()

    def acknowledged(self, offset: int, count: int) -> None:
        """Note that `count` records of ours lie at `offset`."""
        if offset == self.next and not self._own:  # as nearly always
            self.next = offset + count
            return
        if offset < 0 or (self.next is not None and offset + count <= self.next):
            return
        self._own[offset] = offset + count
        self._join()

    def read(self, up_to: int) -> None:
        """Note that everything below `up_to` was read."""
        if self.next is None or up_to > self.next:
            self.next = up_to
            self._own = {first: last for first, last in self._own.items() if last > up_to}
            self._join()

    def _join(self) -> None:
        """Go over our own records that begin where what is known ends."""
        while self.next is not None and self._own:
            first = min(self._own)
            if first > self.next:
                return
            self.next = max(self.next, self._own.pop(first))
