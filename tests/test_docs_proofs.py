"""What the pages call a proof exists: each test, each scenario and each file of samples; and what they list is all."""

import re
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.webhook.catalogue import CATALOGUE, Standing
from docs.proofs import PROMISES
from tests.faults.scenarios import CONTROLS, SCENARIOS

TESTS: Final = Path(__file__).parent
PAGES: Final = {"docs/security.md": 100}
"""And how many proofs they have at least."""
UNPROVEN: Final = "No test shows"
"""What a statement of the security page says that has none."""


def text_of(page: str) -> str:
    """Return a page."""
    return (TESTS.parent / page).read_text()


def code_of(text: str) -> list[str]:
    """Return everything that stands in backticks."""
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", text)]


def proofs_of(text: str) -> list[tuple[str, str]]:
    """Return file and name of each proof in a text; without a file it is that of the one before.

    Pages name the code in the same way: a file that is below `src` and not below `tests` makes no proof.
    """
    found, file = [], ""
    for code in code_of(text):
        with_file = re.fullmatch(r"([a-z_0-9/]+\.py): ([\w.]+)", code)
        if with_file:
            file = with_file[1]
        if (with_file and not _is_code(file)) or re.fullmatch(r"test_\w+", code):
            found.append((file, with_file[2] if with_file else code))
    return found


def statements_of(page: str) -> list[str]:
    """Return the rows of the tables that have a column of tests, and the points of the lists."""
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", text_of(page), re.MULTILINE)]
    rows = [row for head, _, *body in tables if head.rstrip(" |").endswith("| test") for row in body]
    return rows + re.findall(r"^- .*(?:\n  .*)*", text_of(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    proofs = proofs_of(text_of(page))
    assert len(proofs) >= PAGES[page]
    missing = [(file, name) for file, name in proofs if not _has(file, name)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_tests_that_is_named_exists(page: str) -> None:
    files = [code for code in code_of(text_of(page)) if re.fullmatch(r"(samples/\S+|\S*test_\w+\.py)", code)]
    assert [file for file in files if not (TESTS / file.removeprefix("tests/")).exists()] == []


def test_every_statement_of_the_security_page_names_its_test_or_says_that_there_is_none() -> None:
    statements = statements_of("docs/security.md")
    assert len(statements) > 40
    assert [one for one in statements if bool(proofs_of(one)) is (UNPROVEN in one)] == []


def test_every_scenario_that_is_called_a_proof_exists() -> None:
    named = {scenario.name for scenario in (*SCENARIOS, *CONTROLS)}
    assert [name for scenarios in PROMISES.values() for name in scenarios if name not in named] == []


def test_every_module_that_the_architecture_names_exists() -> None:
    modules = re.findall(r"`([a-z_/]+\.py)`", text_of("docs/architecture.md"))
    assert len(modules) > 30
    assert [module for module in modules if not (TESTS.parent / "src" / "aurora_bridge" / module).is_file()] == []


def test_the_page_of_the_faults_has_every_scenario_and_every_control_and_no_other() -> None:
    named = [scenario.name for scenario in (*SCENARIOS, *CONTROLS)]
    page = text_of("docs/faults.md")
    assert sorted(named) == sorted(re.findall(r"^- \*\*([\w-]+)\*\*: ", page, re.MULTILINE))
    assert sorted(named) == sorted(re.findall(r"^\| (\d\d-[\w-]+|control-[\w-]+) \|", page, re.MULTILINE))


def test_the_guarantees_list_the_events_of_which_nothing_but_the_name_is_known() -> None:
    signals = next(line for line in text_of("docs/guarantees.md").splitlines() if line.startswith("| signal |"))
    _, listed = signals.split("nothing but the name is known: ")
    only_names = [name for name, kind in CATALOGUE.items() if kind.standing is Standing.NAME_ONLY]
    assert code_of(listed) == sorted(only_names)


def _is_code(file: str) -> bool:
    return any((TESTS.parent / "src/aurora_bridge").rglob(file)) and not (TESTS / file).exists()


def _has(file: str, name: str) -> bool:
    path = TESTS / file
    text = path.read_text() if path.is_file() else ""
    return re.search(rf"^(async def |def |class |){name}\b", text, re.MULTILINE) is not None
