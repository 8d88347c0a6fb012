"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import brokers, clients, corpus, daemon, soak
from tests.faults.scenarios.controls import CONTROLS, HONEST

SCENARIOS = [
    *sorted(
        [*brokers.SCENARIOS, *clients.SCENARIOS, *corpus.SCENARIOS, *daemon.SCENARIOS, *soak.SCENARIOS],
        key=lambda one: one.name,
    ),
    HONEST,
]

__all__ = ["CONTROLS", "SCENARIOS"]
