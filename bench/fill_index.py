"""An index that knows many fingerprints, written without a daemon that received them."""

from __future__ import annotations

from contextlib import closing
from random import Random
from time import time
from typing import TYPE_CHECKING

from aurora_bridge.dedup import index, segments
from aurora_bridge.dedup.lifecycle import State

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE = 100_000
_MOST_BYTES = 2**40


def fill_index(directory: Path, count: int) -> None:
    """Make the state directory of a daemon whose index holds `count` random fingerprints, seen today.

    It has no positions in Kafka: a start on it has nothing to read. In the order of fingerprints, which is quick.
    """
    directory.mkdir(parents=True)
    random, now_ms = Random(1), int(time() * 1000)  # noqa: S311 - no cryptography
    step = 2**128 // count
    with closing(index.open_index(directory / index.FILE, _MOST_BYTES)) as db:
        for start in range(0, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            names = (f"{number * step + random.randrange(step):032x}" for number in numbers)
            db.execute("BEGIN IMMEDIATE")
            rows = [(name, int(State.SEEN), now_ms, 0, now_ms, 1, False) for name in names]
            index.write(db, rows, [])
            segments.begin_when_due(db, now_ms, _MOST_BYTES)
            db.execute("COMMIT")
