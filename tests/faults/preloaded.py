"""Libraries that change what the system does for one process: compiled from C, for LD_PRELOAD."""

import shutil
import subprocess
from pathlib import Path

from tests.faults.netns import UnavailableError


def compile_library(source: str, folder: Path) -> Path:
    """Compile a file of this folder into a library in `folder`; return that. Raises `UnavailableError`."""
    compiler = shutil.which("cc")
    if compiler is None:
        message = f"{source} takes a C compiler (Debian: apt-get install gcc libc6-dev)"
        raise UnavailableError(message)
    library = (folder / source).with_suffix(".so")
    code = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, code, "-ldl", "-lpthread"], check=True)
    return library
