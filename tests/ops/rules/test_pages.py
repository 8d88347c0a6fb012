"""The pages of the runbooks have one shape, and their two sets of commands are the same."""

import os
import re
import shutil
import subprocess
from functools import reduce
from pathlib import Path

import pytest
import yaml

from tests.ops.rules.pages import RUNBOOKS, blocks, commands, in_all_pods, in_the_pod
from tests.ops.rules.test_rules import ALERTS, REPOSITORY

PAGES = sorted(path.stem for path in RUNBOOKS.glob("AuroraBridge*.md"))
LINKED = [*PAGES, "README", "scale-down"]
CHART = REPOSITORY / "helm" / "aurora-bridge"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
NAMED_OTHERWISE = dict(re.findall(r"`([A-Z_]+)`\s+is\s+`([A-Za-z_.]+)`", (RUNBOOKS / "README.md").read_text()))
"""Settings by their values of the chart, as "Change a setting" says it."""


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_the_same_parts(page: str) -> None:
    headings = re.findall(r"^## (.*)", (RUNBOOKS / f"{page}.md").read_text(), re.MULTILINE)
    assert headings == ["Check first", "Causes and fixes", "Escalate", "It is over when"]


@pytest.mark.parametrize("page", PAGES)
def test_each_page_begins_with_three_commands_on_a_host_and_the_same_on_kubernetes(page: str) -> None:
    host, kubernetes = blocks(page)
    first = commands(host)
    assert len(first) == 3
    one = "$labels.pod" in ALERTS[page][0]["annotations"]["summary"]
    said = "On Kubernetes, in the pod that the alert names:" if one else "On Kubernetes, in all pods:"
    assert said in (RUNBOOKS / f"{page}.md").read_text()
    assert kubernetes == (in_the_pod(first) if one else in_all_pods(first))


@pytest.mark.parametrize("page", LINKED)
def test_a_shell_can_read_the_blocks_of_a_page(page: str) -> None:
    script = "\n".join(line for block in blocks(page) for line in block)
    done = subprocess.run(["bash", "-n"], check=False, input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", LINKED)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", (RUNBOOKS / f"{page}.md").read_text())
    for link, anchor in links:
        assert (RUNBOOKS / link).is_file()
        assert not anchor or anchor in anchors(RUNBOOKS / link)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in a link."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_names_a_setting_names_its_value_in_the_chart(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    for setting in re.findall(r"`([A-Z]+__[A-Z_]+)", text):
        value = NAMED_OTHERWISE.get(setting, f"settings.{setting.replace('__', '.').lower()}")
        assert value in text


@pytest.mark.parametrize("page", LINKED)
def test_the_values_that_a_page_names_are_the_charts(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    named = set(re.findall(r"\b(?:settings|persistence)\.[a-z_.]*[a-z]|`listenAddress`", text))
    assert [value for value in named if not is_value(value.strip("`"))] == []


def is_value(name: str) -> bool:
    """Tell whether the chart has a value."""
    missing: object = object()
    found = reduce(
        lambda node, key: node.get(key, missing) if isinstance(node, dict) else missing, name.split("."), VALUES
    )
    return found is not missing


def test_the_job_that_scaling_down_waits_for_is_the_one_that_the_chart_makes(helm: str, tmp_path: Path) -> None:
    (command,) = re.findall(r"^helm template (?:.*\\\n)*.*", (RUNBOOKS / "scale-down.md").read_text(), re.MULTILINE)
    shutil.copy(CHART / "ci" / "minimal.yaml", tmp_path / "values.yaml")
    (tmp_path / "helm").symlink_to(CHART.parent)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "helm").symlink_to(helm)
    (programs / "kubectl").write_text("#!/bin/sh\nexec cat\n")
    (programs / "kubectl").chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command], check=True, cwd=tmp_path, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE
    )
    job = yaml.safe_load(done.stdout)
    assert job["kind"] == "Job"
    waited_for = re.findall(r"job[ /](\S+)", "\n".join(line for block in blocks("scale-down") for line in block))
    assert set(waited_for) == {job["metadata"]["name"]}
