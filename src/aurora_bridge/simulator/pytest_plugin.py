"""The pytest fixture `aurora_simulator`; name this module in `pytest_plugins`."""

from collections.abc import Iterator

import pytest

from aurora_bridge.simulator.in_thread import Simulator, running


@pytest.fixture
def aurora_simulator() -> Iterator[Simulator]:
    """A simulated Aurora for one test: nothing happens unless it is triggered, and its clock can be advanced."""
    with running() as simulator:
        yield simulator
