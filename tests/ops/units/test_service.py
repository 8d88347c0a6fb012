"""The systemd unit, by systemd's own checkers. `test_machine` runs it."""

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from aurora_bridge.settings import Settings, load
from tests.support.daemon import PROGRAM, command
from tests.support.debian import REPOSITORY

FOLDER = REPOSITORY / "systemd"
UNIT = (FOLDER / "aurora-bridge.service").read_text()
SETTINGS = (FOLDER / "aurora-bridge.toml").read_text()
CREDENTIALS = "/run/credentials/aurora-bridge.service"

EXPOSURE = 15
"""Tenths of `systemd-analyze security`, whose worst is 100. Left are the network, and /proc."""
FLUSH_SECONDS = 2
"""What `daemon.run` gives the sender at the end."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    path = tmp_path / "aurora-bridge.service"
    path.write_text(UNIT.replace("/opt/aurora-bridge/bin/aurora-bridge", str(PROGRAM)))
    return path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """The settings with credentials that are there."""
    for name in ("secrets_tokens", "secrets_kafka-password"):
        (tmp_path / name).write_text("sesame\n")
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "aurora-bridge.toml"
    path.write_text(SETTINGS.replace(CREDENTIALS, str(tmp_path)))
    return path


def entry(name: str) -> str:
    """Return what the unit says of a setting that it has once."""
    (value,) = [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]
    return value


@pytest.mark.ops
def test_systemd_understands_it(program: Callable[[str], str], unit: Path) -> None:
    verified = subprocess.run([program("systemd-analyze"), "verify", unit], check=False, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.ops
def test_it_may_do_little(program: Callable[[str], str], unit: Path) -> None:
    analyze = program("systemd-analyze"), "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}"
    judged = subprocess.run([*analyze, unit], check=False, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout


def test_a_daemon_with_its_settings_would_start(settings_file: Path, tmp_path: Path) -> None:
    result = command("config", f"--config={settings_file}", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_while_it_is_stopped_commands_run_with_the_files_that_its_credentials_are_copied_from(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    secret.chmod(0o600)
    file = FOLDER / "aurora-bridge.toml"
    refused = command("config", f"--config={file}", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("name the file that systemd copies it from")) == (78, 2)
    settings = {"auth__tokens_file": secret, "kafka__sasl_password_file": secret}
    taken = command("config", f"--config={file}", cwd=tmp_path, **settings)
    assert taken.returncode == 0
    assert all(" in the environment overrides " in line for line in taken.stderr.splitlines())


def test_the_settings_name_the_folders_and_credentials_of_the_unit() -> None:
    table = tomllib.loads(SETTINGS)
    assert table["state_dir"] == f"/var/lib/{entry('StateDirectory')}"
    (folder, _, source) = entry("LoadCredential").partition(":")
    assert source == "/etc/aurora-bridge/secrets"
    for secret in (table["auth"]["tokens_file"], table["kafka"]["sasl_password_file"]):
        assert secret.startswith(f"{CREDENTIALS}/{folder}_")


def test_it_gets_the_time_that_it_takes_to_end(settings_file: Path) -> None:
    settings: Settings = load(settings_file, {})
    takes = settings.ingress.shutdown_pause_seconds + 2 * settings.deadlines.answer_seconds + FLUSH_SECONDS
    assert int(entry("TimeoutStopSec")) > takes


def test_it_gets_more_files_than_it_takes_connections() -> None:
    assert int(entry("LimitNOFILE")) > 4096 + 1024


def test_wrong_settings_are_not_tried_again_and_again() -> None:
    assert entry("Restart") == "on-failure"
    assert entry("RestartPreventExitStatus").split() == ["2", "78"]
