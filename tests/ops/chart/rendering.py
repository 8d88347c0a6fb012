"""What Helm makes of the chart: rendered objects, refusals, and the folder that the daemon would find in its pod.

Values are handed over as JSON, so that each test says only what it differs in; equal calls render once.
"""

import json
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cli.in_process import here

CHART: Final = Path(__file__).parents[3] / "helm" / "aurora-bridge"
SCENARIOS: Final = sorted((CHART / "ci").glob("*.yaml"))
MINIMAL: Final = yaml.safe_load((CHART / "ci" / "minimal.yaml").read_text())

SELECTOR: Final = {
    "app.kubernetes.io/name": "aurora-bridge",
    "app.kubernetes.io/instance": "release",
    "app.kubernetes.io/component": "bridge",
}
"""The labels of the daemon's pods, in which a Job's and that of `helm test` differ."""

Object = dict[str, Any]

_WORKLOADS: Final = ("StatefulSet", "Deployment", "Job")


class RefusedError(Exception):
    """Helm did not render; carries what it said."""


class Objects(list[Object]):
    """Rendered objects."""

    def one(self, kind: str, suffix: str = "") -> Object:
        """Return the object of a kind; of several, the one whose name ends so. Raises `LookupError`."""
        found = [each for each in self if each["kind"] == kind and each["metadata"]["name"].endswith(suffix)]
        if len(found) != 1:
            raise LookupError(kind, suffix, [each["metadata"]["name"] for each in found])
        (only,) = found
        return only

    def has(self, kind: str) -> bool:
        """Tell whether there is an object of a kind."""
        return any(each["kind"] == kind for each in self)

    def pod(self) -> Object:
        """Return the specification of the daemon's pods."""
        spec: Object = self.pod_template()["spec"]
        return spec

    def pod_template(self) -> Object:
        """Return the template of the daemon's pods."""
        workload = self.one("StatefulSet") if self.has("StatefulSet") else self.one("Deployment")
        template: Object = workload["spec"]["template"]
        return template

    def container(self) -> Object:
        """Return the daemon's container."""
        return next(each for each in self.pod()["containers"] if each["name"] == "aurora-bridge")

    def pods(self) -> Iterator[Object]:
        """Yield the specification of every pod there can be: those of workloads and Jobs, and that of `helm test`."""
        for each in self:
            if each["kind"] in _WORKLOADS:
                yield each["spec"]["template"]["spec"]
            elif each["kind"] == "Pod":
                yield each["spec"]

    def toml(self) -> str:
        """Return the settings file."""
        (volume,) = (each for each in self.pod()["volumes"] if each["name"] == "settings")
        (text,) = self.one("ConfigMap", volume["projected"]["sources"][0]["configMap"]["name"])["data"].values()
        return str(text)

    def settings(self) -> dict[str, Any]:
        """Return the settings file, read."""
        return tomllib.loads(self.toml())


def render(helm: str, values: Mapping[str, Any] | Path, *, chart: Path = CHART, kube: str = "1.32.0") -> Objects:
    """Return the objects for these values: a file, or what is added to the minimal ones. Raises `RefusedError`."""
    return Objects(yaml.load_all(manifests(helm, values, chart=chart, kube=kube), Loader=yaml.CSafeLoader))


def manifests(helm: str, values: Mapping[str, Any] | Path, *, chart: Path = CHART, kube: str = "1.32.0") -> str:
    """Return what `helm template` prints for these values, as `render` takes them. Raises `RefusedError`."""
    text = values.read_text() if isinstance(values, Path) else json.dumps(merged(MINIMAL, values))
    return _template(helm, text, chart, kube)


def refusal(helm: str, values: Mapping[str, Any]) -> str:
    """Return what Helm says to values that it refuses. Fails if it takes them."""
    try:
        render(helm, values)
    except RefusedError as refused:
        return str(refused)
    message = f"Helm takes them: {values}"
    raise AssertionError(message)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as Helm merges them: maps are merged, all else replaced."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = merged(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return both


@cache
def _template(helm: str, values: str, chart: Path, kube: str) -> str:
    arguments = ["template", "release", str(chart), "--namespace", "hooks", "--kube-version", kube, "--values", "-"]
    ended = subprocess.run([helm, *arguments], check=False, input=values, capture_output=True, text=True, timeout=60)
    if ended.returncode:
        raise RefusedError(ended.stderr)
    return ended.stdout


def settings_folder(objects: Objects, folder: Path, pem: Path) -> Path:
    """Make the folder that the pod mounts, each secret with something fit in it; return the settings file.

    What a file must hold is told from the setting that names it. Files that `extraVolumes` bring are put beside.
    """
    text = objects.toml()
    contents = dict(_named_files(objects.settings(), pem))
    (volume,) = (each for each in objects.pod()["volumes"] if each["name"] == "settings")
    for source in volume["projected"]["sources"]:
        (projected,) = source.values()
        for item in projected["items"]:
            _write(folder / item["path"], contents.get(item["path"], text))
    for path, content in contents.items():
        if path.startswith("/"):
            _write(folder / "extra" / path[1:], content)
            text = text.replace(f'"{path}"', f'"extra{path}"')
    file = folder / "aurora-bridge.toml"
    file.chmod(0o640)
    file.write_text(text)
    return file


def _named_files(table: object, pem: Path) -> Iterator[tuple[str, str]]:
    if isinstance(table, list):
        for inner in table:
            yield from _named_files(inner, pem)
    elif isinstance(table, dict):
        for name, value in table.items():
            if name.endswith("_file"):
                yield value, pem.read_text() if name.startswith("tls_") or name.endswith("ca_file") else "user:word\n"
            else:
                yield from _named_files(value, pem)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o440)


def daemon_says(objects: Objects, folder: Path, pem: Path) -> subprocess.CompletedProcess[str]:
    """Run the daemon's `config` command as the rendered container would: its environment, its files."""
    file = settings_folder(objects, folder, pem)
    prefix = "AURORA_BRIDGE_"
    environment = {
        each["name"].removeprefix(prefix).lower(): each["value"]
        for each in objects.container()["env"]
        if each["name"].startswith(prefix)
    }
    assert environment.pop("config") == "/etc/aurora-bridge/aurora-bridge.toml"
    with chdir(folder):
        return here("config", **environment, config=file)
