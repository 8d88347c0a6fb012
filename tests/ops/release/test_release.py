"""What a release does: its workflow is sound and calls targets of the Makefile, and these do what they say."""

import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[3]
VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `release-check` reads, as it is once the changelog has its date."""
    for name in ("Makefile", "pyproject.toml", "CHANGELOG.md", "helm/aurora-bridge/Chart.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace(f"[{VERSION}] - Unreleased", f"[{VERSION}] - 2026-12-01"))
    return tmp_path


@pytest.mark.ops
def test_actionlint_has_nothing_to_say(program: Callable[[str], str]) -> None:
    program("go")
    ended = make(ROOT, "actionlint")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_call_targets_that_there_are(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    called = {
        word
        for job in jobs
        for step in job["steps"]
        for word in re.findall(r"^ *make ([a-z-]+)", step.get("run", ""), re.MULTILINE)
    }
    called.update(target for job in jobs for target in job.get("strategy", {}).get("matrix", {}).get("target", ()))
    assert called <= targets


def test_a_tag_of_the_version_that_everything_has_is_right(checkout: Path) -> None:
    ended = make(checkout, "release-check", f"TAG=v{VERSION}")
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("pyproject.toml", f'version = "{VERSION}"', 'version = "9.9.9"', "set TAG=v9.9.9, or correct the version"),
        ("helm/aurora-bridge/Chart.yaml", f"\nversion: {VERSION}", "\nversion: 9.9.9", f"set version to {VERSION}"),
        (
            "helm/aurora-bridge/Chart.yaml",
            f"appVersion: {VERSION}",
            "appVersion: 9.9.9",
            f"set appVersion to {VERSION}",
        ),
        ("CHANGELOG.md", f"[{VERSION}] - 2026-12-01", f"[{VERSION}] - Unreleased", "its date"),
    ],
)
def test_what_has_another_version_is_told(file: str, old: str, new: str, told: str, checkout: Path) -> None:
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new))
    ended = make(checkout, "release-check", f"TAG=v{VERSION}")
    assert (ended.returncode != 0, told in ended.stdout) == (True, True), ended.stdout


def test_the_notes_are_the_changelogs_section_of_the_version(checkout: Path) -> None:
    text = (
        f"# Changelog\n\n## [1.0.0] - 2030-01-01\n\n- Later.\n\n## [{VERSION}] - 2026-12-01\n\n### Added\n\n- This.\n"
    )
    (checkout / "CHANGELOG.md").write_text(f"{text}\n## [0.0.1] - 2020-01-01\n\n- Before.\n")
    assert make(checkout, "release-notes").stdout.split("\n") == ["", "### Added", "", "- This.", "", ""]


def test_the_packaged_chart_has_rules_and_dashboards_and_the_version(helm: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("helm", "grafana"):
        (tmp_path / name).symlink_to(ROOT / name)
    ended = make(tmp_path, "package", f"HELM={helm}")
    assert ended.returncode == 0, ended.stderr
    with tarfile.open(tmp_path / "build" / "charts" / f"aurora-bridge-{VERSION}.tgz") as package:
        assert "aurora-bridge/files/rules/aurora-bridge.rules.yaml" in package.getnames()


@pytest.mark.parametrize(("variant", "tag"), [("", VERSION), ("msk", f"{VERSION}-msk")])
def test_the_image_is_built_for_two_architectures_with_sbom_provenance_and_source(variant: str, tag: str) -> None:
    printed = make(
        ROOT, "--dry-run", "push-image", "REGISTRY=r.example.com/a", "SOURCE=https://s", f"EXTRA={variant}"
    ).stdout
    words = printed.replace("\\\n", " ").split()
    assert {"linux/amd64,linux/arm64", "--sbom=true", "--provenance=mode=max", "--push", "SOURCE=https://s"} <= set(
        words
    )
    assert words[words.index("--tag") + 1] == f"r.example.com/a/aurora-bridge:{tag}"
