"""A real Kubernetes API for the tests: etcd, kube-apiserver and kube-controller-manager on free loopback ports.

Objects are validated, defaulted, admitted (also by Pod Security) and expanded to pods as in any cluster; what Helm does
there is real. There is no node: pods stay pending, and what waits for one to run never ends.

The programs are built once into `.kube/bin`, from the Go modules that the folders of `kubernetes/` lock: 230 MB, about
five minutes on two cores. `make check-ops` and `make check-chart-live` do that before the tests (`python -m
tests.support.control_plane`), none of which may take so long. The custom resource definitions of others come as Go
modules too.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support import tools
from tests.support.node import GUARD
from tests.support.ports import HOST, free_ports

SOURCES: Final = Path(__file__).with_name("kubernetes")
BINARIES: Final = Path(__file__).parents[2] / ".kube" / "bin"

_PROGRAMS: Final = ("api", "etcd")

BUILD_SECONDS: Final = 1800
READY_SECONDS: Final = 60.0
"""Bound for every wait. A start takes five seconds; the rest is for a machine that is busy with something else."""
POLL_SECONDS: Final = 0.1

VERSION: Final = "1.36.3"
"""Of Kubernetes, as `kubernetes/api/go.mod` has it: what the server says that it is."""

CRDS: Final = {
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_probes.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
}
"""By module, the definitions that the chart's custom resources need."""

_CONTROLLERS: Final = (
    "statefulset-controller,deployment-controller,replicaset-controller,job-controller,disruption-controller,"
    "serviceaccount-controller,serviceaccount-token-controller,namespace-controller,garbage-collector-controller,"
    "persistentvolumeclaim-protection-controller,"
    "horizontal-pod-autoscaler-controller"
)
_TOKEN: Final = "of-these-tests"  # noqa: S105 - of a server on loopback that lives for a minute


class ControlPlaneError(Exception):
    """A program did not build, start or get ready; carries the end of its output."""


