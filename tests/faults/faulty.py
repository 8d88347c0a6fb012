"""A daemon on the clock of the fault tests, that may be a mutant (`mutants`) or strike itself (`hooks`)."""

import signal
import sys
from pathlib import Path
from time import monotonic

from tests.support.daemon import Daemon


class FaultyDaemon(Daemon):
    """A daemon on the clock of these tests, that may be a mutant: the ledger must catch them."""

    def __init__(self, folder: Path, clock: float, broken: str | None, **settings: object) -> None:
        super().__init__(folder, **settings)
        self._clock = clock
        self._switch_to(broken or "none")
        self.surroundings = {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.unforeseen: list[str] = []
        """How it ended when nobody had asked it to."""
        self.ends: list[float] = []
        """When it had ended because it was asked to, by the monotonic clock."""

    @property
    def started(self) -> bool:
        """Whether it ever was."""
        return self._process is not None

    def anew(self, folder: Path) -> "FaultyDaemon":
        """Return one with the same settings in a new folder, that does nothing to itself."""
        folder.mkdir()
        return FaultyDaemon(folder, self._clock, None, **{**self._settings, "state_dir": folder / "state"})

    def change(self, **settings: object) -> None:
        """Have the next start use these settings instead; None leaves one out."""
        self._settings = {**self._settings, **settings}

    def terminate(self) -> int:
        """Ask it to end; return its exit code."""
        code = super().terminate()
        self.ends.append(monotonic())
        return code

    def kill_and_start(self) -> None:
        """Crash, and come back."""
        code = self.process.poll()
        if code not in {None, -signal.SIGKILL}:
            self.unforeseen.append(f"the daemon was to be killed, and had ended with exit code {code}")
        self.kill()
        self.start()

    def heal(self) -> None:
        """Crash, and come back without what it did to itself."""
        self._switch_to("none")
        self.kill_and_start()

    def _switch_to(self, switch: str) -> None:
        self.program = [sys.executable, "-m", "tests.faults.launch", str(self._clock), switch]
