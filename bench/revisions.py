"""The daemon as another revision of the repository has it, or as a wheel has it, to be measured beside this one's.

Its sources are taken out of git into a folder that is thrown away; interpreter, packages and everything in `bench/` are
this checkout's, so the revision need not know this benchmark.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LOCK = "requirements.lock"


def extract(revision: str, folder: Path) -> tuple[str, Path]:
    """Put the sources of a revision (any name that git knows) into a new folder; return its commit, and where they are.

    Says so if it was locked to other packages than it is going to run with.
    """
    commit = _git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}").decode().strip()
    archive = _git("archive", "--format=tar", commit, "src", LOCK)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    if (folder / LOCK).read_bytes() != (REPOSITORY / LOCK).read_bytes():
        print(f"{commit} has another {LOCK}; it is measured with the packages of this checkout", flush=True)
    return commit, folder / "src"


def unpack(wheel: Path, folder: Path) -> Path:
    """Put the package in a wheel into a new folder below `folder`; return where it is."""
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder / "wheel")  # noqa: S202 - of our own making
    return folder / "wheel"


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode:
        message = f"git {' '.join(arguments)}: {done.stderr.decode().strip()}"
        raise SystemExit(message)
    return done.stdout
