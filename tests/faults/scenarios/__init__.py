"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import brokers, clients, daemon
from tests.faults.scenarios.controls import CONTROLS, HONEST

SCENARIOS = [*sorted([*brokers.SCENARIOS, *clients.SCENARIOS, *daemon.SCENARIOS], key=lambda one: one.name), HONEST]

__all__ = ["CONTROLS", "SCENARIOS"]
