"""A re-send that an operator declared: Aurora's support sends a window of past webhooks once more.

While it lasts, everything accepted before is a duplicate (`recurrence.decide`). The declaration expires after a day,
because it also hides genuine repeats. It is kept in the state directory, to survive a restart. Each replica has its
own: sharing it through a topic would show it to every consumer.
"""

import asyncio
import logging
from pathlib import Path
from time import time
from typing import NamedTuple

import orjson

from aurora_bridge.logs import fields
from aurora_bridge.os_errors import reason
from aurora_bridge.state.directory import StateError, write_durably
from aurora_bridge.state.line_file import LineFile

log = logging.getLogger(__name__)

FILE = "resend"
LASTS_MS = 86_400_000
_SAVE_SECONDS = 5.0
"""A crash loses at most this much of the counts."""


class Declaration(NamedTuple):
    """The last declared re-send. Times are in milliseconds since the epoch."""

    begun_ms: int = 0
    """0: none was ever declared."""
    ends_ms: int = 0
    """When it ends, or has ended."""
    known: int = 0
    """Deliveries since then that were duplicates."""
    new: int = 0
    """Deliveries since then that were published, including those that Aurora sent for the first time."""

    def lasts(self, now_ms: int) -> bool:
        """Whether it is in progress."""
        return now_ms < self.ends_ms

    def begin(self, now_ms: int) -> "Declaration":
        """Return one that lasts a day from now. If one is in progress, it is extended."""
        ends_ms = now_ms + LASTS_MS
        return self._replace(ends_ms=ends_ms) if self.lasts(now_ms) else Declaration(now_ms, ends_ms)

    def end(self, now_ms: int) -> "Declaration":
        """Return it ended. Raises `ValueError` if none is in progress."""
        if not self.lasts(now_ms):
            msg = "no re-send is in progress"
            raise ValueError(msg)
        return self._replace(ends_ms=now_ms)


class Resend:
    """The re-send of a state directory, and its counts. Not thread-safe: call it from the event loop only."""

    def __init__(self, directory: Path) -> None:
        """Continue with the declaration in the directory. If it cannot be read, that is logged, and there is none."""
        self._file = LineFile(directory / FILE)
        self._writing = asyncio.Lock()
        try:
            self.declared = read(directory)
        except StateError as error:
            log.error("%s Until it is declared again, no re-send is in progress.", error)  # noqa: TRY400 - it says all
            self.declared = Declaration()
        self._saved = self.declared
        self._lasting = False

    def lasts(self, now_ms: int) -> bool:
        """Whether it is in progress."""
        return now_ms < self.declared.ends_ms

    def count(self, now_ms: int, *, known: bool) -> None:
        """Count a delivery, if a re-send is in progress."""
        declared = self.declared
        if now_ms < declared.ends_ms:
            self.declared = (
                declared._replace(known=declared.known + 1) if known else declared._replace(new=declared.new + 1)
            )

    async def begin(self, now_ms: int) -> Declaration:
        """Declare that a re-send begins; return once that is durable. Raises `ValueError` if it cannot be written."""
        return await self._change(self.declared.begin(now_ms))

    async def end(self, now_ms: int) -> Declaration:
        """Declare that it is over. Raises `ValueError` if none is in progress, or it cannot be written."""
        return await self._change(self.declared.end(now_ms))

    async def _change(self, declared: Declaration) -> Declaration:
        before, self.declared = self.declared, declared
        try:
            await self.save()
        except OSError as error:
            self.declared = before
            msg = f"{self._file.path} cannot be written: {reason(error)}"
            raise ValueError(msg) from error
        return self.declared

    async def save(self) -> None:
        """Write the declaration if it changed. Raises `OSError`."""
        async with self._writing:
            declared = self.declared
            if declared != self._saved:
                await self._file.write(_line(declared))
                self._saved = declared

    async def stop(self, patience: float) -> bool:
        """Write the declaration if it changed; False if that failed, or took longer than `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self.save()
        except (OSError, TimeoutError):
            return False
        return True

    async def run(self) -> None:
        """Save the counts every few seconds, and log when a re-send has ended by itself, until cancelled."""
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            await self.save()
            self.tell(int(time() * 1000))

    def tell(self, now_ms: int) -> None:
        """Log once that a re-send is over."""
        lasting, self._lasting = self._lasting, self.lasts(now_ms)
        if lasting and not self._lasting:
            log.info("the re-send is over", extra=fields(known=self.declared.known, new=self.declared.new))


def read(directory: Path) -> Declaration:
    """Return the declaration in a state directory. Raises `StateError`."""
    path = directory / FILE
    try:
        return Declaration(**{name: int(value) for name, value in orjson.loads(path.read_bytes()).items()})
    except FileNotFoundError:
        return Declaration()
    except OSError as error:
        msg = f"{path} cannot be read: {reason(error)}. Give the daemon's user access to it."
        raise StateError(msg) from error
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"{path} is not a valid re-send declaration. Delete it."
        raise StateError(msg) from error


def write(directory: Path, declared: Declaration) -> None:
    """Write a declaration to a state directory that the caller has locked. Raises `OSError`."""
    write_durably(directory / FILE, _line(declared))


def _line(declared: Declaration) -> str:
    return orjson.dumps(declared._asdict()).decode()
