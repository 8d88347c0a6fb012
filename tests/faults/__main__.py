"""`make faults`: every scenario, then every mutant; a line for each, and a report. It goes on where it was stopped."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.faults.report import line, page
from tests.faults.scenario import Result, play, unplayed
from tests.faults.scenarios import CONTROLS, SCENARIOS


def main() -> int:
    """Run what has no good result of this scale and rate yet; return 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the spans of faults (default %(default)g)")
    parser.add_argument("--rate", type=float, default=500.0, help="webhooks a second (default %(default)g)")
    parser.add_argument("--only", default="", help="scenarios whose names hold one of these, with commas between")
    parser.add_argument("--folder", type=Path, default=Path("build/faults"), help="where results are kept")
    parser.add_argument("--fresh", action="store_true", help="run again what has a good result already")
    parser.add_argument("--here", action="store_true", help="this process has a network namespace of its own already")
    options = parser.parse_args()
    wanted = options.only.split(",")
    options.folder.mkdir(parents=True, exist_ok=True)
    results = []
    for scenario in (*SCENARIOS, *CONTROLS):
        path = options.folder / f"{scenario.name}.json"
        if not any(part in scenario.name for part in wanted):
            continue
        result = json.loads(path.read_text()) if path.exists() and not options.fresh else None
        if result is None or not stands(result, options.scale, options.rate):
            scenario = replace(scenario, netns=scenario.netns and not options.here)  # noqa: PLW2901
            result = play(scenario, options.folder.resolve(), scale=options.scale, rate=options.rate)
            if not result["broke"]:  # else it is played again the next time
                path.write_text(json.dumps(result, indent=2))
        results.append(result)
        print(line(results[-1]), flush=True)
    (options.folder / "report.md").write_text(page(_every(options)))
    return int(not all(result["as_expected"] for result in results))


def _every(options: argparse.Namespace) -> Iterator[Result]:
    """Yield the result of each scenario that there is, also of those that were not asked for now, or never played."""
    for scenario in (*SCENARIOS, *CONTROLS):
        path = options.folder / f"{scenario.name}.json"
        if path.exists():
            yield json.loads(path.read_text())
        else:
            yield unplayed(scenario, scale=options.scale, rate=options.rate) | {"skipped": "it has no result yet"}


def stands(result: Result, scale: float, rate: float) -> bool:
    """Whether a result need not be had again: a scenario that failed or was skipped may have been fixed since."""
    return (result["scale"], result["rate"]) == (scale, rate) and result["as_expected"] and not result["skipped"]


if __name__ == "__main__":
    sys.exit(main())
