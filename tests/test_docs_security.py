"""`docs/security.md` is right: each test and each scenario that it names exists."""

import re
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
PAGE: Final = (TESTS.parent / "docs" / "security.md").read_text()
NAMED: Final = [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", PAGE)]


def shown_by() -> list[tuple[str, str]]:
    """Return file and name of everything that the page calls a proof; without a file it is that of the one before."""
    found, file = [], ""
    for code in NAMED:
        with_file = re.fullmatch(r"([a-z_0-9/]+\.py): (\w+)", code)
        if with_file:
            file = with_file[1]
        if with_file or code.startswith("test_"):
            found.append((file, with_file[2] if with_file else code))
    return found


def test_every_test_that_is_named_exists() -> None:
    proofs = shown_by()
    assert len(proofs) > 50
    missing = [(file, name) for file, name in proofs if not re.search(rf"def {name}\(", (TESTS / file).read_text())]
    assert missing == []


def test_every_file_of_samples_that_is_named_exists() -> None:
    files = [code for code in NAMED if code.startswith("samples/")]
    assert files
    assert [file for file in files if not (TESTS / file).exists()] == []
