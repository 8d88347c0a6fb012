"""How far a partition is known, whatever order acknowledgements and reads come in."""

from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.kafka.position import Position


def test_where_only_we_write_nothing_is_left_to_read() -> None:
    position = Position(0)
    for offset, count in ((0, 3), (3, 1), (4, 10)):
        position.acknowledged(offset, count)
    position.end = 14
    assert (position.next, position.behind) == (14, 0)


def test_what_another_wrote_in_between_is_behind_until_it_is_read() -> None:
    position = Position(0)
    position.acknowledged(0, 2)
    position.acknowledged(3, 2)
    position.end = 5
    assert (position.next, position.behind) == (2, 3)
    position.read(3)
    assert (position.next, position.behind) == (5, 0)


def test_acknowledgements_that_come_out_of_order_close_their_gap_by_themselves() -> None:
    position = Position(0)
    position.acknowledged(2, 1)
    position.acknowledged(0, 2)
    assert position.next == 3


def test_what_was_acknowledged_before_the_beginning_was_known_counts_from_there() -> None:
    position = Position()
    position.acknowledged(5, 2)
    assert position.next is None
    position.begin(5)
    assert position.next == 7


def test_what_waits_behind_a_gap_that_is_never_read_is_bounded_and_read_in_the_end() -> None:
    position = Position(0)
    for offset in range(1, 10_000, 2):
        position.acknowledged(offset, 1)
    position.end = 10_000
    while position.behind and position.next is not None:
        assert position.next % 2 == 0 or position.next >= 2000
        position.read(position.next + 1)
    assert position.next == 10_000


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=30),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
)
def test_in_any_order_the_next_offset_is_the_first_that_is_neither_ours_nor_read(
    runs: list[tuple[bool, int]], random: "object", begin: int
) -> None:
    """Runs of records, ours or another's, are acknowledged or read in any order."""
    position, known, at = Position(begin), set(range(begin)), begin
    ours = []
    for is_ours, count in runs:
        if is_ours:
            ours.append((at, count))
        at += count
    position.end = at
    random.shuffle(ours)  # type: ignore[attr-defined]  # Hypothesis' own type of Random is not public
    for offset, count in ours:
        position.acknowledged(offset, count)
        known |= set(range(offset, offset + count))
        assert position.next == next(offset for offset in range(at + 1) if offset not in known)
    while position.behind and position.next is not None:
        known.add(position.next)
        position.read(position.next + 1)
        assert position.next == next(offset for offset in range(at + 1) if offset not in known)
    assert position.next == at
