"""A Debian to build and run in: its files as one archive, made once by mmdebstrap into `build/`.

It stands in for what cannot be had everywhere: the image's base, and a machine with systemd. Nothing in there has a
network, so the locked packages come along as wheels.
"""

import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support.tools import program

REPOSITORY: Final = Path(__file__).parents[2]
SUITE: Final = "trixie"
"""Debian 13, on which the image's base is built."""
PYTHON: Final = "3.13"
"""Of that Debian, and of the image's base."""
_SECONDS: Final = 900


class DebianError(Exception):
    """mmdebstrap failed; carries the end of what it said."""


def archive(*packages: str) -> Path:
    """Return a minimal Debian with these packages, as a tar archive. Raises `ToolMissingError` and `DebianError`."""
    build = REPOSITORY / "build"
    path = build / f"{SUITE}-{sha256(' '.join(packages).encode()).hexdigest()[:8]}.tar"
    if not path.exists():
        mmdebstrap = program("mmdebstrap")
        build.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=build) as scratch:
            fresh = Path(scratch, path.name)
            command = [mmdebstrap, "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(fresh)]
            result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_SECONDS)
            if result.returncode:
                msg = f"no Debian {SUITE}: mmdebstrap needs root and Debian's archive, and says {result.stderr[-500:]}"
                raise DebianError(msg)
            fresh.rename(path)
    return path


def download_wheels(folder: Path, *locks: str) -> Path:
    """Put the packages of these lock files into `folder`, for that Debian's Python; return a pip.conf that finds them.

    It is for an environment that sees the folder as `/wheels`.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    for lock in locks:
        requirements = f"--requirement={REPOSITORY / lock}"
        subprocess.run([*pip, f"--python-version={PYTHON}", requirements, f"--dest={folder}"], check=True)
    settings = folder / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return settings
