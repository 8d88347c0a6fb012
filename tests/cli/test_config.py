"""`aurora-bridge config`: says whether the daemon would start, and with which settings."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aurora_bridge.cli import config
from aurora_bridge.settings import Settings, redacted

Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in an environment of its own, given without prefix."""

    def run(*arguments: str, **environ: str) -> int:
        parser = argparse.ArgumentParser()
        config.add(parser.add_subparsers())
        parsed = parser.parse_args(["config", *arguments])
        for name in [name for name in os.environ if name.startswith("AURORA_BRIDGE_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(f"AURORA_BRIDGE_{name}", value)
        code = parsed.run(parsed)
        assert isinstance(code, int)
        return code

    return run


def test_right_settings_are_printed_as_json_with_exit_code_0(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command(TENANT="acme")
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert json.loads(printed.out) == redacted(Settings(tenant="acme"))


def test_the_file_is_taken_into_account(command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text("[admin]\nport = 1\n")
    assert command("--config", str(file)) == 0
    assert json.loads(capsys.readouterr().out)["admin"]["port"] == 1


def test_wrong_settings_are_told_line_by_line_on_standard_error_with_exit_code_78(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command(INGRESS__PORT="http", ADMIN__PROT="1")
    printed = capsys.readouterr()
    assert (code, printed.out) == (78, "")
    unknown, wrong = printed.err.splitlines()
    assert "did you mean AURORA_BRIDGE_ADMIN__PORT?" in unknown
    assert "allowed is a port from 0 to 65535" in wrong


def test_a_missing_file_is_told_with_exit_code_78(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = command("--config", str(tmp_path / "none.toml"))
    printed = capsys.readouterr()
    assert (code, printed.out) == (78, "")
    assert "No such file or directory" in printed.err
