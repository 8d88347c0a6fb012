"""The unit under a true systemd, with all its hardening in force, installed by the commands of docs/deploy.md."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.support import debian
from tests.support.machine import SECONDS, Machine, MachineError
from tests.support.missing import unavailable
from tests.support.tools import ToolMissingError

pytestmark = pytest.mark.ops

PACKAGES = "python3", "python3-venv", "ca-certificates", "systemd", "iproute2", "openssl", "util-linux"
SETTINGS = "etc/aurora-bridge/aurora-bridge.toml"
CONFIGURATION_ERROR = "78"

DELIVER = """
import urllib.request
token = open("/etc/aurora-bridge/secrets/tokens").readline().strip()
request = urllib.request.Request("http://127.0.0.1:8080/lead_created?lead_id=l-1")
request.add_header("X-Aurora-Webhook-Token", token)
print(urllib.request.urlopen(request).read().decode())
"""


def commands(heading: str) -> list[str]:
    """Return the blocks of commands below a heading of docs/deploy.md."""
    _, _, below = (debian.REPOSITORY / "docs" / "deploy.md").read_text().partition(f"\n## {heading}\n")
    return re.findall(r"^```sh\n(.+?)^```", below.partition("\n## ")[0], re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(program: Callable[[str], str]) -> Iterator[Machine]:
    """A machine on which the daemon was installed as the page says."""
    program("nsenter")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        try:
            machine = Machine(debian.archive(*PACKAGES), Path(folder, "machine"))
            stack.enter_context(machine.running())
        except (debian.DebianError, ToolMissingError, MachineError) as error:
            unavailable(str(error))
        shutil.copy(
            debian.download_wheels(machine.root / "wheels", "requirements.lock"), machine.root / "etc" / "pip.conf"
        )
        checkout = machine.root / "root" / "checkout"
        for name in ("src", "systemd"):
            shutil.copytree(debian.REPOSITORY / name, checkout / name)
        for name in ("pyproject.toml", "requirements.lock", "setup.py", "LICENSE"):
            shutil.copy(debian.REPOSITORY / name, checkout)
        install, start, *_ = commands("systemd")
        machine.run("sh", "-ec", install, cwd="/root/checkout")
        (machine.root / "etc/aurora-bridge/secrets/kafka-password").write_text("sesame\n")
        machine.run("sh", "-ec", start, cwd="/root/checkout")
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Machine:
    """The machine with the daemon ready."""
    installed.run("systemctl", "start", "aurora-bridge")
    wait_until_ready(installed)
    return installed


def shown(machine: Machine, name: str) -> str:
    """Return what systemd knows of the service."""
    return machine.run("systemctl", "show", "--value", f"--property={name}", "aurora-bridge")


def wait_until_ready(machine: Machine) -> None:
    """Return once the daemon can store what comes."""
    deadline = monotonic() + SECONDS
    look = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/readyz')"
    while machine.try_run("python3", "-c", look).returncode:
        assert monotonic() < deadline, machine.run("journalctl", "--no-pager", "--unit=aurora-bridge")
        sleep(0.1)


def deliver(machine: Machine) -> str:
    """Send a webhook from within; return the answer."""
    return machine.run("python3", "-c", DELIVER)


def test_it_takes_a_webhook_with_nothing_but_what_it_may(machine: Machine) -> None:
    assert '"outcome":"' in deliver(machine)
    status = machine.run("cat", f"/proc/{shown(machine, 'MainPID')}/status")
    held = dict(re.findall(r"^(\w+):\t(\S+)$", status, re.MULTILINE))
    assert (int(held["CapBnd"], 16), held["NoNewPrivs"], held["Seccomp"]) == (0, "1", "2")


def test_commands_run_beside_it_as_its_user(machine: Machine) -> None:
    deliver(machine)
    (beside,) = [block for block in commands("systemd") if block.startswith("runuser")]
    assert "the quarantine is empty" in machine.run("sh", "-ec", f"{{ {beside.strip()}; }} 2>&1")


def test_what_was_acknowledged_outlives_a_crash_after_which_it_is_started_again(machine: Machine) -> None:
    deliver(machine)
    before = shown(machine, "MainPID")
    machine.run("sh", "-c", f"kill -KILL {before}")
    deadline = monotonic() + SECONDS
    while shown(machine, "MainPID") in ("0", before):
        assert monotonic() < deadline
        sleep(0.1)
    wait_until_ready(machine)
    assert '"outcome":"duplicate"' in deliver(machine)


def test_asked_to_end_it_ends_well(machine: Machine) -> None:
    machine.run("systemctl", "stop", "aurora-bridge")
    assert (shown(machine, "Result"), shown(machine, "ExecMainStatus")) == ("success", "0")


def test_while_it_is_stopped_roots_shell_of_the_runbooks_drains_and_checks_the_settings(machine: Machine) -> None:
    deliver(machine)
    machine.run("systemctl", "stop", "aurora-bridge")
    page = (debian.REPOSITORY / "docs" / "runbooks" / "README.md").read_text()
    shell, *_ = re.findall(r"^```sh\n(env .+?) bash\n```", page, re.MULTILINE | re.DOTALL)
    machine.run("sh", "-ec", f"{shell} bash -c 'aurora-bridge config'")
    command = "aurora-bridge drain /var/lib/aurora-bridge"
    assert command in (debian.REPOSITORY / "docs" / "runbooks" / "scale-down.md").read_text()
    drained = machine.try_run("sh", "-ec", f"{shell} bash -c '{command} --patience 1'")
    assert (drained.returncode, "1 are left: Kafka accepted nothing for 1 s" in drained.stderr) == (1, True), (
        drained.stderr
    )
    machine.run("systemctl", "start", "aurora-bridge")
    wait_until_ready(machine)
    assert '"outcome":"duplicate"' in deliver(machine)


def test_with_wrong_settings_it_is_not_started_again_and_again(machine: Machine) -> None:
    machine.run("systemctl", "stop", "aurora-bridge")
    settings = machine.root / SETTINGS
    good = settings.read_text()
    settings.write_text("tenant = 1\n")
    machine.run("systemctl", "start", "aurora-bridge")
    deadline = monotonic() + SECONDS
    while shown(machine, "ActiveState") == "active":
        assert monotonic() < deadline
        sleep(0.1)
    settings.write_text(good)
    assert (shown(machine, "ActiveState"), shown(machine, "ExecMainStatus")) == ("failed", CONFIGURATION_ERROR)
