"""`docs/subscriptions.md` is right: its examples load, every check is in its table, and every reason of the API."""

import re
from pathlib import Path

import pytest

from aurora_bridge.aurora.checks import Check
from aurora_bridge.aurora.client import PATIENCE_SECONDS, REQUEST_SECONDS, REQUESTS_A_MINUTE
from aurora_bridge.aurora.errors import ApiReason
from aurora_bridge.settings import load
from tests.aurora.in_memory import TOKENS, Bridge

PAGE = (Path(__file__).parents[2] / "docs" / "subscriptions.md").read_text()
SETTINGS, TABLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_settings_are_taken(tmp_path: Path) -> None:
    for name in ("tokens", "api-token"):
        (tmp_path / name).write_text("word\n")
    (tmp_path / "bridge.toml").write_text(SETTINGS)
    assert load(tmp_path / "bridge.toml", {}).aurora.tenant_id


def test_the_tables_are_taken(tmp_path: Path) -> None:
    wanted = Bridge(tmp_path, TOKENS).wanted(TABLES)
    assert len(wanted.subscriptions) == 5
    assert all(one.authentication.secret() for one in wanted.subscriptions)
    assert len(wanted.left_out) == 4


@pytest.mark.parametrize("token", sorted({*map(str, Check), *map(str, ApiReason)}))
def test_each_token_that_is_printed_is_explained(token: str) -> None:
    assert f"`{token}`" in PAGE


def test_the_numbers_are_those_of_the_client() -> None:
    assert f"at most {REQUESTS_A_MINUTE} requests a minute" in PAGE
    assert f"up to {PATIENCE_SECONDS / 60:g} minutes" in PAGE
    assert f"`timed_out` ({REQUEST_SECONDS:g} s)" in PAGE
