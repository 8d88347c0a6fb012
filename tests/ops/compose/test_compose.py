"""The playground: checked as far as that goes without the images that it names."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import jars
from tests.support.daemon import command
from tests.support.debian import REPOSITORY
from tests.support.missing import unavailable
from tests.support.node import JVM

FILE = REPOSITORY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PARSER = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"
"""What Docker Compose itself reads the file with, as a program."""


def mounts() -> list[tuple[str, str]]:
    """Return what is mounted of the repository, and where."""
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    return [(source, target) for source, target, *_ in (volume.split(":") for volume in volumes) if source[0] == "."]


@pytest.mark.parametrize(("source", "target"), mounts())
def test_what_is_mounted_is_there(source: str, target: str) -> None:
    path = REPOSITORY / source
    assert path.is_file() if Path(target).suffix else any(path.iterdir())


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_everything_is_published_on_loopback_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_every_image_is_built_here_or_has_the_tag_of_a_version(service: dict[str, Any]) -> None:
    assert service.get("build") == "." or re.fullmatch(r"docker\.io/[a-z/]+:v?\d+\.\d+\.\d+", service["image"])


def test_a_daemon_with_these_settings_would_start(tmp_path: Path) -> None:
    given = {name.removeprefix("AURORA_BRIDGE_"): value for name, value in SERVICES["bridge"]["environment"].items()}
    result = command("config", cwd=tmp_path, ingress__host="0.0.0.0", **given)  # noqa: S104 - as the image sets it
    assert (result.returncode, result.stderr) == (0, "")


def test_the_daemon_has_the_time_that_it_takes_to_end() -> None:
    assert SERVICES["bridge"]["stop_grace_period"] == "30s"  # as the unit's, whose test has the sum


def test_prometheus_takes_its_settings(promtool: str, tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "compose" / "prometheus.yaml", tmp_path)
    (tmp_path / "rules").symlink_to(REPOSITORY / "grafana" / "rules")
    checked = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yaml"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_keeps_what_the_alerts_and_the_dashboards_look_back_to(prometheus: str) -> None:
    given = SERVICES["prometheus"]["command"]
    weeks = re.findall(r"offset (\d+)w", (REPOSITORY / "grafana" / "rules" / "aurora-bridge.rules.yaml").read_text())
    days = re.findall(r"\[(\d+)d\]", (REPOSITORY / "grafana" / "dashboards" / "overview.json").read_text())
    (kept,) = (int(days) for one in given for days in re.findall(r"^--storage\.tsdb\.retention\.time=(\d+)d$", one))
    assert kept > max(*(int(number) * 7 for number in weeks), *(int(number) for number in days))
    asked = subprocess.run([prometheus, *given, "--version"], check=False, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr


def test_grafana_has_a_first_page_among_the_dashboards_that_are_mounted() -> None:
    environment = SERVICES["grafana"]["environment"]
    page = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    provider = yaml.safe_load((REPOSITORY / "compose/grafana/dashboards/aurora-bridge.yaml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    source = next(source for source, target in mounts() if target == folder)
    assert page.parent == Path(folder)
    assert (REPOSITORY / source / page.name).is_file()


@pytest.mark.ops
def test_kafka_takes_its_settings(tmp_path: Path) -> None:
    if not jars.possible():
        unavailable(f"no Apache Kafka: {jars.INSTALL}")
    environment = dict(SERVICES["kafka"]["environment"])
    cluster = environment.pop("CLUSTER_ID")
    lines = [f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}" for name, value in environment.items()]
    settings = tmp_path / "server.properties"
    settings.write_text("\n".join(lines).replace("/var/lib/kafka", str(tmp_path)))
    libraries = os.pathsep.join(map(str, jars.obtain()))
    java = [*JVM, "-cp", libraries, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", settings]
    formatted = subprocess.run(java, check=False, capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr


@pytest.mark.ops
def test_the_parser_of_docker_compose_takes_it(program: Callable[[str], str], tmp_path: Path) -> None:
    environment = os.environ | {"GOBIN": str(tmp_path)}
    built = subprocess.run(
        [program("go"), "install", PARSER], check=False, env=environment, capture_output=True, text=True
    )
    if built.returncode:
        unavailable(f"no parser of compose files: go install {PARSER} (needs Go 1.24): {built.stderr[-300:]}")
    parsed = subprocess.run([tmp_path / "cmd", "-format=json", FILE], check=False, capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr
    assert json.loads(parsed.stdout)["services"].keys() == SERVICES.keys()
