"""The chart in a real Kubernetes API that enforces Pod Security "restricted": install, upgrade, roll back, uninstall.

The API has the custom resources of the Prometheus operator and the Gateway API. There is no node, so pods stay pending
and Helm's hooks, which wait for a pod, are left out; what they would start is applied by itself.
"""

import base64
import functools
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.ops.chart.rendering import CHART, SCENARIOS
from tests.support.control_plane import ControlPlane, ControlPlaneError
from tests.support.missing import unavailable
from tests.support.tools import ToolMissingError, fetched, program

pytestmark = [pytest.mark.ops, pytest.mark.slow]

SECONDS: Final = 30.0
NUMBERS: Final = itertools.count()
NAME: Final = "release-aurora-bridge"
PRODUCTION: Final = CHART / "ci" / "production.yaml"

WITHOUT: Final = {"gke": ("--set-json=extraObjects=[]",)}
"""By scenario, what leaves out kinds that only a provider's own clusters have."""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A Kubernetes API with what a cluster's administrator brings: a priority class."""
    plane = ControlPlane()
    try:
        for name in ("openssl", "jq"):
            program(name)
        plane.start()
    except (ToolMissingError, ControlPlaneError) as error:
        plane.stop()
        unavailable(f"no Kubernetes API: {error}")
    plane.kubectl("create", "priorityclass", "business-critical", "--value=1000")
    yield plane
    plane.stop()


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """A namespace of this test's own, in which "restricted" is enforced."""
    name = f"test-{next(NUMBERS)}"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


Helm = Callable[..., str]


@pytest.fixture
def run(helm: str, plane: ControlPlane, namespace: str) -> Helm:
    """Helm in that namespace; fails with its complaint."""

    def run(*arguments: str) -> str:
        ended = subprocess.run(
            [helm, *arguments, f"--namespace={namespace}"],
            check=False,
            env=os.environ | {"KUBECONFIG": str(plane.config)},
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise AssertionError(ended.stderr)
        return ended.stdout

    return run


def eventually(look: Callable[[], object]) -> None:
    """Return once `look` finds something: what a controller does takes a moment."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def pods_of(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    """Return the daemon's pods. Pod Security has let each of them in."""
    return [
        pod
        for pod in plane.get("pods", namespace).values()
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "bridge"
    ]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda file: file.stem)
def test_it_is_installed_upgraded_rolled_back_and_uninstalled(
    scenario: Path, run: Helm, plane: ControlPlane, namespace: str
) -> None:
    values = yaml.safe_load(scenario.read_text())
    replicas = 2 if values.get("autoscaling") else values.get("replicaCount", 2)
    options = (str(CHART), f"--values={scenario}", "--no-hooks", *WITHOUT.get(scenario.stem, ()))

    def settings() -> str:
        (found,) = (each["data"] for name, each in plane.get("configmaps", namespace).items() if name.startswith(NAME))
        return str(found["aurora-bridge.toml"])

    installed = run("install", "release", *options)
    assert "What to paste into Aurora" in installed
    eventually(lambda: len(pods_of(plane, namespace)) == replicas)
    before = settings()
    run("upgrade", "release", str(CHART), "--no-hooks", "--reset-then-reuse-values", "--set=settings.log.level=debug")
    assert settings() == before.replace('level = "info"', 'level = "debug"') != before
    run("rollback", "release", "1", "--no-hooks")
    assert settings() == before
    eventually(lambda: len(pods_of(plane, namespace)) >= replicas)
    claims = plane.get("persistentvolumeclaims", namespace)
    run("uninstall", "release", "--no-hooks")
    eventually(lambda: not pods_of(plane, namespace))
    assert plane.get("persistentvolumeclaims", namespace).keys() == claims.keys()
    assert len(claims) == (replicas if values.get("persistence", {}).get("enabled", True) else 0)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda file: file.stem)
