"""Writes the dashboards: `make dashboards`. With `--check` it only compares: one that is out of date fails."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.aurora import aurora
from grafana.overview import overview
from grafana.pipeline import pipeline

FOLDER = Path(__file__).parent / "dashboards"
DASHBOARDS = {"overview": overview, "pipeline": pipeline, "aurora": aurora}


def encoded(dashboard: Dashboard) -> str:
    """Return a dashboard as the file that Grafana reads; the same each time."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or compare them; return the exit code."""
    stale = []
    for name, make in DASHBOARDS.items():
        path, text = FOLDER / f"{name}.json", encoded(make())
        if arguments != ["--check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(f"grafana/dashboards/{name}.json is out of date: run make dashboards, and commit it")
    print("\n".join(stale), end="\n" if stale else "", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
