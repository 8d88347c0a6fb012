"""A fault, shortened: an honest daemon keeps the promise, and liars are found out. `make faults` plays the others."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.report import line
from tests.faults.scenario import play
from tests.faults.scenarios import CONTROLS, SCENARIOS
from tests.support.broker import KafkaCluster

SELECTION = {
    "01-daemon-killed": 0.05,
    "control-answer-before-commit": 0.03,
}
"""By name, the scale."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SELECTION)
def test_the_ledger_finds_out_whether_a_2xx_meant_stored(name: str, kafka1: KafkaCluster, tmp_path: Path) -> None:
    scenario = next(one for one in (*SCENARIOS, *CONTROLS) if one.name == name)
    on_one_node = replace(scenario, nodes=1, cluster=lambda _: nullcontext(kafka1))
    result = play(on_one_node, tmp_path, scale=SELECTION[name], rate=200, clock=6000)
    assert result["as_expected"], line(result)
    assert result["acknowledged"]
