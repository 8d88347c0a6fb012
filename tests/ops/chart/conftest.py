"""Fixtures for the tests of the chart."""

from pathlib import Path

import pytest

from tests.support import certificates, tools
from tests.support.missing import unavailable


@pytest.fixture(scope="session")
def helm4() -> str:
    """The newer Helm, where one is enough."""
    try:
        return tools.fetched("helm4")
    except tools.ToolMissingError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a private key, its certificate and, to trust, its authority's."""
    if not certificates.possible():
        unavailable(f"no certificates: {certificates.INSTALL}")
    return certificates.Authority(tmp_path_factory.mktemp("pem")).sign("all", "all")
