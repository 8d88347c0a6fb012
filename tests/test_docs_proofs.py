"""What the pages call a proof exists: each test, each scenario and each file of samples that they name."""

import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
PAGES: Final = {"docs/security.md": 50, "docs/architecture.md": 50, "CHANGELOG.md": 15}
"""And how many proofs they have at least."""


def code_of(page: str) -> list[str]:
    """Return everything that stands in backticks."""
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", (TESTS.parent / page).read_text())]


def proofs_of(page: str) -> list[tuple[str, str]]:
    """Return file and name of each proof on a page; without a file it is that of the one before."""
    found, file = [], ""
    for code in code_of(page):
        with_file = re.fullmatch(r"([a-z_0-9/]+\.py): (\w+)", code)
        if with_file:
            file = with_file[1]
        if (with_file and (TESTS / file).exists()) or re.fullmatch(r"test_\w+", code):
            found.append((file, with_file[2] if with_file else code))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    proofs = proofs_of(page)
    assert len(proofs) >= PAGES[page]
    missing = [(file, name) for file, name in proofs if not _has(file, name)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_tests_that_is_named_exists(page: str) -> None:
    files = [code for code in code_of(page) if re.fullmatch(r"(samples/\S+|\S*test_\w+\.py)", code)]
    assert [file for file in files if not (TESTS / file.removeprefix("tests/")).exists()] == []


def _has(file: str, name: str) -> bool:
    path = TESTS / file
    return path.is_file() and re.search(rf"(def |class |^){name}\b", path.read_text(), re.MULTILINE) is not None
