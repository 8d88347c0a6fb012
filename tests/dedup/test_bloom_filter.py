"""The Bloom filter: never a false "no", whatever is being written or read while it is built."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest
from rbloom import Bloom

from aurora_bridge.dedup import bloom_filter, index
from aurora_bridge.dedup.bloom_filter import BloomFilter
from aurora_bridge.dedup.index_file import IndexFile
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings
from tests.dedup.events import NOON
from tests.dedup.life import PATIENCE, failing, held_up, turns, until

RANDOM = Random(4)


def fingerprints(count: int) -> list[str]:
    """Return fingerprints that nobody had before."""
    return [f"{RANDOM.getrandbits(128):032x}" for _ in range(count)]


class Filtered:
    """An index file with a filter before it, as the deduplicator has them."""

    def __init__(self, directory: Path) -> None:
        self.file = IndexFile(directory, IndexSettings(), PATIENCE, Metrics(), self._opened)
        self.members = BloomFilter(self.file)
        self.written: list[str] = []

    def _opened(self, found: index.Found) -> None:
        self.members.build(found.bytes)

    async def write(self, new: Sequence[str]) -> None:
        """Write fingerprints, and announce them, as `write_behind` does."""
        self.members.update(new)
        rows = [(fingerprint, int(State.SEEN), NOON, 0, NOON, 1, False) for fingerprint in new]
        await self.file.call(partial(index.write, rows=rows, latest=[]))
        self.written += new

    async def read(self) -> None:
        """Return when the thread has done what it was asked for."""
        await self.file.call(lambda _db: None)
        await turns()

    @property
    def missing(self) -> list[str]:
        """What the filter says is not there, and is."""
        return [fingerprint for fingerprint in self.written if fingerprint not in self.members]


@pytest.fixture
async def filtered(tmp_path: Path) -> AsyncIterator[Filtered]:
    made = Filtered(tmp_path)
    made.file.start()
    yield made
    assert await made.file.stop(PATIENCE)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The capacities of the filters that are made; they are small."""
    made: list[int] = []

    def make(capacity: int, false_alarms: float) -> Bloom:
        made.append(capacity)
        return Bloom(capacity, false_alarms)

    monkeypatch.setattr(bloom_filter, "Bloom", make)
    monkeypatch.setattr(bloom_filter, "_LEAST", 64)
    monkeypatch.setattr(bloom_filter, "_ROW_BYTES", 100_000)
    return made


async def test_until_it_is_built_everything_may_be_there(filtered: Filtered) -> None:
    with held_up("fingerprints"):
        await turns()
        assert not filtered.members.built
        assert fingerprints(1)[0] in filtered.members
    await until(lambda: filtered.members.built)
    assert fingerprints(1)[0] not in filtered.members


@pytest.mark.parametrize("at_once", [1, 7, 20_000])
async def test_what_is_in_a_file_that_is_opened_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(bloom_filter, "_AT_ONCE", at_once)
    first = Filtered(tmp_path)
    first.file.start()
    await first.write(fingerprints(50))
    assert await first.file.stop(PATIENCE)
    second = Filtered(tmp_path)
    second.file.start()
    await until(lambda: second.members.built)
    second.written = first.written
    assert second.missing == []
    assert await second.file.stop(PATIENCE)


@pytest.mark.parametrize("at_once", [1, 3, 20_000])
async def test_what_is_written_while_it_is_built_may_be_there(
    filtered: Filtered, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Wherever the reading has come to."""
    await filtered.write(fingerprints(20))
    monkeypatch.setattr(bloom_filter, "_AT_ONCE", at_once)
    for _ in range(10):
        filtered.members.build(filtered.file.used_bytes)
        for _ in range(5):
            await filtered.write(fingerprints(3))
            assert filtered.missing == []
    await filtered.read()
    assert filtered.missing == []


@pytest.mark.parametrize("batch", [1, 10, 50])
async def test_when_it_is_full_it_is_rebuilt_and_what_is_written_then_may_be_there(
    filtered: Filtered, sizes: list[int], batch: int
) -> None:
    await until(lambda: filtered.members.built)
    for _ in range(max(30, 300 // batch)):
        await filtered.write(fingerprints(batch))
        assert filtered.missing == []
    await filtered.read()
    assert filtered.missing == []
    assert len(sizes) > 2


async def test_it_grows_with_the_fingerprints_and_not_with_what_is_written(
    filtered: Filtered, sizes: list[int]
) -> None:
    await until(lambda: filtered.members.built)
    known = fingerprints(50)
    for _ in range(100):
        await filtered.write(known)
    assert set(sizes) == {64}
    assert len(sizes) < 10


async def test_it_is_sure_of_nearly_all_that_is_not_there(filtered: Filtered) -> None:
    await until(lambda: filtered.members.built)
    for _ in range(10):
        await filtered.write(fingerprints(5000))
    assert sum(fingerprint in filtered.members for fingerprint in fingerprints(10_000)) < 50


async def test_a_filter_whose_rebuilding_failed_goes_on_with_what_it_has(filtered: Filtered, sizes: list[int]) -> None:
    await until(lambda: filtered.members.built)
    with failing("fingerprints", code=sqlite3.SQLITE_IOERR):
        filtered.members.build(0)
        await until(lambda: filtered.file.failed)
    made = len(sizes)
    filtered.written = fingerprints(100)
    filtered.members.update(filtered.written)
    assert (filtered.missing, len(sizes)) == ([], made)
