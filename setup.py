"""What `pyproject.toml` cannot say of the package: the extensions of the compiled build.

    AURORA_BRIDGE_COMPILE=1 pip wheel --no-deps --no-build-isolation .

needs a C compiler, and an environment with `requirements-compile.lock`. Without the variable the wheel is pure Python.
"""

import os
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup

VARIABLE = "AURORA_BRIDGE_COMPILE"


def extensions() -> list[Extension]:
    """Return what the environment asks for."""
    asked = os.environ.get(VARIABLE, "0")
    if asked not in {"0", "1", ""}:
        sys.exit(f"Invalid {VARIABLE}={asked}; expected 1 for the compiled build, 0 for pure Python.")
    if asked != "1":
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - only the compiled build needs it
    except ImportError:
        sys.exit(
            f"{VARIABLE}=1 needs mypyc: pip install --require-hashes --requirement requirements-compile.lock, "
            "then pip wheel --no-deps --no-build-isolation ."
        )
    listed = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["aurora-bridge"]["compiled"]
    paths = [f"src/aurora_bridge/{module.replace('.', '/')}.py" for module in listed]
    made: list[Extension] = mypycify(paths, opt_level="2", debug_level="0")
    return made


setup(ext_modules=extensions())
