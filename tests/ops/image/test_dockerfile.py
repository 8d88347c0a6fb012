"""What the Dockerfile says, without building it. `test_image` builds it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import command
from tests.support.debian import PYTHON, REPOSITORY, SUITE

TEXT = (REPOSITORY / "Dockerfile").read_text()


def test_the_linter_has_nothing_to_say(hadolint: str) -> None:
    result = subprocess.run([hadolint, REPOSITORY / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_its_base_is_the_one_that_is_stood_in_for() -> None:
    assert f"\nARG PYTHON_TAG={PYTHON}-slim-{SUITE}\n" in TEXT


def test_the_build_sees_what_the_dockerfile_copies_and_nothing_else() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE) for word in line.split()}
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert next(line for line in lines if not line.startswith("#")) == "*"


@pytest.mark.parametrize("extra", ["", "msk"])
def test_each_extra_has_its_lock_with_the_same_versions_of_what_all_have(extra: str) -> None:
    (argument,) = re.findall(r'--requirement ("[^"]*")', TEXT)
    shell = subprocess.run(
        ["sh", "-c", f"echo {argument}"], check=True, capture_output=True, text=True, env={"EXTRA": extra}
    )
    locked, common = (
        set(re.findall(r"^([a-z0-9-]+==\S+)", (REPOSITORY / lock).read_text(), re.MULTILINE))
        for lock in (shell.stdout.strip(), "requirements.lock")
    )
    assert locked >= common > set()
    assert any(package.startswith("aws-msk-iam") for package in locked) == (extra == "msk")


def test_a_daemon_with_the_settings_of_the_image_would_start(tmp_path: Path) -> None:
    image = dict(re.findall(r"AURORA_BRIDGE_([A-Z_]+)=([^\s$]+)", TEXT))
    assert image
    result = command("config", cwd=tmp_path, embedded=True, auth__allow_anonymous=True, **image)
    assert (result.returncode, result.stderr) == (0, "")
