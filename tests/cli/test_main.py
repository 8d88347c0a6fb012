"""Which commands are imported: the daemon is started with its own only."""

import subprocess
import sys

import pytest

from aurora_bridge.cli.main import COMMANDS, make_parser

IMPORTED = (
    "import sys; from aurora_bridge.cli import main\n"
    "try: main(sys.argv[1:])\n"
    "except SystemExit: print(*(name for name in sys.modules if name.startswith('aurora_bridge.')))"
)


def imported(*words: str) -> set[str]:
    """Return the last names of the commands' modules that a command line imports, and `simulator` if that is one."""
    done = subprocess.run([sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    found = {module.removeprefix("aurora_bridge.cli.").replace("_", "-") for module in modules}
    return found & {*COMMANDS, "aurora-bridge.simulator"}


@pytest.mark.parametrize("before", [(), ("--config", "bridge.toml")], ids=["first", "behind its settings"])
def test_a_command_is_imported_alone(before: tuple[str, ...]) -> None:
    assert imported(*before, "serve", "--help") == {"serve"}


def test_without_a_command_all_are_there() -> None:
    assert imported("--help") >= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_found_by_its_name(command: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        make_parser([command]).parse_args([command, "--help"])
