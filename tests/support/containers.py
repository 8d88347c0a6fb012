"""Images and containers with buildah and podman, in a storage of their own that vanishes with the tests.

Chosen so that it also works inside a container: copied layers instead of overlays, a chroot instead of namespaces to
build in, no network, no cgroup manager, and limits that are not above those of the test run.
"""

import json
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_LIMITS: Final = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
_ENOUGH: Final = 4096
_BUILD_SECONDS: Final = 900
_SECONDS: Final = 300
"""Bounds. Starting a container copies the image, some 240 MB, which a busy machine may take minutes for."""

RESTRICTED: Final = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
"""As a cluster that is strict runs a container."""


class Container:
    """One that runs."""

    def __init__(self, storage: "Storage", name: str) -> None:
        self.name = name
        self._storage = storage

    def run(self, *command: str) -> str:
        """Run a command inside; return what it printed."""
        return self._storage.podman("exec", self.name, *command)

    def python(self, code: str) -> str:
        """Run lines of Python inside."""
        return self.run("python3", "-c", code)

    def stop(self, grace_seconds: int) -> int:
        """Ask it to end (SIGTERM), kill it after the grace period; return its exit code."""
        self._storage.podman("stop", f"--time={grace_seconds}", self.name)
        return int(self._storage.podman("inspect", "--format={{.State.ExitCode}}", self.name))

    def log(self) -> str:
        """Return what it wrote."""
        result = self._storage.try_podman("logs", self.name)
        return result.stdout + result.stderr


class Storage:
    """Where images and containers are, below one folder."""

    def __init__(self, folder: Path, buildah: str, podman: str) -> None:
        """Use these programs."""
        place = [f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}", "--storage-driver=vfs"]
        self._buildah = [buildah, *place]
        self._podman = [podman, *place, "--runtime=runc", "--cgroup-manager=cgroupfs"]

    def build(self, context: Path, tag: str, *options: str) -> None:
        """Build the image of a folder's Dockerfile."""
        command = [*self._buildah, "bud", "--isolation=chroot", "--pull-never", f"--tag={tag}", *options, str(context)]
        _output(command, _BUILD_SECONDS)

    def podman(self, *arguments: str) -> str:
        """Run podman; return what it printed."""
        return _output([*self._podman, *arguments], _SECONDS)

    def try_podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run podman, which may fail."""
        return subprocess.run(
            [*self._podman, *arguments], check=False, capture_output=True, text=True, timeout=_SECONDS
        )

    def inspect(self, image: str) -> dict[str, Any]:
        """Return an image's configuration."""
        found: dict[str, Any] = json.loads(self.podman("image", "inspect", image))[0]["Config"]
        return found

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a container, restricted, to its end: options, image, command."""
        return self.try_podman("run", "--rm", *_limits(), *RESTRICTED, *arguments)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Container]:
        """Start a container, restricted: options, image, command."""
        container = Container(self, self.podman("run", "--detach", *_limits(), *RESTRICTED, *arguments).strip())
        try:
            yield container
        except BaseException as error:
            error.add_note(container.log())
            raise
        finally:
            self.podman("rm", "--force", "--time=0", container.name)


def _limits() -> Iterator[str]:
    """Name limits below our own: without CAP_SYS_RESOURCE nobody may ask for podman's higher ones."""
    for name, number in _LIMITS.items():
        _, hard = resource.getrlimit(number)
        limit = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
        yield f"--ulimit={name}={limit}:{limit}"


def _output(command: list[str], seconds: int) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)
    assert result.returncode == 0, f"{' '.join(command)}:\n{(result.stdout + result.stderr)[-3000:]}"
    return result.stdout
