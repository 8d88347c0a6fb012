"""`make faults`: every scenario, then every lie; a line for each, and a report. It goes on where it was stopped."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from tests.faults.report import line, page
from tests.faults.scenario import play
from tests.faults.scenarios import CONTROLS, SCENARIOS


def main() -> int:
    """Run what has no result yet; return 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the spans of faults (default %(default)g)")
    parser.add_argument("--rate", type=float, default=500.0, help="webhooks a second (default %(default)g)")
    parser.add_argument("--only", default="", help="scenarios whose names hold one of these, with commas between")
    parser.add_argument("--folder", type=Path, default=Path("build/faults"), help="where results are kept")
    parser.add_argument("--fresh", action="store_true", help="run again what has a result already")
    parser.add_argument("--here", action="store_true", help="this process has a network namespace of its own already")
    options = parser.parse_args()
    wanted = options.only.split(",")
    options.folder.mkdir(parents=True, exist_ok=True)
    results = []
    for scenario in (*SCENARIOS, *CONTROLS):
        path = options.folder / f"{scenario.name}.json"
        if not any(part in scenario.name for part in wanted):
            continue
        if options.fresh or not path.exists():
            scenario = replace(scenario, apart=scenario.apart and not options.here)  # noqa: PLW2901
            result = play(scenario, options.folder.resolve(), scale=options.scale, rate=options.rate)
            if not result["broke"]:  # else it is played again the next time
                path.write_text(json.dumps(result, indent=2))
        else:
            result = json.loads(path.read_text())
        results.append(result)
        print(line(results[-1]), flush=True)
    (options.folder / "report.md").write_text(page(results))
    return int(not all(result["as_expected"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