def test_the_api_knows_every_field_also_of_custom_resources_and_jobs(
    scenario: Path, run: Helm, plane: ControlPlane, namespace: str
) -> None:
    rendered = run("template", "release", str(CHART), f"--values={scenario}", *WITHOUT.get(scenario.stem, ()))
    plane.kubectl("apply", "--validate=strict", f"--namespace={namespace}", "--filename=-", stdin=rendered)


def test_a_pod_that_breaks_restricted_would_be_refused(run: Helm, plane: ControlPlane, namespace: str) -> None:
    values = ("--set=extraContainers[0].name=root", "--set=extraContainers[0].image=root")
    run("install", "release", str(CHART), f"--values={CHART / 'ci' / 'minimal.yaml'}", "--no-hooks", *values)

    def refused() -> bool:
        events = plane.get("events", namespace).values()
        return any('violates PodSecurity "restricted' in event["message"] for event in events)

    eventually(refused)
    assert pods_of(plane, namespace) == []


def test_only_changed_settings_roll_the_pods(run: Helm, plane: ControlPlane, namespace: str) -> None:
    def revision() -> str:
        status = plane.get("statefulsets", namespace)[NAME]["status"]
        return str(status.get("updateRevision")) if status.get("observedGeneration") == generation() else ""

    def generation() -> int:
        return int(plane.get("statefulsets", namespace)[NAME]["metadata"]["generation"])

    options = (str(CHART), f"--values={PRODUCTION}", "--no-hooks")
    run("install", "release", *options)
    eventually(revision)
    first = revision()
    run("upgrade", "release", *options, "--set=podMonitor.enabled=false", "--set=replicaCount=4")
    eventually(revision)
    assert revision() == first
    run("upgrade", "release", *options, "--set=settings.log.level=debug")
    eventually(lambda: revision() not in {"", first})


def test_a_volume_stays_when_its_replica_goes_and_a_job_may_drain_it(
    run: Helm, plane: ControlPlane, namespace: str
) -> None:
    options = (str(CHART), f"--values={PRODUCTION}")
    run("install", "release", *options, "--no-hooks")
    eventually(lambda: len(plane.get("persistentvolumeclaims", namespace)) == 3)
    run("upgrade", "release", *options, "--no-hooks", "--set=replicaCount=2")
    eventually(lambda: len(pods_of(plane, namespace)) == 2)
    claim = f"state-{NAME}-2"
    assert claim in plane.get("persistentvolumeclaims", namespace)
    job = run("template", "release", *options, "--show-only=templates/job-drain.yaml", f"--set=drain.claim={claim}")
    plane.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=job)

    def drains() -> bool:
        pods = plane.get("pods", namespace).values()
        volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]
        labels = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods]
        return "drain" in labels and {"name": "state", "persistentVolumeClaim": {"claimName": claim}} in volumes

    eventually(drains)
    assert len(pods_of(plane, namespace)) == 2


def test_a_larger_volume_takes_the_two_steps_of_the_readme(run: Helm, plane: ControlPlane, namespace: str) -> None:
    options = (str(CHART), f"--values={PRODUCTION}", "--no-hooks")
    run("install", "release", *options)
    eventually(lambda: len(pods_of(plane, namespace)) == 3)
    with pytest.raises(AssertionError, match="updates to statefulset spec"):
        run("upgrade", "release", *options, "--set=persistence.size=20Gi")
    plane.kubectl("delete", "statefulset", NAME, "--cascade=orphan", f"--namespace={namespace}")
    pods = {pod["metadata"]["uid"] for pod in pods_of(plane, namespace)}
    run("upgrade", "release", *options, "--set=persistence.size=20Gi")
    assert plane.get("statefulsets", namespace)[NAME]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"] == {
        "requests": {"storage": "20Gi"}
    }
    assert {pod["metadata"]["uid"] for pod in pods_of(plane, namespace)} == pods


