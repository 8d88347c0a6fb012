"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import brokers, daemon, disk, fsync, network, start
from tests.faults.scenarios.controls import CONTROLS, HONEST

_ALL = [*brokers.SCENARIOS, *daemon.SCENARIOS, *disk.SCENARIOS, *fsync.SCENARIOS, *network.SCENARIOS, *start.SCENARIOS]
SCENARIOS = [*sorted(_ALL, key=lambda one: one.name), HONEST]

__all__ = ["CONTROLS", "SCENARIOS"]
