"""The pages of the runbooks have one shape, and their two sets of commands are the same."""

import re

import pytest

from tests.ops.rules.pages import FORWARD, RUNBOOKS, blocks, commands

PAGES = sorted(path.stem for path in RUNBOOKS.glob("AuroraBridge*.md"))
LINKED = [*PAGES, "README", "scale-down"]


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_the_same_parts(page: str) -> None:
    headings = re.findall(r"^## (.*)", (RUNBOOKS / f"{page}.md").read_text(), re.MULTILINE)
    assert headings == ["First", "Which cause, and how to mend it", "It is over when"]


@pytest.mark.parametrize("page", PAGES)
def test_each_page_begins_with_three_commands_on_a_host_and_the_same_on_kubernetes(page: str) -> None:
    host, kubernetes = blocks(page)
    first = commands(host)
    assert len(first) == 3
    forward = [FORWARD] if any("curl" in command.line for command in first) else []
    assert kubernetes == [*forward, *(command.on_kubernetes for command in first)]


@pytest.mark.parametrize("page", LINKED)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (RUNBOOKS / f"{page}.md").read_text())
    assert [link for link in links if not (RUNBOOKS / link).is_file()] == []
