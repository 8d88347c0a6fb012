"""Every scenario, in the order of their numbers, and the controls."""

from tests.faults.scenarios import (
    answers,
    brokers,
    clients,
    clock,
    controller,
    corpus,
    daemon,
    disk,
    fsync,
    index,
    leadership,
    line,
    network,
    order,
    partitions,
    power,
    quota,
    rebuild,
    refused,
    replicas,
    soak,
    start,
)
from tests.faults.scenarios.controls import CONTROLS, HONEST

_KINDS = (
    answers,
    brokers,
    clients,
    clock,
    controller,
    corpus,
    daemon,
    disk,
    fsync,
    index,
    leadership,
    line,
    network,
    order,
    partitions,
    power,
    quota,
    rebuild,
    refused,
    replicas,
    soak,
    start,
)
SCENARIOS = [*sorted((one for kind in _KINDS for one in kind.SCENARIOS), key=lambda one: one.name), HONEST]

__all__ = ["CONTROLS", "SCENARIOS"]
