"""A wall clock that jumps, for one process: `jumping_clock.c`, preloaded, whose offset is changed while it runs.

The monotonic clock stays the machine's, as it does where an operator or a time server sets the time.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.faults.scenario import UnavailableError

SOURCE: Final = Path(__file__).with_name("jumping_clock.c")


class WallClock:
    """The wall clock of whoever is started with these `surroundings`."""

    def __init__(self, folder: Path) -> None:
        """Keep library and offset in `folder`. Raises `UnavailableError`."""
        compiler = shutil.which("cc")
        if compiler is None:
            message = "no C compiler for a clock that jumps: `apt-get install gcc libc6-dev` (`make tools`)"
            raise UnavailableError(message)
        library = folder / "jumping_clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self._file = folder / "wall-clock"
        self._file.write_bytes(bytes(8))
        self.surroundings = {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(self._file)}

    def jump_to(self, seconds: int) -> None:
        """Let the clock be so many seconds fast, or slow where negative, from now on."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
