"""The rules that tests can wait for."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.ops.rules.test_rules import RULES

SOONER: Final = {
    "[1w:1h] offset 1d": "[10m:1s] offset 1s",
    "[1d:1h]": "[10m:1s]",
    "index_failed[5m]": "index_failed[2s]",
}


@pytest.fixture(scope="module")
def sooner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's rules, but that nothing waits for its `for`, nor two of them for minutes and a day."""
    text = RULES.read_text()
    for patient, hasty in SOONER.items():
        assert patient in text
        text = text.replace(patient, hasty)
    path = tmp_path_factory.mktemp("rules") / "sooner.yaml"
    path.write_text(re.sub(r"\n +(for|interval): .*", "", text))
    return path
