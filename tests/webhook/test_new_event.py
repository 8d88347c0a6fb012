"""An event is added by one line in the catalogue and one sample: nothing else has to change."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROW: Final = """\
    EventType("panel_cleaned", Recurrence.ONCE, ("project_id", "cleaning_id"), subject=_subject("project_id"),
              identifier="cleaning_id"),
"""
SAMPLE: Final = {
    "name": "a panel was cleaned",
    "target": "/panel_cleaned?project_id=p-1&cleaning_id=c-1",
    "expect": {
        "status": 200,
        "outcome": "published",
        "topic": "panel_cleaned",
        "type": "com.aurorasolar.panel_cleaned",
        "subject": "project/p-1",
        "repeat": False,
        "recurrence": "once",
        "data": {"project_id": "p-1", "cleaning_id": "c-1"},
    },
}
TESTS: Final = (
    "tests/samples",
    "tests/webhook/test_catalogue.py",
    "tests/webhook/test_event.py",
    "tests/simulator/test_stories.py",
)


def test_a_line_in_the_catalogue_and_a_sample_are_all_that_a_new_event_takes(tmp_path: Path) -> None:
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    catalogue = tmp_path / "src/aurora_bridge/webhook/catalogue.py"
    before, mark, behind = catalogue.read_text().partition("    # The core events.\n")
    catalogue.write_text(before + mark + ROW + behind)
    (tmp_path / "tests/samples/events/panel_cleaned.json").write_text(json.dumps([SAMPLE]))

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "-m", "not hypothesis", *TESTS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert tested.returncode == 0, tested.stdout[-4000:]
    assert "panel_cleaned" in _run(tmp_path, "templates", "--event", "panel_cleaned")


def _run(root: Path, *arguments: str) -> str:
    env = os.environ | {"PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-m", "aurora_bridge", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout
