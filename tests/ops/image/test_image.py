"""The image, built and run for real: with no network, a read-only root and no capability.

Its base is a Debian that stands in for Docker's official Python, under the same name.
"""

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.containers import Container, Storage
from tests.support.missing import unavailable
from tests.support.tools import ToolMissingError

pytestmark = [pytest.mark.ops, pytest.mark.usefixtures("image")]

IMAGE = "localhost/aurora-bridge:test"
VERSION = metadata.version("aurora-bridge")
REVISION = "0123456789abcdef"
STATE = "/var/lib/aurora-bridge"
MOST_BYTES = 60_000_000
"""Of what we add to the base: docs/deploy.md says 55 MB."""
ANONYMOUS = "--env=AURORA_BRIDGE_EMBEDDED=true", "--env=AURORA_BRIDGE_AUTH__ALLOW_ANONYMOUS=true"
KAFKA_AWAY = "--env=AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9", ANONYMOUS[1]
GRACE_SECONDS = 30
CONFIGURATION_ERROR = 78

WAIT_UNTIL_READY = """
import time, urllib.request
deadline = time.monotonic() + 30
while True:
    try:
        print(urllib.request.urlopen("http://127.0.0.1:9090/readyz").read().decode())
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)
"""
SPOOLED = """
import urllib.request
metrics = urllib.request.urlopen("http://127.0.0.1:9090/metrics").read().decode()
print(*(line for line in metrics.splitlines() if line.startswith("aurora_bridge_spool_events ")))
"""
SIZE = """
import os
print(sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk("/opt") for name in names))
"""
DELIVER = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080/lead_created?lead_id=l-1").read().decode())
"""


def deliver(container: Container) -> str:
    """Send a webhook from within, once that can be stored; return the answer."""
    container.python(WAIT_UNTIL_READY)
    return container.python(DELIVER)


def archive(*packages: str) -> Path:
    try:
        return debian.archive("python3", "python3-venv", "python3-pip", "ca-certificates", *packages)
    except (debian.DebianError, ToolMissingError) as error:
        unavailable(str(error))


@pytest.fixture(scope="module")
def base() -> Path:
    """The files of the base."""
    return archive()


@pytest.fixture(scope="module")
def storage(program: Callable[[str], str]) -> Iterator[Storage]:
    """Room for images and containers."""
    programs = program("buildah"), program("podman")
    program("runc")
    if os.geteuid():
        unavailable("no containers: building and running them here needs root")
    with tempfile.TemporaryDirectory() as folder:
        yield Storage(Path(folder), *programs)


@pytest.fixture(scope="module")
def image(base: Path, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build it, as `IMAGE`."""
    storage.podman("import", str(base), f"docker.io/library/python:{debian.PYTHON}-slim-{debian.SUITE}")
    wheels = tmp_path_factory.mktemp("wheels")
    settings = debian.download_wheels(wheels, "requirements.lock")
    mounts = f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"
    arguments = f"--build-arg=VERSION={VERSION}", f"--build-arg=REVISION={REVISION}"
    storage.build(debian.REPOSITORY, IMAGE, *mounts, *arguments)