class ControlPlane:
    """The three programs in a temporary folder, from `start()` to `stop()` or as a context manager."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="aurora-bridge-kubernetes-"))
        self.config = self.directory / "kubeconfig"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guards: list[subprocess.Popen[bytes]] = []
        self._port, self._manager_port, self._etcd_port, self._peer_port = free_ports(4)

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"https://{HOST}:{self._port}"

    def start(self) -> None:
        """Start everything, the custom resources included. Raises `ControlPlaneError` or `ToolMissingError`."""
        if not all(map(_built, _PROGRAMS)):
            message = "it is not built: make check-chart-live, with Go 1.26 or newer (Debian: golang-go)"
            raise ControlPlaneError(message)
        self._write_files()
        self._start_programs()
        for file in custom_resources():
            self.kubectl("create", f"--filename={file}")
        self.kubectl("wait", "--for=condition=established", "crd", "--all", f"--timeout={READY_SECONDS:g}s")

    def stop(self) -> None:
        """End everything and remove its data."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        for guard in self._guards:
            guard.kill()
            guard.communicate()
        shutil.rmtree(self.directory)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what kubectl prints. Raises `ControlPlaneError` with its complaint."""
        command = [tools.fetched("kubectl"), f"--kubeconfig={self.config}", *arguments]
        ended = subprocess.run(command, check=False, input=stdin, capture_output=True, text=True)
        if ended.returncode:
            raise ControlPlaneError(ended.stderr)
        return ended.stdout

    def get(self, kind: str, namespace: str) -> dict[str, dict[str, Any]]:
        """Return all objects of a kind by their names."""
        found = json.loads(self.kubectl("get", kind, f"--namespace={namespace}", "--output=json"))
        return {each["metadata"]["name"]: each for each in found["items"]}

    def _write_files(self) -> None:
        key = self.directory / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (self.directory / "tokens.csv").write_text(f'{_TOKEN},admin,1,"system:masters"\n')
        cluster = {"server": self.url, "insecure-skip-tls-verify": True}
        self.config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "tests", "cluster": cluster}],
                    "users": [{"name": "admin", "user": {"token": _TOKEN}}],
                    "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
                    "current-context": "tests",
                }
            )
        )

    def _start_programs(self) -> None:
        client, peer = (f"http://{HOST}:{port}" for port in (self._etcd_port, self._peer_port))
        key = self.directory / "accounts.key"
        self._spawn(
            "etcd",
            {
                "data-dir": self.directory / "etcd",
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"default={peer}",
                "unsafe-no-fsync": "true",
            },
        )
        self._spawn(
            "kube-apiserver",
            {
                "etcd-servers": client,
                "bind-address": HOST,
                "secure-port": self._port,
                "cert-dir": self.directory / "certificates",
                "token-auth-file": self.directory / "tokens.csv",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": key,
                "service-account-signing-key-file": key,
                "authorization-mode": "RBAC",
                "service-cluster-ip-range": "10.0.0.0/24",
                "enable-admission-plugins": "PodSecurity",
            },
        )
        self._wait_until_ready()
        self._spawn(
            "kube-controller-manager",
            {
                "kubeconfig": self.config,
                "service-account-private-key-file": key,
                "leader-elect": "false",
                "bind-address": HOST,
                "secure-port": self._manager_port,
                "cert-dir": self.directory / "certificates",
                "controllers": _CONTROLLERS,
            },
        )

    def _spawn(self, name: str, options: Mapping[str, object]) -> None:
        program: Sequence[str | Path] = [BINARIES / "etcd"] if name == "etcd" else [BINARIES / "api", name]
        arguments = [f"--{option}={value}" for option, value in options.items()]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([*program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        guard = ["sh", "-c", GUARD, "sh", str(process.pid), str(self.directory)]
        self._guards.append(subprocess.Popen(guard, stdin=subprocess.PIPE))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            dead = [process for process in self._processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = [file.read_text(errors="replace")[-2000:] for file in self.directory.glob("*.log")]
                raise ControlPlaneError("\n".join(["the API did not get ready", *logs]))
            with suppress(subprocess.TimeoutExpired):  # the pause between two looks; a death ends it
                self._processes[-1].wait(POLL_SECONDS)

    def _ready(self) -> bool:
        with suppress(ControlPlaneError):
            return self.kubectl("get", "--raw=/readyz", "--request-timeout=5s") == "ok"
        return False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def build() -> None:
    """Build the programs, unless they are there as the locks name them. Raises what `start` does."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    major, minor, _ = VERSION.split(".")
    versions = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}
    flags = [f"-X k8s.io/component-base/version.{name}={value}" for name, value in versions.items()]
    for name in _PROGRAMS:
        if not _built(name):
            linker = f"-ldflags={' '.join(['-s', '-w', *flags])}"
            _go("build", linker, "-o", str(BINARIES / name), ".", folder=SOURCES / name)
            shutil.copy(SOURCES / name / "go.sum", BINARIES / f"{name}.sum")


def _built(name: str) -> bool:
    """Whether a program is there as its lock names it; the copy of the lock is put beside it last."""
    stamp = BINARIES / f"{name}.sum"
    return stamp.is_file() and stamp.read_bytes() == (SOURCES / name / "go.sum").read_bytes()


def custom_resources() -> list[Path]:
    """Return the files of the definitions that the chart's custom resources need, fetched if need be."""
    decoder, rest = json.JSONDecoder(), _go("mod", "download", "-json", folder=SOURCES / "crds").strip()
    folders: dict[str, Path] = {}
    while rest:
        module, end = decoder.raw_decode(rest)
        folders[module["Path"]] = Path(module["Dir"])
        rest = rest[end:].lstrip()
    return [folders[module] / file for module, files in CRDS.items() for file in files]


def _go(*arguments: str, folder: Path) -> str:
    try:
        ended = subprocess.run(
            [tools.program("go"), *arguments],
            check=True,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        message = f"go {arguments[0]} failed in {folder}:\n{error.stderr[-2000:]}"
        raise ControlPlaneError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"go {arguments[0]} took more than {BUILD_SECONDS} s in {folder}; the next try goes on from there"
        raise ControlPlaneError(message) from error
    return ended.stdout


def main() -> None:
    """Build; say why if that cannot be, and leave it to the tests to be skipped loudly."""
    try:
        build()
    except (ControlPlaneError, tools.ToolMissingError) as error:
        print(f"no Kubernetes API: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
