"""A few scenarios, shortened: the promise is kept, and who breaks it is found out. `make faults` plays all of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.report import line
from tests.faults.scenario import play
from tests.faults.scenarios import CONTROLS, SCENARIOS
from tests.support import jars
from tests.support.missing import unavailable

SELECTION = {
    "01-daemon-killed": 0.05,
    "01-killed-before-answer": 0.03,
}
LIES = {
    "control-no-spool": 0.03,
    "control-answer-before-commit": 0.03,
    "control-no-dedup": 0.1,
}
"""By name, the scale."""
BROKERS = 1
"""Instead of three: none of these is about more."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [*SELECTION, *LIES])
def test_the_ledger_finds_out_whether_a_2xx_meant_stored(name: str, tmp_path: Path) -> None:
    if not jars.possible():
        unavailable(f"no Apache Kafka: {jars.INSTALL}")
    scenario = next(one for one in (*SCENARIOS, *CONTROLS) if one.name == name)
    result = play(replace(scenario, nodes=BROKERS), tmp_path, scale=(SELECTION | LIES)[name], rate=200, clock=6000)
    assert result["as_expected"], line(result)
    assert result["acknowledged"] > 500
