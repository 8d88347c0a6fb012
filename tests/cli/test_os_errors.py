"""What the system denies a command is told in one line that names the file and the user, without a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.os_errors import user
from tests.cli.in_process import here
from tests.cli.test_output import PRINT, filled
from tests.support.ports import free_ports

ROOT: Final = 0
NOBODY: Final = 65_534

LOOKING: Final = ("tail", f"find {PRINT}", "quarantine list", "quarantine show 1")
CHANGING: Final = ("quarantine retry 1", "quarantine discard --all --yes")
WITH_KAFKA: Final = ("cluster show", "cluster accept", f"find {PRINT}", "drain {state}")


@contextmanager
def as_somebody() -> Iterator[None]:
    """Be a user to whom permissions apply."""
    before = os.geteuid()
    if before == ROOT:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def told(words: str, state: Path, **settings: object) -> str:
    """Return the one line that a command ends with."""
    with as_somebody():
        ended = here(*words.format(state=state).split(), state_dir=state, **settings)
        name = user()
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"the user {name}" in line
    return line


@pytest.fixture
def brokers() -> str:
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize("words", [*LOOKING, *CHANGING])
def test_a_directory_of_somebody_else(words: str, tmp_path: Path) -> None:
    state = filled(tmp_path / "state")
    state.chmod(0)
    assert str(state) in told(words, state)


@pytest.mark.parametrize("words", WITH_KAFKA)
def test_a_directory_of_somebody_else_with_kafka(words: str, tmp_path: Path, brokers: str) -> None:
    state = filled(tmp_path / "state")
    state.chmod(0)
    assert str(state) in told(words, state, kafka__bootstrap_servers=brokers)


def test_the_daemon_and_a_directory_of_somebody_else(tmp_path: Path) -> None:
    state = filled(tmp_path / "state")
    state.chmod(0)
    with as_somebody():
        ended = here("serve", state_dir=state, ingress__port=0, admin__port=0)
        name = user()
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (1, "", False)
    assert f"{state} cannot be used: Permission denied for the user {name}" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [*LOOKING, *CHANGING])
def test_a_directory_in_the_place_of_the_spool(words: str, tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    ended = here(*words.split(), state_dir=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{tmp_path}/spool.db cannot be read: Is a directory" in ended.stderr


@pytest.mark.parametrize("file", ["spool.db", "lock", "instance", "cluster"])
def test_the_daemon_and_a_directory_in_the_place_of_a_file(file: str, tmp_path: Path, brokers: str) -> None:
    (tmp_path / file).mkdir()
    ended = here("serve", state_dir=tmp_path, ingress__port=0, admin__port=0, kafka__bootstrap_servers=brokers)
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (1, "", False)
    assert str(tmp_path) in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [*LOOKING, *CHANGING])
def test_a_name_that_no_file_can_have(words: str) -> None:
    ended = here(*words.split(), state_dir="x" * 5000)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "File name too long" in ended.stderr
    assert len(ended.stderr) < 1000


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    ended = here("serve", state_dir=tmp_path / "state", ingress__port=0, admin__port=0)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "state cannot be used: it is not a directory" in ended.stderr


def test_a_settings_file_of_somebody_else(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text("")
    file.chmod(0)
    with as_somebody():
        ended = here("--config", str(file), "config")
        name = user()
    assert (ended.returncode, ended.stdout) == (78, "")
    assert f"cannot read '{file}' (Permission denied for the user {name})" in ended.stderr
