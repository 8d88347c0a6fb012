"""Fixtures for the tests of the chart."""

from pathlib import Path

import pytest

from tests.support import certificates
from tests.support.missing import unavailable


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a private key, its certificate and, to trust, its authority's."""
    if not certificates.possible():
        unavailable(f"no certificates: {certificates.INSTALL}")
    return certificates.Authority(tmp_path_factory.mktemp("pem")).sign("all", "all")
