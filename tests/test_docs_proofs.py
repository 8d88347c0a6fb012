"""The pages and what they stand for agree: promises and tests, scenarios, modules, events."""

import re
from pathlib import Path
from typing import Final

from aurora_bridge.webhook.catalogue import CATALOGUE, Evidence
from docs import proofs
from tests.faults.scenarios import CONTROLS, SCENARIOS

REPOSITORY: Final = Path(__file__).parents[1]


def text_of(page: str) -> str:
    """Return a page."""
    return (REPOSITORY / page).read_text()


def test_every_promise_and_every_statement_on_security_is_proven_by_a_test_that_says_so() -> None:
    assert len(proofs.statements()) > 60
    assert proofs.problems() == []


def test_every_scenario_that_is_called_a_proof_exists() -> None:
    named = {scenario.name for scenario in (*SCENARIOS, *CONTROLS)}
    assert [name for scenarios in proofs.SCENARIOS.values() for name in scenarios if name not in named] == []
    assert proofs.SCENARIOS.keys() <= {*proofs.PROMISES, *proofs.statements()}


def test_every_module_that_the_architecture_names_exists() -> None:
    modules = re.findall(r"`([a-z_/]+\.py)`", text_of("docs/architecture.md"))
    assert len(modules) > 30
    assert [module for module in modules if not (REPOSITORY / "src" / "aurora_bridge" / module).is_file()] == []


def test_the_page_of_the_faults_has_every_scenario_and_every_control_and_no_other() -> None:
    named = [scenario.name for scenario in (*SCENARIOS, *CONTROLS)]
    page = text_of("docs/faults.md")
    assert sorted(named) == sorted(re.findall(r"^- \*\*([\w-]+)\*\*: ", page, re.MULTILINE))
    assert sorted(named) == sorted(re.findall(r"^\| (\d\d-[\w-]+|control-[\w-]+) \|", page, re.MULTILINE))


def test_the_guarantees_list_the_events_of_which_nothing_but_the_name_is_known() -> None:
    signals = next(line for line in text_of("docs/guarantees.md").splitlines() if line.startswith("| signal |"))
    _, listed = signals.split("nothing but the name is known: ")
    only_names = [name for name, kind in CATALOGUE.items() if kind.evidence is Evidence.NAME_ONLY]
    assert re.findall(r"`([^`]+)`", listed) == sorted(only_names)
