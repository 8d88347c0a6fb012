"""`make pictures`: the dashboards as pictures, with what a real Prometheus saw of the scene, drawn by Grafana's parts.

No Grafana server is needed: the npm packages `@grafana/ui` and `@grafana/data` have its panels, and a headless Chromium
takes the picture. `grafana/render` has the page. It is for review by eye: layout and legends are near to what Grafana
shows, not the same.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.support import jars, tools
from tests.support.broker import KafkaCluster
from tests.support.dashboards import dashboards, panels, replaced
from tests.support.scene import Played, played

RENDER: Final = Path(__file__).parents[2] / "grafana" / "render"
CALM_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
INTERVAL: Final = "15s"
STEP_SECONDS: Final = 2
WIDTH: Final = 1600
ROW_PIXELS: Final = 38
"""Of one unit of a panel's height."""
SECONDS: Final = 120


def main(folder: Path) -> str | None:
    """Take the pictures; return what went wrong, if anything."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = folder / "answers.json"
    try:
        chromium, npm = tools.program("chromium"), tools.program("npm")
        if not answers.exists():
            _play(answers)
        _bundle(npm, folder)
    except tools.ToolMissingError as error:
        return str(error)
    for name, board in dashboards().items():
        _page(folder, name, board, json.loads(answers.read_text()))
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * ROW_PIXELS + 60
        picture = folder / f"{name}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files"]
        subprocess.run(
            [
                *(chromium, *options, f"--window-size={WIDTH},{height}", "--virtual-time-budget=15000"),
                *(f"--screenshot={picture}", f"file://{folder.resolve()}/{name}.html"),
            ],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        print(picture, flush=True)
    return None


def _play(answers: Path) -> None:
    """Play the scene, and keep what Prometheus answers to each query."""
    if not jars.possible():
        raise tools.ToolMissingError(jars.INSTALL)
    prometheus = tools.program("prometheus")
    with (
        tempfile.TemporaryDirectory() as place,
        KafkaCluster() as kafka,
        played(Path(place), prometheus, kafka.nodes[0], calm=CALM_SECONDS, pause=PAUSE_SECONDS) as scene,
    ):
        found = {
            name: {panel["id"]: _ask(scene, panel) for panel in panels(board)} for name, board in dashboards().items()
        }
        answers.write_text(json.dumps({"from": scene.began, "to": scene.ended, "panels": found}))


def _ask(scene: Played, panel: dict[str, Any]) -> list[Any]:
    """Return the series of each query of a panel."""
    found = []
    for target in panel["targets"]:
        expression = replaced(target["expr"], interval=INTERVAL, shown=f"{scene.seconds}s")
        found.append(
            scene.asked_at_the_end(expression) if target["instant"] else scene.asked(expression, step=STEP_SECONDS)
        )
    return found


def _bundle(npm: str, folder: Path) -> None:
    if not (RENDER / "node_modules").is_dir():
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=RENDER, check=True)
    subprocess.run(
        [npm, "run", "--silent", "bundle", "--", f"--outfile={folder.resolve()}/page.js"], cwd=RENDER, check=True
    )


def _page(folder: Path, name: str, board: dict[str, Any], answers: dict[str, Any]) -> None:
    given = {
        "dashboard": board,
        "step": STEP_SECONDS,
        "from": answers["from"],
        "to": answers["to"],
        "answers": answers["panels"][name],
    }
    (folder / f"{name}.html").write_text(
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css">'
        '<body style="margin:0;background:#111217"><div id="root"></div>'
        f"<script>window.given = {json.dumps(given)}</script>"
        '<script src="page.js"></script>'
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
