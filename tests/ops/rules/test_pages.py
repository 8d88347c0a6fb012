"""The pages of the runbooks have one shape, and their two sets of commands are the same."""

import re

import pytest

from tests.ops.rules.pages import RUNBOOKS, blocks, commands, in_all_pods, in_the_pod
from tests.ops.rules.test_rules import ALERTS

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
    one = "$labels.pod" in ALERTS[page]["annotations"]["summary"]
    said = "On Kubernetes, with the pod of the alert:" if one else "On Kubernetes, for all pods:"
    assert said in (RUNBOOKS / f"{page}.md").read_text()
    assert kubernetes == (in_the_pod(first) if one else in_all_pods(first))


@pytest.mark.parametrize("page", LINKED)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (RUNBOOKS / f"{page}.md").read_text())
    assert [link for link in links if not (RUNBOOKS / link).is_file()] == []
