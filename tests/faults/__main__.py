"""`python -m tests.faults`: every scenario, then every lie; one line each, and a report that can be gone on with."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from tests.faults.scenarios import CONTROLS, SCENARIOS, Scenario
from tests.faults.stage import Stage
from tests.support.broker import KafkaCluster
from tests.support.topics import unique_prefix


def main() -> int:
    """Run what was not run yet; return whether all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help="of the spans of faults (default %(default)s)")
    parser.add_argument("--rate", type=float, default=500, help="webhooks a second (default %(default)s)")
    parser.add_argument("--only", default="", help="scenarios whose names hold one of these, with commas between")
    parser.add_argument("--folder", type=Path, default=Path("build/faults"), help="where results are kept")
    parser.add_argument("--fresh", action="store_true", help="run again what has a result already")
    options = parser.parse_args()
    wanted = options.only.split(",")
    chosen = [one for one in (*SCENARIOS, *CONTROLS) if any(part in one.name for part in wanted)]
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for scenario in chosen:
        path = options.folder / f"{scenario.name}.json"
        if options.fresh or not path.exists():
            path.write_text(json.dumps(run(scenario, options.folder, options.scale, options.rate), indent=2))
        result = json.loads(path.read_text())
        print(line(result), flush=True)
        failed += not result["passed"]
    return 1 if failed else 0


def run(scenario: Scenario, folder: Path, scale: float, rate: float) -> dict[str, object]:
    """Play one scenario; return its result."""
    began = monotonic()
    with KafkaCluster(scenario.nodes) as cluster:
        own = folder.resolve() / f"{scenario.name}-{int(began)}"
        stage = Stage(
            own,
            cluster,
            unique_prefix(),
            daemons=scenario.daemons,
            scale=scale,
            rate=rate,
            broken=scenario.broken,
            settings=scenario.settings,
        )
        try:
            scenario.fault(stage)
            verdict = stage.verdict()
        finally:
            stage.close()
    found = verdict.faults(ids_may_differ=scenario.ids_may_differ)
    return {
        "name": scenario.name,
        "lies": scenario.broken is not None,
        "passed": bool(found) is (scenario.broken is not None),
        "found": found,
        "scale": scale,
        "recovered": round(stage.recovered, 1),
        "seconds": round(monotonic() - began, 1),
        **{name: value if not isinstance(value, list) else len(value) for name, value in asdict(verdict).items()},
    }


def line(result: dict[str, object]) -> str:
    """Return the line of a result. A daemon that lies must FAIL."""
    word = "FAIL" if result["found"] else "PASS"
    mark = "" if result["passed"] else "  <-- NOT AS IT SHOULD BE"
    return (
        f"{word} {result['name']}: sent {result['sent']}, acknowledged {result['acknowledged']}, "
        f"in Kafka {result['in_kafka']}, lost {result['lost']}, raw duplicates {result['raw_duplicates']}, "
        f"slowest answer {result['slowest']:.2f} s, recovered in {result['recovered']} s"
        f"{' | ' + '; '.join(map(str, result['found'])) if result['found'] else ''}{mark}"  # type: ignore[call-overload]
    )


if __name__ == "__main__":
    sys.exit(main())