def test_each_revision_has_a_job_of_its_own_that_creates_topics_before_pods_are_ready(
    run: Helm, plane: ControlPlane, namespace: str
) -> None:
    def job() -> str:
        eventually(lambda: len(plane.get("jobs", namespace)) == 1)
        (name,) = plane.get("jobs", namespace)
        eventually(lambda: plane.get("jobs", namespace)[name]["status"].get("active"))
        return name

    options = (str(CHART), f"--values={CHART / 'ci' / 'confluent-cloud.yaml'}")
    with pytest.raises(AssertionError, match=r"deadline|timed out"):
        run("install", "release", *options, "--wait", "--timeout=2s")
    first = job()
    run("upgrade", "release", *options)
    second = job()
    run("upgrade", "release", *options, "--set=image.tag=next")
    third = job()
    assert len({first, second, third}) == 3
    run("rollback", "release", "1")
    assert job() == first


LEFT_OUT: Final = (
    r"^helm test .*\n",  # waits for a pod to run,
    r" --wait --timeout 10m",  # as do this
    r"^ *kubectl .* (wait|logs) .*\n",  # and these
    r"^ *for claim in .*\n.*\n *done\n",  # a claim can grow once it has a volume
)
"""Of the README's commands, what needs a node."""


@pytest.fixture
def shell(helm: str, plane: ControlPlane, tmp_path: Path, pem: Path) -> Iterator[Callable[[str], str]]:
    """A shell in a checkout, with a values file and without the namespaces of the README before and afterwards."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(helm)
    (programs / "kubectl").symlink_to(fetched("kubectl"))
    (programs / "aurora-bridge").symlink_to(Path(sys.executable).with_name("aurora-bridge"))
    (tmp_path / "helm").symlink_to(CHART.parent)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(pem)
    (tmp_path / "values.yaml").write_text(PRODUCTION.read_text())
    environment = os.environ | {"KUBECONFIG": str(plane.config), "PATH": f"{programs}:{os.environ['PATH']}"}

    def shell(script: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script]
        ended = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, f"{script}\n{ended.stderr}"
        return ended.stdout

    yield shell
    plane.kubectl("delete", "namespace", "hooks", "kafka")


def test_the_commands_of_the_readme_do_what_it_says(shell: Callable[[str], str], plane: ControlPlane) -> None:
    text = (CHART / "README.md").read_text()
    blocks = [block for _, block in re.findall(r"^( *)```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]
    create, install, check, copy, tls, acme, rotate, upgrade, enlarge, drain = (
        functools.reduce(lambda kept, line: re.sub(line, "", kept, flags=re.MULTILINE), LEFT_OUT, block)
        for block in blocks
    )
    shell(create)
    shell(check)
    shell(tls)
    shell(acme)
    plane.kubectl("label", "namespace", "hooks", "pod-security.kubernetes.io/enforce=restricted")
    plane.kubectl("create", "namespace", "kafka")
    for name in ("aurora-bridge-kafka", "events-cluster-ca-cert"):
        plane.kubectl("create", "secret", "generic", name, "--namespace=kafka", f"--from-literal=password={name}")
    shell(copy)
    shell(install)
    eventually(lambda: len(pods_of(plane, "hooks")) == 3)
    before = tokens(plane)
    shell(rotate)
    assert (before, len(tokens(plane))) == (tokens(plane)[:1], 2)
    named = {"aurora-bridge", "acme", "hooks-tls", "aurora-bridge-kafka", "events-cluster-ca-cert"}
    assert named <= plane.get("secrets", "hooks").keys()
    shell(upgrade)
    shell(enlarge)
    eventually(lambda: len(pods_of(plane, "hooks")) == 3)
    shell(drain)
    eventually(lambda: plane.get("jobs", "hooks")["drain-state-aurora-bridge-2"]["status"].get("active"))


def tokens(plane: ControlPlane) -> list[str]:
    """Return the tokens in the secret of the README."""
    return base64.b64decode(plane.get("secrets", "hooks")["aurora-bridge"]["data"]["tokens"]).decode().split()
