"""A Bloom filter of the fingerprints in the file: it answers "certainly not" for nearly every new one.

For any other fingerprint, the file is queried. It takes about 2 bytes per fingerprint in the file, and has 1 % false
positives when full; then it is rebuilt from the file, as at start. Until it is built, it answers "maybe".
"""

from collections.abc import Sequence

from rbloom import Bloom

from aurora_bridge.dedup import index
from aurora_bridge.dedup.index_file import IndexFile

_LEAST = 2**20
_HEADROOM = 1.5
_FALSE_ALARMS = 0.01
_ROW_BYTES = 60
"""Least size of a fingerprint in the file."""
_AT_ONCE = 20_000
"""Fingerprints read in one job: some 10 ms of the file's thread."""


class BloomFilter:
    """The filter. It is built by a series of jobs of the file."""

    def __init__(self, file: IndexFile) -> None:
        self._file = file
        self._bloom: Bloom | None = None
        self._next: Bloom | None = None
        self._capacity = 0
        self._added = 0

    @property
    def built(self) -> bool:
        """Whether it can rule anything out."""
        return self._bloom is not None

    def __contains__(self, fingerprint: str) -> bool:
        bloom = self._bloom
        return bloom is None or fingerprint in bloom

    def update(self, fingerprints: Sequence[str]) -> None:
        """Add fingerprints that are being written."""
        self._added += len(fingerprints)
        if self._added > self._capacity and self._bloom is not None and self._next is None:
            self._added = int(min(self._bloom.approx_items, self._added))  # most were added more than once
            if self._added > self._capacity:
                self.build(self._file.used_bytes)
        for bloom in (self._bloom, self._next):
            if bloom is not None:
                bloom.update(fingerprints)

    def build(self, used_bytes: int) -> None:
        """Rebuild it from a file with `used_bytes` in use."""
        self._capacity = int(max(_LEAST, used_bytes / _ROW_BYTES * _HEADROOM))
        self._added = 0
        self._next = Bloom(self._capacity, _FALSE_ALARMS)
        self._read((0, ""), self._next)

    def _read(self, cursor: index.Cursor, bloom: Bloom) -> None:
        def done(part: tuple[list[str], index.Cursor | None] | None, error: Exception | None) -> None:
            if error is not None or part is None or bloom is not self._next:
                return  # it is rebuilt when the file is reopened
            found, following = part
            bloom.update(found)
            self._added += len(found)
            if following is not None:
                self._read(following, bloom)
            else:
                self._bloom, self._next = bloom, None

        self._file.post(lambda db: index.fingerprints(db, cursor, _AT_ONCE), done)
