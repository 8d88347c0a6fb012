"""`docs/routes.md` is right: every example in it loads, and is taken without a warning."""

import re
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import CHECK_SECONDS, SecretFiles
from aurora_bridge.settings import load

PAGE: Final = (Path(__file__).parents[1] / "docs" / "routes.md").read_text()
EXAMPLES: Final = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
OF_UNKNOWN: Final = "the bridge knows no event 'roof_painted'"


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_taken(example: str, tmp_path: Path) -> None:
    for name in re.findall(r'_file = "([^"]+)"', example):
        (tmp_path / name).write_text("user:word\n")
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "bridge.toml"
    file.write_text(example)
    metrics = Metrics()
    warnings = make_routing(load(file, {}), SecretFiles(metrics), metrics).warnings
    assert [warning for warning in warnings if OF_UNKNOWN not in warning] == []


def test_there_are_examples_and_the_page_knows_how_often_files_are_looked_at() -> None:
    assert len(EXAMPLES) >= 4
    assert f"every {CHECK_SECONDS:g} s" in PAGE