@pytest.fixture(scope="module")
def variant(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build it as the compiled build, for Amazon MSK; return its tag."""
    tag = "localhost/aurora-bridge:variant"
    storage.podman("import", str(archive("python3-dev", "gcc")), "docker.io/library/python:with-compiler")
    wheels = tmp_path_factory.mktemp("wheels")
    settings = debian.download_wheels(wheels, "requirements-msk.lock", "requirements-compile.lock")
    mounts = f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"
    arguments = ("PYTHON_TAG=with-compiler", "EXTRA=msk", "COMPILE=1")
    storage.build(debian.REPOSITORY, tag, *mounts, *(f"--build-arg={argument}" for argument in arguments))
    return tag


@pytest.fixture(scope="module")
def files(storage: Storage, base: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the image adds to its base."""
    exported = tmp_path_factory.mktemp("image") / "image.tar"
    container = storage.podman("create", IMAGE).strip()
    storage.podman("export", f"--output={exported}", container)
    storage.podman("rm", container)
    return set(names(exported)) - set(names(base))


def names(archive: Path) -> Iterator[str]:
    """Yield the names of what is in an archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            yield member.name.removeprefix("./")


def test_it_says_its_version(storage: Storage) -> None:
    assert storage.run(IMAGE, "--version").stdout == f"aurora-bridge {VERSION} (interpreted)\n"


def test_it_says_what_it_is_and_of_which_commit(storage: Storage) -> None:
    labels = {name.rpartition(".")[2]: value for name, value in storage.inspect(IMAGE)["Labels"].items()}
    assert (labels["title"], labels["version"], labels["revision"]) == ("aurora-bridge", VERSION, REVISION)
    assert "Kafka" in labels["description"]


def test_it_runs_the_daemon_without_a_shell_as_a_user_that_is_a_number(storage: Storage) -> None:
    inspected = storage.inspect(IMAGE)
    assert (inspected["Entrypoint"], inspected["Cmd"], inspected["User"]) == (
        ["aurora-bridge"],
        ["serve"],
        "65532:65532",
    )


def test_without_settings_it_says_what_is_missing(storage: Storage) -> None:
    result = storage.run(IMAGE)
    assert result.returncode == CONFIGURATION_ERROR
    assert "AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS" in result.stderr
    assert "AURORA_BRIDGE_AUTH__TOKENS_FILE" in result.stderr


def test_without_a_volume_a_read_only_root_stops_the_start(storage: Storage) -> None:
    result = storage.run(*ANONYMOUS, IMAGE)
    assert result.returncode == 1
    assert f"{STATE} cannot be used: Read-only file system" in result.stderr


def test_it_takes_a_webhook_ends_when_asked_and_the_next_one_has_the_event(storage: Storage) -> None:
    volume = f"--volume=kept:{STATE}"
    with storage.running(*ANONYMOUS, volume, IMAGE) as container:
        assert '"outcome":"spooled"' in deliver(container)
        assert container.stop(GRACE_SECONDS) == 0
    with storage.running(*ANONYMOUS, volume, IMAGE) as container:
        assert '"outcome":"duplicate"' in deliver(container)
        assert '"lead_id":"l-1"' in container.run("aurora-bridge", "tail")


def test_the_spool_on_a_volume_survives_while_kafka_is_away(storage: Storage) -> None:
    volume = f"--volume=spool:{STATE}"
    with storage.running(*KAFKA_AWAY, volume, IMAGE) as container:
        assert '"outcome":"spooled"' in deliver(container)
        assert container.stop(GRACE_SECONDS) == 0
    with storage.running(*KAFKA_AWAY, volume, IMAGE) as container:
        container.python(WAIT_UNTIL_READY)
        assert container.python(SPOOLED).split() == ["aurora_bridge_spool_events", "1.0"]


def test_the_compiled_variant_for_msk_says_so_takes_a_webhook_and_can_sign(storage: Storage, variant: str) -> None:
    assert storage.run(variant, "--version").stdout == f"aurora-bridge {VERSION} (compiled)\n"
    with storage.running(*ANONYMOUS, f"--volume=variant:{STATE}", variant) as container:
        assert '"outcome":"spooled"' in deliver(container)
        container.python("import aws_msk_iam_sasl_signer")


def test_it_is_as_small_as_the_page_says(storage: Storage) -> None:
    with storage.running(*ANONYMOUS, f"--volume=size:{STATE}", IMAGE) as container:
        assert int(container.python(SIZE)) < MOST_BYTES


def test_a_platform_may_choose_another_user_of_group_0(storage: Storage) -> None:
    with storage.running(*ANONYMOUS, "--user=1000770000:0", f"--volume=others:{STATE}", IMAGE) as container:
        assert '"outcome":"spooled"' in deliver(container)
        assert container.stop(GRACE_SECONDS) == 0


def test_beside_its_base_there_is_the_venv_and_the_folder_for_the_state(files: set[str]) -> None:
    made_by_the_tools = {
        "run/.containerenv",
        "etc/pip.conf",
        "wheels",
    }  # two of them by the mounts of this test's build
    elsewhere = {name for name in files if not name.startswith(("opt/aurora-bridge", "var/lib/aurora-bridge"))}
    assert elsewhere <= made_by_the_tools


@pytest.mark.proves("What it is built from: The image has the locked packages and no others")
def test_the_venv_has_the_locked_packages_and_ours_alone(files: set[str]) -> None:
    lock = (debian.REPOSITORY / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)) - {"setuptools"}
    found = {match[1] for name in files if (match := re.search(r"/site-packages/([^/]+?)-[^/]*\.dist-info$", name))}
    assert {name.replace("_", "-") for name in found} == locked | {"aurora-bridge"}


def test_the_venv_has_byte_code_for_every_module(files: set[str]) -> None:
    modules = {name for name in files if "/site-packages/" in name and name.endswith(".py")}
    tag = f"cpython-{debian.PYTHON.replace('.', '')}"
    missing = {
        name for name in modules if str(Path(name).parent / "__pycache__" / f"{Path(name).stem}.{tag}.pyc") not in files
    }
    assert modules
    assert not missing
