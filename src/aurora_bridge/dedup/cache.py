"""A write-behind cache of one table of the index file: what is in use, or the file does not hold yet as it stands."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

SLICES = "0123456789abcdef"
"""First digits of keys: what is written together shares pages of the file."""


@dataclass(slots=True, eq=False)
class Item:
    """A row of the table, in memory."""

    key: str
    """32 hex digits."""
    changed: bool = field(default=False, init=False)
    """Whether it changed since it was last taken to be written."""
    writes: int = field(default=0, init=False)
    """Writes of it that the file has not confirmed."""

    @property
    def in_use(self) -> bool:
        """Whether it is needed here, also where the file holds it."""
        return False


T = TypeVar("T", bound=Item)


class Cache(Generic[T]):
    """Items by key. What is neither changed nor in use may leave once its writes are confirmed."""

    def __init__(self) -> None:
        self.items: dict[str, T] = {}
        self._changed: dict[str, dict[str, T]] = {name: {} for name in SLICES}

    @property
    def changed(self) -> int:
        """How many items are to be written."""
        return sum(map(len, self._changed.values()))

    def change(self, item: T) -> None:
        """Note that an item is to be written."""
        item.changed = True
        self._changed[item.key[0]][item.key] = item

    def take(self, name: str) -> list[T]:
        """Return what changed in a slice, and is written now."""
        taken, self._changed[name] = self._changed[name], {}
        return self._taken(taken.values())

    def take_one(self, item: T) -> list[T]:
        """Return an item if it is to be written, and is now."""
        taken = self._changed[item.key[0]].pop(item.key, None)
        return self._taken([] if taken is None else [taken])

    def _taken(self, items: Iterable[T]) -> list[T]:
        taken = list(items)
        for item in taken:
            item.changed = False
            item.writes += 1
        return taken

    def written(self, items: Iterable[T]) -> None:
        """Note that the file has what was taken."""
        for item in items:
            item.writes -= 1

    def not_written(self, items: Iterable[T]) -> None:
        """Note that what was taken has to be written again, unless it was replaced."""
        for item in items:
            item.writes -= 1
            if self.items.get(item.key) is item:
                self.change(item)

    def release(self, items: Iterable[T]) -> None:
        """Let items leave that are of no concern here any more."""
        for item in items:
            if self.items.get(item.key) is item and not (item.changed or item.writes or item.in_use):
                del self.items[item.key]

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Forget all but some, written or not."""
        self.items = {key: item for key, item in self.items.items() if wanted(item)}
        self._changed = {name: {} for name in SLICES}
        for item in self.items.values():
            if item.changed:
                self.change(item)
