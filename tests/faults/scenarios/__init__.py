"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import brokers, clock, daemon, order, rebuild, replicas
from tests.faults.scenarios.controls import CONTROLS, HONEST

_ENEMIES = (brokers, clock, daemon, order, rebuild, replicas)
SCENARIOS = [
    *sorted((scenario for enemy in _ENEMIES for scenario in enemy.SCENARIOS), key=lambda one: one.name),
    HONEST,
]

__all__ = ["CONTROLS", "SCENARIOS"]
