"""What a scenario is, and how one is played: its fault on a stage, then the verdict of the ledger, then a result.

The scenarios themselves are in `scenarios`, a module for each kind of enemy.
"""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from confluent_kafka import KafkaException

from tests.faults.stage import CLOCK, Stage
from tests.support.broker import ClusterError, KafkaCluster
from tests.support.topics import unique_prefix

Fault = Callable[[Stage], None]
Result = dict[str, Any]


class UnavailableError(Exception):
    """This machine does not allow what a scenario needs; the text says what, and how to get it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and what may be expected afterwards."""

    name: str
    """Number in the list of the promise's enemies, and a word."""
    fault: Fault
    """Its docstring is what the report says of it. Raises `UnavailableError`."""
    nodes: int = 3
    daemons: int = 1
    broken: str | None = None
    """A daemon that lies: then the ledger must find it out."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Of every daemon, named as in its environment."""
    cluster: Callable[[int], KafkaCluster] = KafkaCluster
    """Makes the brokers, of their number."""


def play(scenario: Scenario, folder: Path, *, scale: float, rate: float, clock: float = CLOCK) -> Result:
    """Play one scenario in a new folder; return its result, also where it could not be played to its end."""
    began = monotonic()
    result: Result = {
        "name": scenario.name,
        "what": " ".join((scenario.fault.__doc__ or "").split()),
        "broken": scenario.broken,
        "scale": scale,
        "rate": rate,
        "skipped": None,
        "broke": None,
        "found": [],
        "measured": {},
    }
    with scenario.cluster(scenario.nodes) as cluster:
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
        except UnavailableError as error:
            return result | {"skipped": str(error), "as_expected": True}
        except (AssertionError, ClusterError, KafkaException, OSError, subprocess.SubprocessError) as error:
            return result | {"broke": f"{type(error).__name__}: {error}", "as_expected": False}
        finally:
            stage.close()
    found = [*verdict.faults(), *stage.complaints]
    numbers = {name: len(value) if isinstance(value, list) else value for name, value in asdict(verdict).items()}
    return (
        numbers
        | result
        | {
            "found": found,
            "as_expected": bool(found) is (scenario.broken is not None),
            "recovered": round(stage.recovered, 1),
            "slowest": round(verdict.slowest, 2),
            "p99": round(verdict.p99, 2),
            "measured": stage.measured,
            "seconds": round(monotonic() - began, 1),
        }
    )
