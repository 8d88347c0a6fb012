"""The dashboards as Grafana reads them: their panels, and their queries with the variables replaced."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = Path(__file__).parents[2] / "grafana" / "dashboards"

Panel = dict[str, Any]


class Asked(NamedTuple):
    """One query of a panel."""

    dashboard: str
    panel: Panel
    expression: str
    """As it is in the file."""
    instant: bool
    ref: str

    @property
    def place(self) -> str:
        """Dashboard, panel and query."""
        return f"{self.dashboard} {self.panel['id']} {self.ref}"


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every dashboard, by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[Panel]:
    """Yield the panels of a dashboard, without its rows, but with what a collapsed one holds."""
    for panel in dashboard["panels"]:
        yield from panel["panels"] if panel["type"] == "row" else [panel]


def asked() -> Iterator[Asked]:
    """Yield the queries of all panels."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Asked(name, panel, target["expr"], target["instant"], target["refId"])


def replaced(expression: str, *, interval: str = "1m", shown: str = "1h") -> str:
    """Return an expression as Grafana sends it when everything is chosen."""
    found = expression.replace("$__rate_interval", interval).replace("$__range", shown)
    return re.sub(r"\$\w+", ".*", found)
