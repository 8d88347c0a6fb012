"""What a scenario is, and how one is played: its fault on a stage, then the verdict of the ledger, then a result.

The scenarios themselves are in `scenarios`, a module for each kind of enemy.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.faults.netns import UnavailableError, play_in_netns
from tests.faults.stage import CLOCK, Stage
from tests.support.broker import KafkaCluster
from tests.support.topics import unique_prefix

__all__ = ["Fault", "Result", "Scenario", "UnavailableError", "is_as_expected", "play", "unplayed"]

Fault = Callable[[Stage], None]
Result = dict[str, Any]
TWICE: Final = "carried twice"


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
    """A mutant ..."""
    finds: str | None = None
    """... and what must be found then, in the words of the ledger (`Verdict.faults`) or of the scenario's complaint."""
    hook: str | None = None
    """What every daemon does to itself (`hooks`)."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Of every daemon, named as in its environment."""
    cluster: Callable[[int], AbstractContextManager[KafkaCluster]] = KafkaCluster
    """Makes the brokers, of their number."""
    netns: bool = False
    """Played in a network namespace of its own (`netns`)."""
    once: bool = False
    """Whether no id may have a second record in Kafka: nothing happens that a copy could come from."""


def unplayed(scenario: Scenario, *, scale: float, rate: float) -> Result:
    """Return what is known of a scenario before it was played."""
    return {
        "name": scenario.name,
        "what": " ".join((scenario.fault.__doc__ or "").split()),
        "broken": scenario.broken,
        "scale": scale,
        "rate": rate,
        "brokers": scenario.nodes,
        "skipped": None,
        "broke": None,
        "found": [],
        "measured": {},
        "remarks": [],
    }


def play(scenario: Scenario, folder: Path, *, scale: float, rate: float, clock: float = CLOCK) -> Result:
    """Play one scenario in a new folder; return its result, also where it could not be played to its end."""
    result = unplayed(scenario, scale=scale, rate=rate)
    try:
        if scenario.netns:
            return play_in_netns(scenario.name, folder, scale=scale, rate=rate)
        return result | _play(scenario, folder, scale=scale, rate=rate, clock=clock)
    except UnavailableError as error:
        return result | {"skipped": str(error), "as_expected": True}
    except Exception as error:  # noqa: BLE001 - whatever breaks one scenario stops no other
        traceback.print_exc()
        return result | {"broke": f"{type(error).__name__}: {error}", "as_expected": False}


def _play(scenario: Scenario, folder: Path, *, scale: float, rate: float, clock: float) -> Result:
    began = monotonic()
    with scenario.cluster(scenario.nodes) as cluster:
        stage = Stage(
            folder / f"{scenario.name}-{began:.0f}",
            cluster,
            unique_prefix(),
            daemons=scenario.daemons,
            scale=scale,
            rate=rate,
            clock=clock,
            broken=scenario.broken or scenario.hook,
            settings=scenario.settings,
        )
        try:
            scenario.fault(stage)
            verdict = stage.verdict()
        finally:
            stage.close()
    found = [*verdict.faults(), *stage.complaints]
    if scenario.once and verdict.raw_duplicates:
        found.append(f"{TWICE}: {verdict.raw_duplicates} records beyond the first of an id")
    numbers = {name: len(value) if isinstance(value, list) else value for name, value in asdict(verdict).items()}
    return numbers | {
        "found": found,
        "as_expected": is_as_expected(scenario, found),
        "offered": round(stage.offered, 1),
        "recovered": None if stage.recovered is None else round(stage.recovered, 1),
        "slowest": round(verdict.slowest, 2),
        "p99": round(verdict.p99, 2),
        "measured": stage.measured,
        "remarks": stage.remarks,
        "seconds": round(monotonic() - began, 1),
    }


def is_as_expected(scenario: Scenario, found: Sequence[str]) -> bool:
    """Whether nothing was found; of a mutant, whether its own fault was."""
    if scenario.broken is None:
        return not found
    return scenario.finds is not None and any(words.startswith(scenario.finds) for words in found)
