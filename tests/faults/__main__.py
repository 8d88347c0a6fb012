"""`make faults`: every scenario, then every lie; a line for each, and a report. It goes on where it was stopped."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.faults.scenarios import CONTROLS, SCENARIOS, Scenario
from tests.faults.stage import CLOCK, Stage
from tests.support.broker import KafkaCluster
from tests.support.topics import unique_prefix

Result = dict[str, Any]
_COLUMNS: Final = {
    "sent": "sent",
    "acknowledged": "acknowledged",
    "in_kafka": "in Kafka",
    "lost": "lost",
    "raw_duplicates": "raw duplicates",
    "slowest": "slowest answer, s",
    "recovered": "recovered in, s",
}


def main() -> int:
    """Run what has no result yet; return 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the spans of faults (default %(default)g)")
    parser.add_argument("--rate", type=float, default=500.0, help="webhooks a second (default %(default)g)")
    parser.add_argument("--only", default="", help="scenarios whose names hold one of these, with commas between")
    parser.add_argument("--folder", type=Path, default=Path("build/faults"), help="where results are kept")
    parser.add_argument("--fresh", action="store_true", help="run again what has a result already")
    options = parser.parse_args()
    wanted = options.only.split(",")
    options.folder.mkdir(parents=True, exist_ok=True)
    results = []
    for scenario in (*SCENARIOS, *CONTROLS):
        path = options.folder / f"{scenario.name}.json"
        if not any(part in scenario.name for part in wanted):
            continue
        if options.fresh or not path.exists():
            result = play(scenario, options.folder.resolve(), scale=options.scale, rate=options.rate)
            path.write_text(json.dumps(result, indent=2))
        results.append(json.loads(path.read_text()))
        print(line(results[-1]), flush=True)
    (options.folder / "report.md").write_text(report(results))
    return int(not all(result["as_expected"] for result in results))


def play(scenario: Scenario, folder: Path, *, scale: float, rate: float, clock: float = CLOCK) -> Result:
    """Play one scenario; return its result."""
    began = monotonic()
    with KafkaCluster(scenario.nodes) as cluster:
        stage = Stage(
            folder / f"{scenario.name}-{began:.0f}",
            cluster,
            unique_prefix(),
            daemons=scenario.daemons,
            scale=scale,
            rate=rate,
            clock=clock,
            broken=scenario.broken,
            settings=scenario.settings,
        )
        try:
            scenario.fault(stage)
            verdict = stage.verdict()
        finally:
            stage.close()
    found = verdict.faults()
    numbers = {name: len(value) if isinstance(value, list) else value for name, value in asdict(verdict).items()}
    return numbers | {
        "name": scenario.name,
        "what": (scenario.fault.__doc__ or "").strip(),
        "broken": scenario.broken,
        "found": found,
        "as_expected": bool(found) is (scenario.broken is not None),
        "scale": scale,
        "rate": rate,
        "recovered": round(stage.recovered, 1),
        "slowest": round(verdict.slowest, 2),
        "seconds": round(monotonic() - began, 1),
    }


def line(result: Result) -> str:
    """Return the line of a result. A daemon that lies has to FAIL."""
    numbers = ", ".join(f"{words} {result[name]}" for name, words in _COLUMNS.items())
    found = f" | {'; '.join(result['found'])}" if result["found"] else ""
    mark = "" if result["as_expected"] else "  <-- NOT AS IT SHOULD BE"
    return f"{'FAIL' if result['found'] else 'PASS'} {result['name']}: {numbers}{found}{mark}"


def report(results: list[Result]) -> str:
    """Return the results as a page of Markdown."""
    head = ["scenario", "what happens", "verdict", *_COLUMNS.values()]
    rows = [
        [
            result["name"],
            result["what"],
            "; ".join(["FAIL", *result["found"]]) if result["found"] else "PASS",
            *(str(result[name]) for name in _COLUMNS),
        ]
        for result in results
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
