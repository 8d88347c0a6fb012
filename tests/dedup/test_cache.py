"""A cache of rows: nothing that changed, is being written or is in use leaves it."""

from dataclasses import dataclass

from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from aurora_bridge.dedup.cache import SLICES, Cache, Item

KEYS = [f"{digit}{number}".ljust(32, "0") for digit in "0f" for number in range(2)]


@dataclass(slots=True, eq=False)
class Row(Item):
    """An item that a test uses, or does not."""

    value: int = 0
    used: bool = False

    @property
    def in_use(self) -> bool:
        return self.used


def entered(cache: Cache[Row], key: str, value: int = 0) -> Row:
    """Put an item into a cache that is to be written."""
    row = cache.items[key] = Row(key, value)
    cache.change(row)
    return row


def test_what_changed_in_a_slice_is_taken_once() -> None:
    cache = Cache[Row]()
    first, second = entered(cache, KEYS[0]), entered(cache, KEYS[2])
    assert cache.changed == 2
    assert (cache.take("0"), cache.take("0"), cache.take("f")) == ([first], [], [second])
    assert cache.changed == 0


def test_one_item_is_taken_before_its_slice() -> None:
    cache = Cache[Row]()
    row = entered(cache, KEYS[0])
    assert (cache.take_one(row), cache.take_one(row), cache.take("0")) == ([row], [], [])


def test_what_changes_while_it_is_being_written_is_written_again_and_stays() -> None:
    cache = Cache[Row]()
    row = entered(cache, KEYS[0])
    (taken,) = cache.take("0")
    cache.change(row)
    cache.written([taken])
    cache.release([taken])
    assert (cache.items[row.key], cache.take("0")) == (row, [row])


def test_a_write_that_fails_while_another_is_under_way_leaves_its_item_to_be_written() -> None:
    cache = Cache[Row]()
    row = entered(cache, KEYS[0])
    first = cache.take("0")
    cache.change(row)
    second = cache.take("0")
    cache.not_written(first)
    cache.written(second)
    cache.release(second)
    assert (cache.items[row.key], cache.take("0")) == (row, [row])


def test_a_write_that_fails_of_an_item_that_was_replaced_is_not_repeated() -> None:
    cache = Cache[Row]()
    entered(cache, KEYS[0], 1)
    taken = cache.take("0")
    newer = entered(cache, KEYS[0], 2)
    cache.not_written(taken)
    assert cache.take("0") == [newer]


def test_an_item_that_was_replaced_does_not_take_its_successor_with_it() -> None:
    cache = Cache[Row]()
    entered(cache, KEYS[0], 1)
    taken = cache.take("0")
    newer = Row(KEYS[0], 2)
    cache.items[newer.key] = newer
    cache.written(taken)
    cache.release(taken)
    assert cache.items == {newer.key: newer}


def test_what_is_in_use_stays_though_it_is_written() -> None:
    cache = Cache[Row]()
    row = entered(cache, KEYS[0])
    row.used = True
    taken = cache.take("0")
    cache.written(taken)
    cache.release(taken)
    assert cache.items == {row.key: row}
    row.used = False
    cache.release(taken)
    assert cache.items == {}


def test_what_is_given_up_is_forgotten_and_what_is_kept_is_still_to_be_written() -> None:
    cache = Cache[Row]()
    kept, under_way, lost = (entered(cache, key) for key in KEYS[:3])
    taken = cache.take_one(under_way)
    cache.keep(lambda row: row is kept)
    cache.not_written(taken)
    assert cache.items == {kept.key: kept}
    assert [cache.take(name) for name in SLICES] == [[kept], *([] for _ in SLICES[1:])]
    del lost


class Written(RuleBasedStateMachine):
    """Rows change, are written by a file that confirms or refuses in order, and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache[Row]()
        self.under_way: list[list[tuple[Row, int]]] = []
        self.file: dict[str, int] = {}
        self.wanted: dict[str, int] = {}

    @rule(key=sampled_from(KEYS), value=integers(0, 99))
    def change(self, key: str, value: int) -> None:
        row = self.cache.items.setdefault(key, Row(key))
        row.value = self.wanted[key] = value
        self.cache.change(row)

    @rule(name=sampled_from("0f"))
    def write(self, name: str) -> None:
        self.under_way.append([(row, row.value) for row in self.cache.take(name)])

    @precondition(lambda self: self.under_way)
    @rule()
    def confirm(self) -> None:
        batch = self.under_way.pop(0)
        self.file |= {row.key: value for row, value in batch}
        rows = [row for row, _ in batch]
        self.cache.written(rows)
        self.cache.release(rows)

    @precondition(lambda self: self.under_way)
    @rule()
    def refuse(self) -> None:
        self.cache.not_written([row for row, _ in self.under_way.pop(0)])

    @invariant()
    def what_is_not_here_is_in_the_file_as_it_should_be(self) -> None:
        for key, value in self.wanted.items():
            row = self.cache.items.get(key)
            assert (self.file.get(key) if row is None else row.value) == value

    def teardown(self) -> None:
        """Once all is written, nothing is left here."""
        while self.cache.changed or self.under_way:
            for name in "0f":
                self.write(name)
            while self.under_way:
                self.confirm()
        assert (self.cache.items, self.file) == ({}, self.wanted)


TestWritten = Written.TestCase
