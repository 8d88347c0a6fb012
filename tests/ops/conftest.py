"""Fixtures for the tests of what operates the daemon: each program that a test needs, as its path."""

from collections.abc import Callable
from functools import partial

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
