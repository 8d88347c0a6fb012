"""A wall clock that jumps, for one process and those it starts: libfaketime, whose offset is changed while it runs.

The monotonic clock stays the machine's, as it does where an operator or a time server sets the time.
"""

from pathlib import Path
from typing import Final

from tests.faults.scenario import UnavailableError

INSTALL: Final = "libfaketime.so.1 is missing: `apt-get install faketime` (`make tools`)"


class WallClock:
    """The wall clock of whoever is started with these `surroundings`."""

    def __init__(self, folder: Path) -> None:
        """Keep the offset in a file of `folder`. Raises `UnavailableError`."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not found:
            raise UnavailableError(INSTALL)
        self._file = folder / "wall-clock"
        self.jump_to(0)
        self.surroundings = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump_to(self, seconds: int) -> None:
        """Let the clock be so many seconds fast, or slow where negative, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._file)
