"""Reloads files that change while the daemon runs: tokens, passwords, certificates.

They are read every few seconds, and at once on SIGHUP, and compared by content, not by time or name. So it does not
matter whether a file is written or a symbolic link is swapped, as Kubernetes does:
https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically
If the new content cannot be used, the last good content stays in force, and log and metric say so.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.os_errors import reason

log = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
_OTHERS_MAY_READ = 0o004

Take = Callable[[Sequence[bytes]], None]


class SecretFileError(Exception):
    """A file cannot be used. The message says which file and why, but never quotes its content."""


class _Followed:
    __slots__ = ("digest", "paths", "take", "why")

    def __init__(self, paths: Sequence[Path], take: Take) -> None:
        self.paths = paths
        self.take = take
        self.digest = b""
        self.why = ""


class SecretFiles:
    """Follows files: passes on their content at start and after each change."""

    def __init__(self, metrics: Metrics) -> None:
        """Export to `metrics` which files cannot be used, and how often each was reloaded."""
        self._failing = metrics.secret_file_failing
        self._reloads = metrics.secret_file_reloads
        self._followed: list[_Followed] = []
        self._asked = asyncio.Event()
        self.exposed: list[Path] = []
        """Files that every user of this machine could read when they were first read."""

    def follow(self, paths: Sequence[Path], take: Take) -> None:
        """Pass the contents of files that belong together to `take`, now and after each change.

        `take` raises `ValueError` or `OSError` for content that it cannot use. If it does so now, this raises
        `SecretFileError`.
        """
        followed = _Followed(paths, take)
        for path in paths:
            self._failing[str(path)] = 0
            self._reloads[str(path)] = 0
        try:
            contents = _read(paths)
            take(contents)
        except (OSError, ValueError) as error:
            raise SecretFileError(_why(paths, error)) from None
        followed.digest = _digest(contents)
        self._followed.append(followed)
        for path in paths:
            self.note(path)

    def note(self, path: Path | None) -> None:
        """Add a file of secrets to `exposed` if every user of this machine may read it."""
        if path is not None and path.stat().st_mode & _OTHERS_MAY_READ:
            self.exposed.append(path)

    async def run(self) -> None:
        """Check the files every few seconds and whenever asked, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            await self.check()

    def check_soon(self) -> None:
        """Make `run` check the files now."""
        log.info("checking the secret files, as requested")
        self._asked.set()

    async def check(self) -> None:
        """Check every file once."""
        for followed in self._followed:
            try:
                contents = await asyncio.to_thread(_read, followed.paths)  # a mounted volume can be slow
                digest = _digest(contents)
                if digest == followed.digest:
                    self._note(followed, None)
                    continue
                followed.take(contents)
            except (OSError, ValueError) as error:
                self._note(followed, error)
                continue
            followed.digest = digest
            self._note(followed, None)
            for path in followed.paths:
                self._reloads[str(path)] += 1
            log.info("reloaded the secret file", extra=fields(files=[str(path) for path in followed.paths]))

    def _note(self, followed: _Followed, error: Exception | None) -> None:
        """Log and export whether files can be used, when that changes."""
        why = "" if error is None else _why(followed.paths, error)
        if why == followed.why:
            return
        followed.why = why
        for path in followed.paths:
            self._failing[str(path)] = int(bool(why))
        if why:
            log.error("%s; what it held before stays in force", why)
        else:
            log.info("can be used again", extra=fields(files=[str(path) for path in followed.paths]))


class FilesElsewhere(SecretFiles):
    """Files on another machine: only their paths are known, and nothing is read."""

    def follow(self, paths: Sequence[Path], take: Take) -> None:
        """Do nothing."""

    def note(self, path: Path | None) -> None:
        """Do nothing."""


def _read(paths: Sequence[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def _digest(contents: Sequence[bytes]) -> bytes:
    return b"".join(sha256(content).digest() for content in contents)


def _why(paths: Sequence[Path], error: Exception) -> str:
    names = " and ".join(str(path) for path in paths)
    if isinstance(error, UnicodeDecodeError):
        return f"{names} is not UTF-8"
    if isinstance(error, OSError):
        return f"{names} cannot be read ({reason(error)})"
    return f"{names} {error}"
