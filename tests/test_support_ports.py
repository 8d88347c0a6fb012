"""Ports for servers: no two test processes choose the same one between looking and listening."""

import subprocess
import sys
from pathlib import Path

from tests.support.ports import BELOW_EPHEMERAL, free_ports

MANY = 400
"""Twice what a process has: it goes round."""
CHOOSE = "from tests.support.ports import free_ports; print(*(free_ports(1)[0] for _ in range({})))"


def test_two_processes_choose_none_of_the_same_ports() -> None:
    mine = {port for _ in range(MANY) for port in free_ports(1)}
    command = [sys.executable, "-c", CHOOSE.format(MANY)]
    told = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    theirs = set(map(int, told.stdout.split()))
    assert mine <= set(BELOW_EPHEMERAL) >= theirs
    assert not mine & theirs


def test_ports_are_different_and_those_of_before_come_last() -> None:
    first, then = free_ports(20), free_ports(20)
    assert len({*first, *then}) == 40
