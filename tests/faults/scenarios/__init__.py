"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import (
    brokers,
    clients,
    clock,
    corpus,
    daemon,
    disk,
    fsync,
    index,
    network,
    order,
    partitions,
    power,
    rebuild,
    refused,
    replicas,
    soak,
    start,
)
from tests.faults.scenarios.controls import CONTROLS, HONEST

_KINDS = (
    brokers,
    clients,
    clock,
    corpus,
    daemon,
    disk,
    fsync,
    index,
    network,
    order,
    partitions,
    power,
    rebuild,
    refused,
    replicas,
    soak,
    start,
)
SCENARIOS = [*sorted((one for kind in _KINDS for one in kind.SCENARIOS), key=lambda one: one.name), HONEST]

__all__ = ["CONTROLS", "SCENARIOS"]
