"""Fixtures for the tests of what operates the daemon: each program that a test needs, as its path."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.missing import unavailable


def _found(find: Callable[[str], str], name: str) -> str:
    try:
        return find(name)
    except tools.ToolMissingError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Finds a program of this machine by its name."""
    return partial(_found, tools.program)


@pytest.fixture(scope="session", params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest) -> str:
    """Helm, in both major versions."""
    return _found(tools.fetched, request.param)


@pytest.fixture(scope="session")
def hadolint() -> str:
    """The linter of Dockerfiles."""
    return _found(tools.fetched, "hadolint")


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's checker of rules and metrics."""
    return _found(tools.program, "promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The Prometheus server."""
    return _found(tools.program, "prometheus")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of each part how much of it ran; what could not is told by the line of each reason."""
    here, ran = Path(__file__).parent, Counter[tuple[str, str]]()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            path = Path(report.nodeid.partition("::")[0])
            if "tests/ops/" in report.nodeid and report.when == ("setup" if report.skipped else "call"):
                ran[path.parts[path.parts.index("ops") + 1], outcome] += 1
    for part in sorted({part for part, _ in ran} | {folder.name for folder in here.iterdir() if _is_part(folder)}):
        told = ", ".join(f"{ran[part, outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))
        terminalreporter.write_line(f"{part}: {told}")


def _is_part(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("test_*.py"))
