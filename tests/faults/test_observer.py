"""What is seen now and then is taken for longer than it was seen, and never for shorter."""

from math import inf
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from tests.faults import observer
from tests.faults.observer import Observer, Spans


def test_a_span_lasts_from_the_last_look_before_it_to_the_end_of_the_first_look_after_it() -> None:
    spans = Spans()
    for began, so in ((1.0, False), (2.0, True), (3.0, True)):
        spans.see(began, so=so)
    assert spans.spans == [(1.0, inf)]
    spans.see(4.0, so=False)
    ((start, end),) = spans.spans
    assert start == 1.0
    assert 4.0 < end < inf


def test_what_was_so_at_the_first_look_may_always_have_been() -> None:
    spans = Spans()
    spans.see(1.0, so=True)
    assert spans.spans == [(-inf, inf)]


def test_what_is_never_so_has_no_span_and_what_is_so_again_has_another() -> None:
    spans = Spans()
    for began in (1.0, 2.0):
        spans.see(began, so=False)
    assert spans.spans == []
    for began, so in ((3.0, True), (4.0, False), (5.0, True)):
        spans.see(began, so=so)
    assert [start for start, _ in spans.spans] == [2.0, 4.0]


@pytest.mark.parametrize(("lost", "crashes"), [(None, 0), (1.0, 1)], ids=["with its index", "whose index was lost"])
def test_an_end_in_order_is_none_for_a_daemon_whose_index_was_lost(lost: float | None, crashes: int) -> None:
    seen = Observer([cast("Any", SimpleNamespace(ends=[2.0]))])
    down = seen._down[0]  # noqa: SLF001 - which a thread fills
    for began, so in ((1.5, False), (2.5, True), (3.0, False)):
        down.see(began, so=so)
    if lost is not None:
        with patch.object(observer, "monotonic", lambda: 2.2):
            seen.index_lost(lost)
    assert len(seen.limits().crashes) == crashes
