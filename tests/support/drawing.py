"""Draws the dashboards without a Grafana, from what a Prometheus saw, with the parts that Grafana itself is made of.

The npm packages `@grafana/ui` and `@grafana/data` have its panels, `@grafana/schema` the types of the files, and a
headless Chromium takes the picture; the page is in `grafana/render`. For review by eye: what is around the panels, and
the heatmap, are ours.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.support import tools
from tests.support.dashboards import FOLDER, dashboards, panels, replaced
from tests.support.scene import Played

RENDER: Final = FOLDER.parent / "render"
STEP_SECONDS: Final = 2
WIDTH: Final = 1600
ROW_PIXELS: Final = 38
"""Of one unit of a panel's height, as in Grafana."""
SECONDS: Final = 300
"""Bound of each program; the packages are some 400 MB."""
MANNERS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files")
TYPED: Final = "import type { DashboardFile } from '../schema';\nexport const dashboard: DashboardFile = "
UNTIL_DRAWN: Final = "--virtual-time-budget=5000"


class Drawing:
    """The programs and packages that it takes, and the folder where it is done."""

    def __init__(self, folder: Path) -> None:
        """Install the packages, once. Raises `ToolMissingError`."""
        self.folder = folder.resolve()
        self._chromium, self._npm = tools.program("chromium"), tools.program("npm")
        if not (RENDER / "node_modules" / ".package-lock.json").exists():
            self._run(self._npm, "ci")

    def mistyped(self) -> str:
        """Return what Grafana's own schema says against the files, nothing if all is well."""
        files = []
        for path in FOLDER.glob("*.json"):
            files.append(RENDER / "build" / f"{path.stem}.ts")
            files[-1].parent.mkdir(exist_ok=True)
            files[-1].write_text(f"{TYPED}{path.read_text()}")
        return self._run(self._npm, "run", "--silent", "types", "--", *map(str, files), check=False)

    def write_pages(self, scene: Played, *, interval: str) -> None:
        """Write a page for each dashboard; rates are over `interval`."""
        self._run(self._npm, "run", "--silent", "bundle", "--", f"--outfile={self.folder}/page.js")
        for name, board in dashboards().items():
            self._write_page(name, board, scene, interval)

    def picture(self, name: str) -> Path:
        """Take a picture of a dashboard's page; return where it is."""
        places = [panel["gridPos"] for panel in panels(dashboards()[name])]
        height = max(place["y"] + place["h"] for place in places) * ROW_PIXELS + 60
        path = self.folder / f"{name}.png"
        self._browse(name, f"--window-size={WIDTH},{height}", f"--screenshot={path}")
        return path

    def drawn(self, name: str) -> str:
        """Return the HTML of a dashboard's page as it is once it is drawn."""
        return self._browse(name, "--dump-dom")

    def _write_page(self, name: str, board: dict[str, Any], scene: Played, interval: str) -> None:
        given = {
            "dashboard": board,
            "from": scene.began,
            "to": scene.ended,
            "step": STEP_SECONDS,
            "answers": {panel["id"]: _answers(panel, scene, interval) for panel in panels(board)},
        }
        (self.folder / f"{name}.html").write_text(
            '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css">'
            '<body style="margin:0;background:#111217"><div id="root"></div>'
            f"<script>window.given = {json.dumps(given)}</script>"
            '<script src="page.js"></script>'
        )

    def _browse(self, name: str, *options: str) -> str:
        return self._run(self._chromium, *MANNERS, UNTIL_DRAWN, *options, f"file://{self.folder}/{name}.html")

    def _run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, cwd=RENDER, check=False, capture_output=True, text=True, timeout=SECONDS)
        if check and done.returncode:
            message = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(message)
        return done.stdout


def _answers(panel: dict[str, Any], scene: Played, interval: str) -> list[Any]:
    """Return the series of each query of a panel."""
    found = []
    for target in panel["targets"]:
        expression = replaced(target["expr"], interval=interval, shown=f"{scene.seconds}s")
        found.append(
            scene.asked_at_the_end(expression) if target["instant"] else scene.asked(expression, step=STEP_SECONDS)
        )
    return found
