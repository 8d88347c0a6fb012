"""Which build the tests run on, and that the two give the same answers.

Where the package was installed from a wheel of the compiled build (`make test-compiled`), all of its list must be
compiled; where it is this checkout's, nothing is.
"""

import os
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.build import BUILD
from tests.support.daemon import command

REPOSITORY: Final = Path(__file__).parents[1]
LISTS: Final = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["aurora-bridge"]
WHEEL: Final = metadata.distribution("aurora-bridge").read_text("WHEEL") or ""
INSTALLED: Final = "compiled" if "Root-Is-Purelib: false" in WHEEL else "interpreted"
"""What the wheel says that was installed."""

compiled_only = pytest.mark.skipif(INSTALLED != "compiled", reason="the other build is not here: make test-compiled")


def build_of(module: str) -> str:
    """Return how a module came to be loaded."""
    file = import_module(f"aurora_bridge.{module}").__file__ or ""
    return "compiled" if file.endswith(tuple(EXTENSION_SUFFIXES)) else "interpreted"


@pytest.mark.parametrize("module", LISTS["compiled"])
def test_what_should_be_compiled_is_and_only_then(module: str) -> None:
    assert (build_of(module), BUILD) == (INSTALLED, INSTALLED)


@pytest.mark.parametrize("module", LISTS["interpreted"])
def test_what_has_a_reason_to_be_interpreted_is(module: str) -> None:
    assert build_of(module) == "interpreted"
    assert module not in LISTS["compiled"]


def test_the_version_tells_the_build(tmp_path: Path) -> None:
    shown = command("--version", cwd=tmp_path).stdout
    assert shown == f"aurora-bridge {metadata.version('aurora-bridge')} ({INSTALLED})\n"


@compiled_only
def test_both_builds_give_the_same_answers() -> None:
    compiled, interpreted = answers({}), answers({"PYTHONPATH": str(REPOSITORY / "src")})
    assert (compiled[0], interpreted[0]) == ("compiled", "interpreted")
    differing = [pair for pair in zip(compiled[1:], interpreted[1:], strict=True) if pair[0] != pair[1]]
    assert differing[:3] == []


def answers(more: dict[str, str]) -> list[str]:
    """Return what `tests.support.answers` prints."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", **more}
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.answers"],
        cwd=REPOSITORY,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return told.stdout.splitlines()


def test_the_variable_that_asks_for_it_takes_no_third_value(tmp_path: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", f"--egg-base={tmp_path}"],
        cwd=REPOSITORY,
        env={**os.environ, "AURORA_BRIDGE_COMPILE": "yes"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 1
    assert asked.stderr == "Invalid AURORA_BRIDGE_COMPILE=yes; expected 1 for the compiled build, 0 for pure Python.\n"
